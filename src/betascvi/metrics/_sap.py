"""Separated attribute predictability."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from betascvi._results import Score
from betascvi.metrics._folds import as_groups, at_most, deal_folds
from betascvi.metrics._inputs import Column, Flags, as_columns, as_embedding, live_axes

# disentanglement_lib fits on 10,000 cells; more change a classifier of one axis by nothing.
_MOST_FITTED = 10_000
_N_FOLDS = 5


def sap(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    discrete: Flags = None,
    n_bins: int = 20,
    *,
    circular: Flags = None,
    balanced: bool = False,
    groups: Any = None,
    seed: int = 0,
) -> Score:
    r"""Separated attribute predictability: how far the best single predictor leads the next.

    .. math::
        \mathrm{SAP} = \frac{1}{K} \sum_j (S_{i_1 j} - S_{i_2 j})

    with :math:`S_{ij}` the accuracy of a linear support vector machine on axis :math:`i` alone
    where factor :math:`j` has levels, and the squared correlation
    :math:`\mathrm{cov}(z_i, c_j)^2 / (\mathrm{var}(z_i)\, \mathrm{var}(c_j))` where it is a
    number (section 3 of :cite:p:`Kumar18`).

    Parameters
    ----------
    z
        Embedding, (cells, axes), two axes or more.
    factors
        (cells, factors) array, a list of columns, a data frame or coded factors; NaN and None
        are missing labels.
    discrete
        Whether a factor is made of levels: one bool, or one per factor. ``None`` reads floats
        as continuous and everything else as levels.
    n_bins
        Bins in which ``balanced`` weighs a continuous factor.
    circular
        Whether a factor is an angle: one bool, or one per factor. The squared correlation is
        then the multiple one with cosine and sine.
    balanced
        Balanced accuracy in place of accuracy; squared correlation with every occupied bin of
        the factor given equal weight. For factors whose levels differ much in size.
    groups
        (cells,) labels that no split divides: copies of a resampled cell, donors.
    seed
        Of the five folds; each is predicted by the machine of the other four.

    Returns
    -------
    Score in [0, 1], higher is better. ``per_factor`` holds the gaps, ``evidence`` the matrix S,
    ``parts`` the mean score of the best axis (``best_axis``) and the next (``runner_up``).

    Notes
    -----
    A random code scores about 0. The machine is ``LinearSVC(C=0.01, class_weight="balanced")``,
    as in disentanglement_lib, one level against the rest: on a single axis it cannot cut out a
    level in the middle, so that a *perfect* code of a factor with many levels scores 0.44.
    The penalty is not free of scale, so axes far from unit variance score otherwise; and where
    two levels nearly tie for a stretch of the axis, the figure jumps with the number of cells
    (by 0.1 between 1500 and 3000 cells of a perfect code of 2 to 8 levels). At most 10,000
    cells are fitted per fold.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> c = np.random.default_rng(0).normal(size=(500, 2))
    >>> float(bs.metrics.sap(c, c)) > 0.95
    True
    """
    z = as_embedding(z, min_axes=2, asked_by="sap")
    columns = as_columns(factors, len(z), discrete, circular, asked_by="sap")
    cell_groups = as_groups(groups, len(z))
    matrix = np.zeros((z.shape[1], len(columns)))
    for j, column in enumerate(columns):
        rows = column.rows(z)
        if column.kind == "categorical":
            known_groups = None if cell_groups is None else column.rows(cell_groups)
            folds = deal_folds(column.values, _N_FOLDS, np.random.default_rng(seed), known_groups)
            matrix[:, j] = _accuracies(rows, column.values, folds, balanced)
        else:
            weights = _level_weights(column.levels(n_bins)[0]) if balanced else None
            matrix[:, j] = _squared_correlations(rows, column, weights)
    ranked = np.sort(matrix, axis=0)
    gaps = ranked[-1] - ranked[-2]
    parts = {"best_axis": float(ranked[-1].mean()), "runner_up": float(ranked[-2].mean())}
    return Score("sap", float(gaps.mean()), gaps, matrix, MappingProxyType(parts))


def _level_weights(levels: Int[np.ndarray, " cells"]) -> Float[np.ndarray, " cells"]:
    """Weights that sum to one and give every level that occurs the same share."""
    counts = np.bincount(levels)
    return 1.0 / (counts[levels] * (counts > 0).sum())


def _accuracies(
    z: np.ndarray, levels: np.ndarray, folds: np.ndarray, balanced: bool
) -> Float[np.ndarray, " axes"]:
    """Held-out accuracy of each axis alone; a constant axis predicts one level."""
    weights = _level_weights(levels) if balanced else np.full(levels.size, 1 / levels.size)
    is_right = np.zeros((z.shape[1], levels.size), dtype=bool)
    for fold in range(_N_FOLDS):
        held_out = folds == fold
        if not held_out.any() or held_out.all():
            continue
        fitted = at_most(np.flatnonzero(~held_out), _MOST_FITTED)
        for i in range(z.shape[1]):
            guess = _machine(z[fitted, i], levels[fitted], z[held_out, i])
            is_right[i, held_out] = guess == levels[held_out]
    return is_right @ weights


def _machine(x: np.ndarray, levels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    from sklearn.svm import LinearSVC

    if levels.min() == levels.max():
        return np.full(asked.shape, levels[0])
    machine = LinearSVC(C=0.01, class_weight="balanced", dual=False, random_state=0)
    return np.asarray(machine.fit(x[:, None], levels).predict(asked[:, None]))


def _squared_correlations(
    z: np.ndarray, column: Column, weights: np.ndarray | None
) -> Float[np.ndarray, " axes"]:
    """Share of each axis's variance that is linear in the factor (in cosine and sine)."""
    x = column.values
    predictors = np.column_stack([np.cos(x), np.sin(x)] if column.kind == "circular" else [x])
    z = z.astype(np.float64)
    is_live = live_axes(z)
    result = np.zeros(z.shape[1])
    root = np.full(len(z), len(z) ** -0.5) if weights is None else np.sqrt(weights)
    centred = [(m - root**2 @ m) * root[:, None] for m in (z[:, is_live], predictors)]
    basis = np.linalg.qr(centred[1])[0]
    explained = ((basis.T @ centred[0]) ** 2).sum(axis=0)
    result[is_live] = np.clip(explained / (centred[0] ** 2).sum(axis=0), 0, 1)
    return result
