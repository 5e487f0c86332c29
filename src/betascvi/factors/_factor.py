"""What a factor is, and how an ``obs`` column becomes numbers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from betascvi._errors import FactorError, UnknownFactorError

logger = logging.getLogger(__name__)

Kind = Literal["categorical", "continuous", "circular"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Factor:
    """A column of ``obs`` that serves as a proxy for something the cells differ in.

    Parameters
    ----------
    name
        Column of ``adata.obs``.
    kind
        ``"categorical"``, ``"continuous"`` or ``"circular"`` (radians). ``None`` infers
        categorical (category, string, bool) or continuous (numbers); circular is declared.
    """

    name: str
    kind: Kind | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise FactorError(f"factor {self.name!r}: kind is one of {KINDS}, got {self.kind!r}.")


# saved models remember their factors by this path, so that the file may move
Factor.__module__ = "betascvi.factors"


@dataclass(frozen=True, slots=True, eq=False)
class CodedFactor:
    """A factor as numbers: level codes (-1 is missing), or floats (NaN is missing)."""

    name: str
    kind: Kind
    values: np.ndarray
    levels: tuple[str, ...] = ()

    @property
    def known(self) -> np.ndarray:
        """(cells,) True where the label is there."""
        return self.values >= 0 if self.kind == "categorical" else np.isfinite(self.values)


def as_factors(keys: Sequence[str | Factor]) -> tuple[Factor, ...]:
    """Names and declared factors alike, as factors; a name given twice is refused."""
    if isinstance(keys, str | Factor):
        keys = [keys]
    if isinstance(keys, Mapping):
        raise FactorError(
            f"factors are a list of names and of bs.Factor(name, kind), got a mapping: {dict(keys)}."
        )
    factors = tuple(key if isinstance(key, Factor) else Factor(key) for key in keys)
    names = [factor.name for factor in factors]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FactorError(f"factors {twice} are named twice; name each column once.")
    return factors


def code_factor(
    column: Any,
    factor: Factor,
    levels: Sequence[str] | None = None,
    *,
    training: bool = False,
    unseen: Literal["refuse", "missing"] = "refuse",
) -> CodedFactor:
    """Turn one ``obs`` column into numbers.

    Parameters
    ----------
    column
        pandas Series or array, one value a cell.
    factor
        Its name and, where declared, its kind.
    levels
        Levels of a categorical factor in the order of their codes; ``None`` takes them from
        the column (its categories that occur, or its sorted values).
    training
        Refuse what a model cannot learn from: a single level, a constant, no known label.
    unseen
        What a level outside ``levels`` is: refused, or a missing label.
    """
    kind = factor.kind or infer_kind(column, factor.name)
    if kind == "categorical":
        coded = _code_levels(column, factor.name, levels, unseen)
    else:
        coded = CodedFactor(factor.name, kind, _as_floats(column, factor.name, kind))
    if training:
        _refuse_unlearnable(coded)
    return coded


def as_text(column: pd.Series) -> pd.Series:
    """Labels as strings, whatever types the column mixes, in the order of its categories."""
    text = column.astype(str).where(column.notna())
    categories = getattr(column.dtype, "categories", None)
    if categories is None:
        return text
    return text.astype(pd.CategoricalDtype(list(dict.fromkeys(map(str, categories)))))


def infer_kind(column: Any, name: str) -> Kind:
    """Categorical for category, string and bool; continuous for numbers."""
    if hasattr(column.dtype, "categories"):
        return "categorical"
    values = np.asarray(column)
    if values.dtype.kind in "bUS":
        return "categorical"
    if values.dtype.kind in "iuf":
        _say_how_integers_are_read(values, name)
        return "continuous"
    known = [value for value in values if not _is_missing(value)]
    if known and all(_is_number(value) for value in known):
        return "continuous"
    return "categorical"


def _say_how_integers_are_read(values: np.ndarray, name: str) -> None:
    finite = values[np.isfinite(values)]
    n_values = len(np.unique(finite))
    if finite.size and n_values <= 50 and np.all(finite == np.round(finite)):
        logger.info(
            "factor %r holds %d distinct whole numbers and is read as continuous; "
            "if they are names, declare Factor(%r, kind='categorical').",
            name, n_values, name,
        )  # fmt: skip


def _code_levels(
    column: Any, name: str, levels: Sequence[str] | None, unseen: str = "refuse"
) -> CodedFactor:
    values = np.asarray(column, dtype=object)
    missing = np.array([_is_missing(value) for value in values], dtype=bool)
    types = {_plain_type(value) for value in values[~missing]}
    if len(types) > 1:
        raise FactorError(
            f"factor {name!r} mixes {' and '.join(sorted(types))}; make the column one type, "
            f"for example adata.obs[{name!r}] = adata.obs[{name!r}].astype(str)."
        )
    known = None if levels is None else frozenset(levels)
    text = np.array([name_of_level(value, known) for value in values], dtype=object)
    if levels is None:
        levels = _levels_in_order(column, set(text[~missing]))
    code_of = {level: code for code, level in enumerate(levels)}
    new = sorted(set(text[~missing]) - set(code_of))
    if new and unseen == "refuse":
        raise UnknownFactorError(
            f"factor {name!r} has levels the model has not seen: {new[:5]}; "
            f"known are {list(levels)[:20]}{_closest(new[0], levels)}."
        )
    codes = np.array(
        [-1 if m else code_of.get(t, -1) for t, m in zip(text, missing, strict=True)], int
    )
    return CodedFactor(name, "categorical", codes, tuple(levels))


def name_of_level(value: Any, known: Collection[str] | None = None) -> str:
    """A level's name; among known ones 1 and 1.0 are the same.

    pandas makes floats of whole numbers where one is missing.
    """
    name = str(value)
    if known is None or name in known or not _is_number(value) or not float(value).is_integer():
        return name
    forms = (str(int(value)), str(float(value)))
    return next((form for form in forms if form in known), name)


def _levels_in_order(column: Any, present: set[str]) -> list[str]:
    categories = getattr(getattr(column, "dtype", None), "categories", None)
    if categories is not None:
        return [str(c) for c in categories if str(c) in present]
    known = {value for value in np.asarray(column, dtype=object) if not _is_missing(value)}
    return [str(value) for value in sorted(known)]


def _as_floats(column: Any, name: str, kind: Kind) -> np.ndarray:
    values = np.asarray(column, dtype=object)
    try:
        floats = np.array([np.nan if _is_missing(v) else float(v) for v in values], dtype=float)
    except (TypeError, ValueError):
        example = next(v for v in values if not _is_missing(v) and not _is_number(v))
        raise FactorError(
            f"factor {name!r} is {kind} but holds {example!r}; "
            f"declare Factor({name!r}, kind='categorical') or clean the column."
        ) from None
    n_infinite = int(np.isinf(floats).sum())
    if n_infinite:
        raise FactorError(
            f"factor {name!r} holds {n_infinite} infinite values; set them to NaN (missing)."
        )
    if kind != "circular":
        return floats
    largest = float(np.nanmax(np.abs(floats), initial=0.0))
    if largest > 2 * np.pi + 1e-6:
        logger.warning(
            "factor %r is an angle in radians but holds values up to %.4g: they are wrapped to one "
            "turn. If they are degrees, convert them (np.deg2rad).", name, largest,
        )  # fmt: skip
    return np.mod(floats, 2 * np.pi)


def tells_cells_apart(coded: CodedFactor) -> bool:
    """Whether two cells are known to differ in it."""
    return len(np.unique(coded.values[coded.known])) > 1


def _refuse_unlearnable(coded: CodedFactor) -> None:
    known = coded.values[coded.known]
    if known.size == 0:
        raise FactorError(f"factor {coded.name!r} has no known label; drop it from factor_keys.")
    if not tells_cells_apart(coded):
        value = coded.levels[int(known[0])] if coded.levels else known[0]
        raise FactorError(
            f"factor {coded.name!r} has a single level ({value!r}) and can tell no cells apart; "
            "drop it from factor_keys."
        )


def _is_missing(value: Any) -> bool:
    # pandas' NA is neither equal to itself nor unequal: it is asked for by name, and first
    return value is None or type(value).__name__ == "NAType" or value != value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool | np.bool_)


def _plain_type(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "bool"
    return "number" if _is_number(value) else type(value).__name__


def _closest(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
