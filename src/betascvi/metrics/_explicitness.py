"""Explicitness of Ridgeway and Mozer."""

from __future__ import annotations

import warnings
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from betascvi._errors import UndefinedScoreError
from betascvi._results import Score
from betascvi._whole_numbers import refuse_count
from betascvi.metrics._folds import as_groups, at_most, deal_folds
from betascvi.metrics._inputs import Flags, as_columns, as_embedding, live_axes

# disentanglement_lib fits on 10,000 cells; the area no longer moves beyond.
_MOST_FITTED = 10_000


def explicitness(
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
    r"""How well a linear reader finds each factor in the whole embedding.

    .. math::
        \mathrm{explicitness} = \frac{1}{K} \sum_j \frac{1}{L_j} \sum_l \mathrm{AUC}_{jl}

    with :math:`\mathrm{AUC}_{jl}` the area under the curve of "level :math:`l` or not" by the
    probabilities of one logistic regression on all axes (section 3 of :cite:p:`Ridgeway18`).

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
        The area is taken on each fold by the regression of the others, then averaged.
    groups
        (cells,) labels that no fold divides: copies of a resampled cell, donors.
    seed
        Of the folds.

    Returns
    -------
    Score, 0.5 for a random code and 1 at best; ``per_factor`` holds each factor, ``parts`` the
    figure stretched to 0 ... 1 (``above_chance``: 2 AUC - 1).

    Notes
    -----
    It says whether a factor can be read, not whether it is disentangled: any rotation of the
    embedding scores the same. Axes are standardised by the fitted cells; at most 10,000 cells
    are fitted per fold. A level that a fold lacks is left out of that fold's mean, and a fold
    without two levels of the mean over folds.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> levels = np.random.default_rng(0).integers(2, size=600)
    >>> float(bs.metrics.explicitness(levels[:, None].astype(float), levels))
    1.0
    """
    z = as_embedding(z)
    columns = as_columns(factors, len(z), discrete, circular, asked_by="explicitness")
    refuse_count("n_folds", n_folds, least=2)
    cell_groups = as_groups(groups, len(z))
    z = z[:, live_axes(z)]
    areas = np.full(len(columns), 0.5)
    for j, column in enumerate(columns if z.shape[1] else ()):
        levels = column.present_levels(n_bins)
        if (np.bincount(levels) > 1).sum() < 2:
            raise UndefinedScoreError(_too_rare(column.name))
        known_groups = None if cell_groups is None else column.rows(cell_groups)
        folds = deal_folds(levels, n_folds, np.random.default_rng(seed), known_groups)
        rows = column.rows(z)
        of_folds = [_area(rows, levels, folds == f) for f in range(n_folds)]
        known_areas = [area for area in of_folds if area is not None]
        if not known_areas:
            raise UndefinedScoreError(_too_rare(column.name))
        areas[j] = np.mean(known_areas)
    value = float(areas.mean())
    parts = MappingProxyType({"above_chance": 2 * value - 1})
    return Score("explicitness", value, areas, None, parts)


def _too_rare(name: str) -> str:
    return (
        f"explicitness fits some cells of a level and asks about others: {name} has no two levels "
        "of which that can be done."
    )


def _area(
    z: Float[np.ndarray, "cells axes"],
    levels: Int[np.ndarray, " cells"],
    held_out: np.ndarray,
) -> float | None:
    """Mean one-against-the-rest area over the levels that fit and fold both hold, if any."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    fitted = at_most(np.flatnonzero(~held_out), _MOST_FITTED)
    if fitted.size == 0 or not held_out.any() or np.ptp(levels[fitted]) == 0:
        return None
    mean, sd = z[fitted].mean(axis=0), z[fitted].std(axis=0)
    sd[sd == 0] = 1
    with warnings.catch_warnings():
        # The ranking that the area needs stands long before the weights do: against the default
        # tolerance the area moves by 0.0002, and the fit takes 0.6 of the time.
        warnings.filterwarnings("ignore", message="lbfgs failed to converge")
        reader = LogisticRegression(tol=1e-3).fit((z[fitted] - mean) / sd, levels[fitted])
    probabilities = reader.predict_proba((z[held_out] - mean) / sd)
    truth = levels[held_out]
    areas = [
        roc_auc_score(truth == level, probabilities[:, k])
        for k, level in enumerate(reader.classes_)
        if 0 < np.count_nonzero(truth == level) < truth.size
    ]
    return float(np.mean(areas)) if areas else None
