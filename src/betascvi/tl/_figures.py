"""The figures of a score table: every metric as one mapping from a key to a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from betascvi._errors import UndefinedScoreError
from betascvi._results import Score
from betascvi.factors import CodedFactor
from betascvi.metrics import condition_prediction, dci, explicitness, sap
from betascvi.metrics._information import (
    bin_axes,
    factor_entropies,
    joint_counts,
    mutual_information,
)
from betascvi.metrics._inputs import Column, as_columns, as_embedding
from betascvi.metrics._modularity import modularity_of_axes

ALL = "all"
"""Stands for the figure over all factors."""


class FigureKey(NamedTuple):
    """Which figure: of which metric, which part of it, for which factor, given which."""

    metric: str
    part: str
    factor: str
    given: str = ""


Figures = Mapping[FigureKey, float]


class BinnedEmbedding:
    """An embedding cut into bins once, asked about one labelling after another."""

    def __init__(self, z: np.ndarray, n_bins: int) -> None:
        self._z = as_embedding(z)
        self._n_bins = n_bins
        self._codes: dict[bytes, np.ndarray] = {}

    def information(self, column: Column, rows: np.ndarray | None = None) -> np.ndarray:
        """(axes,) information about a factor, on all its known cells or on some of these."""
        levels, n_levels = column.levels(self._n_bins)
        codes = self._codes_of(column)
        if rows is not None:
            codes, levels = codes[:, rows], levels[rows]
        return np.array(
            [
                mutual_information(joint_counts(code, levels, self._n_bins, n_levels))
                for code in codes
            ]
        )

    def _codes_of(self, column: Column) -> np.ndarray:
        key = b"" if column.known is None else np.packbits(column.known).tobytes()
        if key not in self._codes:
            self._codes[key] = bin_axes(column.rows(self._z), self._n_bins)
        return self._codes[key]


def information_figures(
    binned: BinnedEmbedding, factors: Sequence[CodedFactor], n_bins: int, wanted: Sequence[str]
) -> Figures:
    """MIG and modularity, as ``bs.metrics`` defines them, from one matrix of information."""
    names = [factor.name for factor in factors]
    columns = as_columns(list(factors), len(factors[0].values))
    matrix = np.column_stack([binned.information(column) for column in columns])
    figures: dict[FigureKey, float] = {}
    if "mig" in wanted:
        figures |= _gaps("mig", matrix, factor_entropies(columns, n_bins), names)
    if "modularity" in wanted and len(names) > 1:
        figures[FigureKey("modularity", "headline", ALL)] = _modularity(matrix)
    return figures


def conditional_figures(
    binned: BinnedEmbedding, child: CodedFactor, parent: CodedFactor
) -> Figures:
    """MIG of a nested factor within the levels of its parent.

    I(z; c | p) = sum_p share(p) I(z; c | p = that level), over H(c | p).
    """
    (column,) = as_columns([child], len(child.values))
    parents = column.rows(parent.values)
    information, entropy = np.zeros(0), 0.0
    for level in np.unique(parents):
        rows = np.flatnonzero(parents == level)
        share = len(rows) / len(parents)
        within = share * binned.information(column, rows)
        information = within if information.size == 0 else information + within
        counts = np.bincount(column.values[rows])
        p = counts[counts > 0] / len(rows)
        entropy -= share * float((p * np.log(p)).sum())
    if entropy <= 0:
        raise UndefinedScoreError(f"{child.name} does not vary within {parent.name}.")
    gaps = _gaps("mig", information[:, None], np.array([entropy]), [child.name])
    return {
        FigureKey(key.metric, key.part, key.factor, parent.name): value
        for key, value in gaps.items()
        if key.factor != ALL
    }


def _gaps(
    metric: str, matrix: np.ndarray, entropies: np.ndarray, names: Sequence[str]
) -> dict[FigureKey, float]:
    ranked = np.sort(matrix, axis=0) / entropies
    gaps = ranked[-1] - ranked[-2]
    return _per_factor(metric, "headline", float(gaps.mean()), gaps, names)


def _modularity(matrix: np.ndarray) -> float:
    live = matrix.max(axis=1) > 0
    return float(modularity_of_axes(matrix)[live].mean()) if live.any() else 0.0


def _per_factor(
    metric: str, part: str, value: float, each: np.ndarray, names: Sequence[str]
) -> dict[FigureKey, float]:
    figures = {FigureKey(metric, part, ALL): value}
    for name, one in zip(names, each, strict=True):
        figures[FigureKey(metric, part, name)] = float(one)
    return figures


Fitted = Callable[[np.ndarray, Sequence[CodedFactor], int, int], Figures]


def _of_score(score: Score, names: Sequence[str]) -> Figures:
    each = np.zeros(0) if score.per_factor is None else score.per_factor
    return _per_factor(score.name, "headline", float(score), each, names)


def _dci(z: np.ndarray, factors: Sequence[CodedFactor], n_bins: int, seed: int) -> Figures:
    score = dci(z, list(factors), n_bins=n_bins, seed=seed)
    names = [factor.name for factor in factors]
    each = {"disentanglement": score.per_factor, **score.details}
    figures: dict[FigureKey, float] = {}
    for part in ("disentanglement", "completeness", "informativeness"):
        figures |= _per_factor("dci", part, score.parts[part], np.asarray(each[part]), names)
    return figures


def _sap(z: np.ndarray, factors: Sequence[CodedFactor], n_bins: int, seed: int) -> Figures:
    score = sap(z, list(factors), n_bins=n_bins, seed=seed)
    return _of_score(score, [factor.name for factor in factors])


def _explicitness(z: np.ndarray, factors: Sequence[CodedFactor], n_bins: int, seed: int) -> Figures:
    score = explicitness(z, list(factors), n_bins=n_bins, seed=seed)
    return _of_score(score, [factor.name for factor in factors])


def _condition_prediction(
    z: np.ndarray, factors: Sequence[CodedFactor], n_bins: int, seed: int
) -> Figures:
    score = condition_prediction(z, list(factors), n_bins=n_bins, seed=seed)
    return _of_score(score, [factor.name for factor in factors])


INFORMATION = ("mig", "modularity")
"""Metrics that need one matrix of mutual information, and no fit."""
FITTED: Mapping[str, Fitted] = MappingProxyType(
    {
        "dci": _dci,
        "sap": _sap,
        "explicitness": _explicitness,
        "condition_prediction": _condition_prediction,
    }
)
"""Metrics that fit something, and are asked on a subsample."""
