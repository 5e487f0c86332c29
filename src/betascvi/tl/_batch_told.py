"""How well a latent, and expression, still tell a factor."""

from __future__ import annotations

import numpy as np
import pandas as pd

from betascvi.factors import CodedFactor, Factor, Kind, code_factor
from betascvi.tl._axis_information import axis_shares, has_few_whole_values
from betascvi.tl._probes import Target, cross_fit, logistic

MOST_CELLS = 2000
"""Cells whose expression is looked at."""
_N_FOLDS = 5
_N_COMPONENTS = 10


def groups_of(column: pd.Series | None, name: str, kind: Kind) -> CodedFactor | None:
    """The levels of a factor, or four equal groups of a number; None where all cells are alike."""
    if column is None:
        return None
    if kind != "categorical" and not has_few_whole_values(column):
        coded = _quarters(code_factor(column, Factor(name, kind)))
    else:
        coded = code_factor(column, Factor(name, "categorical"))
    return coded if len(np.unique(coded.values[coded.known])) > 1 else None


def _quarters(numbers: CodedFactor) -> CodedFactor:
    known = numbers.known
    edges = np.quantile(numbers.values[known], [0.25, 0.5, 0.75]) if known.any() else np.zeros(3)
    codes = np.where(known, np.searchsorted(edges, numbers.values, side="right"), -1)
    return CodedFactor(numbers.name, "categorical", codes, ("1", "2", "3", "4"))


def told_by_one_axis(
    factor: CodedFactor | None, before: np.ndarray, after: np.ndarray
) -> tuple[float, float] | None:
    """Largest share of the factor's entropy that one axis tells, before and after."""
    if factor is None:
        return None
    first, second = (float(axis_shares(z, factor)[0].max(initial=0.0)) for z in (before, after))
    return first, second


def told_by_expression(
    factor: CodedFactor | None, before: np.ndarray, after: np.ndarray
) -> tuple[float, float, float] | None:
    """Balanced accuracy of telling the level from expression, before, after, and by chance.

    By a logistic regression on ten principal components, on cells it was not fitted on. None where
    fewer than two levels have enough cells to be held out.
    """
    if factor is None:
        return None
    counts = np.bincount(factor.values[factor.known], minlength=len(factor.levels))
    rows = np.flatnonzero(factor.known & np.isin(factor.values, np.flatnonzero(counts >= _N_FOLDS)))
    levels, codes = np.unique(factor.values[rows], return_inverse=True)
    if len(levels) < 2:
        return None
    first, second = (_accuracy(x[rows], codes) for x in (before, after))
    return first, second, 1.0 / len(levels)


def _accuracy(x: np.ndarray, codes: np.ndarray) -> float:
    from sklearn.decomposition import PCA

    z = PCA(min(_N_COMPONENTS, *x.shape), random_state=0).fit_transform(x)
    folds = np.empty(len(codes), dtype=int)
    folds[np.argsort(codes, kind="stable")] = np.arange(len(codes)) % _N_FOLDS
    said = cross_fit(z, Target("categorical", codes, np.arange(len(codes))), folds, logistic, 0)
    is_right = said.argmax(1) == codes
    return float(np.mean([is_right[codes == code].mean() for code in np.unique(codes)]))
