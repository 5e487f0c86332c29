"""What a linear classifier reads from each single axis."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from betascvi._results import Score
from betascvi._whole_numbers import refuse_count
from betascvi.metrics._binned_logistic import named_levels
from betascvi.metrics._folds import as_groups, deal_folds
from betascvi.metrics._inputs import Flags, as_columns, as_embedding, live_axes

# Cells of one quantile are read alike; the boundary moves by less than 1 cell in 500.
_N_QUANTILES = 512


def condition_prediction(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    discrete: Flags = None,
    n_bins: int = 20,
    *,
    circular: Flags = None,
    n_folds: int = 5,
    groups: Any = None,
    seed: int = 0,
) -> Score:
    r"""Held-out balanced accuracy of a linear classifier on each single axis.

    .. math::
        A_{ij} = \frac{1}{L_j} \sum_l
        p\left(\arg\max_m\, (w_{m} z_i + b_{m}) = l \mid c_j = l\right), \qquad
        \mathrm{value} = \frac{1}{K} \sum_j \max_i A_{ij}

    with weights of a logistic regression (unit ridge penalty, levels weighted equally) fitted
    on the other folds.

    Parameters
    ----------
    z
        Embedding, (cells, axes).
    factors
        (cells, factors) array, a list of columns, a data frame or coded factors; NaN and None
        are missing labels.
    discrete
        Whether a factor is made of levels: one bool, or one per factor. ``None`` reads floats
        as continuous and everything else as levels.
    n_bins
        Equal-width bins that stand for the levels of a continuous or circular factor.
    circular
        Whether a factor is an angle in radians: one bool, or one per factor.
    n_folds
        Folds of the cross-fit; every cell is predicted once.
    groups
        (cells,) labels that no fold divides: copies of a resampled cell, donors.
    seed
        Of the folds.

    Returns
    -------
    Score in [0, 1], higher is better: the mean over factors of the best axis. ``evidence`` is
    the whole matrix A, ``per_factor`` its best axis, ``parts["chance"]`` and
    ``details["chance"]`` what guessing scores: 1 / levels.

    Notes
    -----
    A random code scores a little above chance, as the best of many axes is taken; read it
    beside a permutation null. It does not see whether *other* axes know the factor too: that
    is what gaps (``mig``, ``sap``) are for. Each axis is cut at 512 quantiles first (exact for
    fewer distinct values), so that the cost of a fit does not grow with the cells.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> treated = np.random.default_rng(0).integers(2, size=400)
    >>> score = bs.metrics.condition_prediction(treated[:, None].astype(float), treated)
    >>> float(score), score.parts["chance"]
    (1.0, 0.5)
    """
    z = as_embedding(z)
    columns = as_columns(factors, len(z), discrete, circular, asked_by="condition_prediction")
    refuse_count("n_folds", n_folds, least=2)
    cell_groups = as_groups(groups, len(z))
    matrix = np.empty((z.shape[1], len(columns)))
    chance = np.empty(len(columns))
    for j, column in enumerate(columns):
        rows, levels = column.rows(z), column.present_levels(n_bins)
        known_groups = None if cell_groups is None else column.rows(cell_groups)
        folds = deal_folds(levels, n_folds, np.random.default_rng(seed), known_groups)
        chance[j] = 1 / (levels.max() + 1)
        matrix[:, j] = chance[j]
        for i in np.flatnonzero(live_axes(rows)):
            matrix[i, j] = _balanced_accuracy(rows[:, i], levels, folds, n_folds)
    best = matrix.max(axis=0)
    return Score(
        "condition_prediction", float(best.mean()), best, matrix,
        MappingProxyType({"chance": float(chance.mean())}),
        MappingProxyType({"chance": chance}),
    )  # fmt: skip


def _balanced_accuracy(
    x: Float[np.ndarray, " cells"],
    levels: Int[np.ndarray, " cells"],
    folds: Int[np.ndarray, " cells"],
    n_folds: int,
) -> float:
    """Mean over levels of the share of held-out cells named right."""
    x = x.astype(np.float64)
    n_levels = int(levels.max()) + 1
    cuts = np.unique(np.quantile(x, np.linspace(0, 1, _N_QUANTILES + 1)[1:-1]))
    bins = np.searchsorted(cuts, x, side="left")
    sizes = np.maximum(np.bincount(bins, minlength=cuts.size + 1), 1)
    centres = np.bincount(bins, x - x.mean(), minlength=sizes.size) / sizes / x.std()
    cell = (folds * sizes.size + bins) * n_levels + levels
    shape = (n_folds, sizes.size, n_levels)
    counts = np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)
    whole = counts.sum(axis=0)
    right = np.zeros(n_levels)
    _, start = named_levels(centres, whole)
    for held_out in counts:
        guess, _ = named_levels(centres, whole - held_out, start)
        right += (held_out * (guess[:, None] == np.arange(n_levels))).sum(axis=0)
    return float((right / whole.sum(axis=0)).mean())
