"""Mutual information gap."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Num

from betascvi._errors import UndefinedScoreError
from betascvi._results import Score
from betascvi.metrics._information import factor_entropies, information_matrix
from betascvi.metrics._inputs import Column, Flags, as_columns, as_embedding


def mig(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    discrete: Flags = None,
    n_bins: int = 20,
    *,
    circular: Flags = None,
    estimator: Literal["histogram", "ksg"] = "histogram",
    n_neighbors: int = 3,
    seed: int = 0,
) -> Score:
    r"""Mutual information gap: how far the best axis of a factor leads the next best.

    .. math::
        \mathrm{MIG} = \frac{1}{K} \sum_j
        \frac{I(z_{i_1}; c_j) - I(z_{i_2}; c_j)}{H(c_j)}

    with :math:`i_1, i_2` the two axes that know most of factor :math:`j` (equation 6 of
    :cite:p:`Chen18`).

    Parameters
    ----------
    z
        Embedding, (cells, axes), two axes or more.
    factors
        (cells, factors) array, a list of columns, a data frame or coded factors; NaN and None
        are missing labels, and each factor is scored on the cells that have one.
    discrete
        Whether a factor is made of levels: one bool, or one per factor. ``None`` reads floats
        as continuous and everything else as levels.
    n_bins
        Equal-width bins of each axis and of each continuous or circular factor.
    circular
        Whether a factor is an angle in radians: one bool, or one per factor.
    estimator
        ``"histogram"`` is the published form. ``"ksg"`` asks nearest neighbours (scikit-learn)
        instead of binning the axes; factors keep the entropy of their levels or bins, and an
        estimate above that entropy is set to it.
    n_neighbors
        Neighbours of the ksg estimate.
    seed
        Of the jitter that the ksg estimate adds.

    Returns
    -------
    Score in [0, 1], higher is better. ``per_factor`` holds the gap of each factor, ``evidence``
    the mutual information in nats, ``parts`` the mean share of a factor that its best axis
    (``best_axis``) and the next (``runner_up``) know.

    Notes
    -----
    A random code scores about 0 (0.01 at 1000 cells). MIG punishes a factor that is split over
    two axes, and does *not* see two factors in one axis. Twenty equal bins lose information of
    continuous factors: a perfect code with noise of a tenth of its spread scores 0.65. An angle
    needs two axes (cosine and sine) and scores near 0 however clean they are.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> levels = np.random.default_rng(0).integers(4, size=(2000, 2))
    >>> float(bs.metrics.mig(levels.astype(float), levels)) > 0.99
    True
    """
    z = as_embedding(z, min_axes=2, asked_by="mig")
    columns = as_columns(factors, len(z), discrete, circular, asked_by="mig")
    entropies = factor_entropies(columns, n_bins)
    if estimator == "histogram":
        information = information_matrix(z, columns, n_bins)
    elif estimator == "ksg":
        information = np.minimum(_ksg_matrix(z, columns, n_neighbors, seed), entropies)
    else:
        raise ValueError(f"estimator is 'histogram' or 'ksg', got {estimator!r}.")
    ranked = np.sort(information, axis=0) / entropies
    gaps = ranked[-1] - ranked[-2]
    parts = {"best_axis": float(ranked[-1].mean()), "runner_up": float(ranked[-2].mean())}
    return Score("mig", float(gaps.mean()), gaps, information, MappingProxyType(parts))


def _ksg_matrix(
    z: Float[np.ndarray, "cells axes"], columns: Sequence[Column], n_neighbors: int, seed: int
) -> Float[np.ndarray, "axes factors"]:
    return np.column_stack([_ksg(column.rows(z), column, n_neighbors, seed) for column in columns])


def _ksg(z: np.ndarray, column: Column, n_neighbors: int, seed: int) -> np.ndarray:
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

    settings = {"n_neighbors": n_neighbors, "random_state": seed}
    if column.kind == "categorical":
        if np.unique(column.values, return_counts=True)[1].max() < 2:
            raise UndefinedScoreError(
                f"{column.name} has no level of two cells: nearest neighbours within a level tell "
                "nothing of it; use estimator='histogram'."
            )
        return np.asarray(mutual_info_classif(z, column.values, **settings))
    if column.kind == "continuous":
        return np.asarray(mutual_info_regression(z, column.values, **settings))
    # An axis may follow the cosine, the sine or anything between: the better one is a lower
    # bound of what it knows of the angle.
    turns = (np.cos(column.values), np.sin(column.values))
    return np.maximum(*(mutual_info_regression(z, turn, **settings) for turn in turns))
