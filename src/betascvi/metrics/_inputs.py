"""What every metric asks of its arrays, and the words it refuses them with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.sparse import issparse

from betascvi._errors import UndefinedScoreError
from betascvi._whole_numbers import refuse_count
from betascvi.factors import CodedFactor, Kind

Flags = bool | Sequence[bool] | None

# A range this far below the numbers themselves is rounding, not signal.
_RELATIVE_ZERO = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One factor on the cells whose label is known."""

    label: str
    """What the caller calls it: a column name, or its number."""
    kind: Kind
    values: np.ndarray
    """(known cells,) level codes 0, 1, ... where categorical; floats where not."""
    known: np.ndarray | None
    """(cells,) where the label is there; None where it is there for all."""

    @property
    def name(self) -> str:
        """How messages speak of it."""
        return f"factor column {self.label}" if self.label.isdigit() else f"factor {self.label!r}"

    def rows(self, array: np.ndarray) -> np.ndarray:
        """The rows of ``array`` whose cells have this label."""
        return array if self.known is None else array[self.known]

    def levels(self, n_bins: int) -> tuple[np.ndarray, int]:
        """Codes and their number; numbers are cut into equal-width bins first."""
        if self.kind == "categorical":
            return self.values, int(self.values.max()) + 1
        if self.kind == "circular":
            refuse_count("n_bins", n_bins, least=2)
            width = 2 * np.pi / n_bins
            return np.minimum((self.values / width).astype(np.intp), n_bins - 1), n_bins
        return equal_width_bins(self.values, n_bins), n_bins

    def present_levels(self, n_bins: int) -> np.ndarray:
        """Codes renumbered so that each one occurs: what a classifier is asked for."""
        return np.unique(self.levels(n_bins)[0], return_inverse=True)[1]


def equal_width_bins(x: Float[np.ndarray, " cells"], n_bins: int) -> Int[np.ndarray, " cells"]:
    """Bins between min and max, half-open but for the last: ``np.histogram``'s."""
    refuse_count("n_bins", n_bins, least=2)
    if is_constant(x):
        return np.zeros(x.size, dtype=np.intp)
    edges = np.histogram_bin_edges(x, n_bins)
    return np.searchsorted(edges[1:-1], x, side="right")


def is_constant(x: Float[np.ndarray, " cells"], scale: float = 0.0) -> bool:
    """Whether the range of x is rounding, beside its own size or that of ``scale``.

    The standard deviation of a constant array is 5.6e-17, hence a tolerance.
    """
    largest = float(np.abs(x).max())
    rounding = max(_RELATIVE_ZERO, 8 * float(np.finfo(x.dtype).eps))
    return float(np.ptp(x)) <= max(rounding * largest, _RELATIVE_ZERO * scale)


def live_axes(z: Float[np.ndarray, "cells axes"]) -> Bool[np.ndarray, " axes"]:
    """Axes that tell at least two cells apart."""
    scale = float(np.abs(z).max())
    return np.array([not is_constant(column, scale) for column in z.T], dtype=bool)


def as_embedding(z: Any, *, min_axes: int = 1, asked_by: str = "this metric") -> np.ndarray:
    """``z`` as a finite float matrix of (cells, axes)."""
    if issparse(z):
        raise ValueError("z is a dense matrix of (cells, axes), got a sparse one: z.toarray().")
    array = np.asarray(z)
    if array.ndim != 2 or array.shape[0] == 0 or array.dtype.kind not in "biuf":
        raise ValueError(
            f"z is a numeric matrix of (cells, axes); got shape {array.shape} and dtype "
            f"{array.dtype}. A single axis is z[:, None]."
        )
    if array.shape[1] < min_axes:
        raise UndefinedScoreError(
            f"{asked_by} compares axes with each other and needs {min_axes} or more; "
            f"z has {array.shape[1]}."
        )
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    n_bad = int((~np.isfinite(array)).sum())
    if n_bad:
        raise ValueError(
            f"z holds {n_bad} values that are NaN or infinite; leave those cells out or find "
            "out why the encoder made them."
        )
    return array


def as_columns(
    factors: Any,
    n_cells: int,
    discrete: Flags = None,
    circular: Flags = None,
    *,
    min_factors: int = 1,
    asked_by: str = "this metric",
) -> tuple[Column, ...]:
    """Factors in any accepted shape, as columns that are known to vary."""
    labels, raw = _split(factors, n_cells)
    if len(raw) < min_factors:
        raise UndefinedScoreError(
            f"{asked_by} compares factors with each other and needs {min_factors} or more; "
            f"got {len(raw)}. Add a factor, or use a metric that is defined for one (mig, sap)."
        )
    is_discrete = _flags(discrete, len(raw), "discrete")
    is_circular = _flags(circular, len(raw), "circular")
    rows = zip(labels, raw, is_discrete, is_circular, strict=True)
    return tuple(_as_column(label, values, n_cells, d, c) for label, values, d, c in rows)


def _split(factors: Any, n_cells: int) -> tuple[list[str], list[Any]]:
    """Labels, and one array (or coded factor) a factor."""
    if isinstance(factors, CodedFactor | pd.Series):
        factors = [factors]
    if isinstance(factors, pd.DataFrame):
        return [str(c) for c in factors], [factors[c] for c in factors]
    if isinstance(factors, list | tuple) and not _is_plain_column(factors, n_cells):
        raw = [f if isinstance(f, CodedFactor | pd.Series) else np.asarray(f) for f in factors]
    else:
        array = np.asarray(factors)
        if array.ndim not in (1, 2):
            raise ValueError(f"factors are (cells, factors); got an array of shape {array.shape}.")
        raw = [array] if array.ndim == 1 else list(array.T)
    if not raw:
        raise UndefinedScoreError("factors holds no column; hand over at least one.")
    names = [getattr(f, "name", None) for f in raw]
    return [str(i if name is None else name) for i, name in enumerate(names)], raw


def _is_plain_column(factors: Sequence[Any], n_cells: int) -> bool:
    return len(factors) == n_cells and all(np.ndim(f) == 0 for f in factors)


def _flags(flags: Flags, n_factors: int, what: str) -> list[bool | None]:
    if flags is None or isinstance(flags, bool | np.bool_):
        return [flags] * n_factors
    listed: list[bool | None] = [None if f is None else bool(f) for f in flags]
    if len(listed) != n_factors:
        raise ValueError(
            f"{what} is one bool or one per factor; got {len(listed)} for {n_factors} factors."
        )
    return listed


def _as_column(
    label: str, raw: Any, n_cells: int, discrete: bool | None, circular: bool | None
) -> Column:
    name = f"factor column {label}" if label.isdigit() else f"factor {label!r}"
    if isinstance(raw, CodedFactor):
        kind, values = raw.kind, raw.values
    else:
        kind = _kind(raw, discrete, circular)
        values = raw
    if np.shape(values) != (n_cells,):
        raise ValueError(
            f"{name} has shape {np.shape(values)} where z has {n_cells} cells; factors are "
            "(cells, factors), or a list of columns."
        )
    if isinstance(raw, CodedFactor) and kind == "categorical":
        known = raw.known
        codes = np.unique(values[known], return_inverse=True)[1]
    elif kind == "categorical":
        known, codes = _level_codes(values)
    else:
        known, codes = _floats(name, values, kind)
    _refuse_constant(name, kind, codes)
    return Column(label, kind, codes, None if known.all() else known)


def _kind(values: Any, discrete: bool | None, circular: bool | None) -> Kind:
    if circular:
        return "circular"
    if discrete is None:
        array = np.asarray(values)
        numbers = (
            [v for v in array if v is not None and v is not pd.NA]
            if array.dtype.kind == "O"
            else []
        )
        is_float = array.dtype.kind == "f" or (
            bool(numbers) and all(isinstance(v, float | np.floating) for v in numbers)
        )
        discrete = not is_float or hasattr(values, "cat")
    return "categorical" if discrete else "continuous"


def _level_codes(values: Any) -> tuple[np.ndarray, np.ndarray]:
    array = np.asarray(values)
    codes = pd.factorize(array, sort=True)[0]
    known = codes >= 0
    return known, codes[known]


def _floats(name: str, values: Any, kind: Kind) -> tuple[np.ndarray, np.ndarray]:
    try:
        # of pandas' nullable numbers, too
        floats = pd.Series(values).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {kind} but holds something else: {error}.") from None
    n_infinite = int(np.isinf(floats).sum())
    if n_infinite:
        raise ValueError(f"{name} holds {n_infinite} infinite values; set them to NaN (missing).")
    known = ~np.isnan(floats)
    floats = floats[known]
    return known, np.mod(floats, 2 * np.pi) if kind == "circular" else floats


def _refuse_constant(name: str, kind: Kind, values: np.ndarray) -> None:
    if values.size == 0:
        raise UndefinedScoreError(f"{name} has no known label; leave it out.")
    if (kind == "categorical" and values.max() == 0) or (
        kind != "categorical" and is_constant(values)
    ):
        raise UndefinedScoreError(
            f"{name} has a single level on the {values.size} cells given and can tell none "
            "apart; leave it out, or score cells that differ in it."
        )
