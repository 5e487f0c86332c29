"""Similarity of every axis with every level: the matrices of DRVI's benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from betascvi._errors import UndefinedScoreError
from betascvi.metrics._information import bin_axes, joint_counts, mutual_information
from betascvi.metrics._inputs import Column, Flags, as_columns, as_embedding

_N_BINS = 10  # drvi-py's


def pairwise_mutual_information(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    discrete: Flags = None,
    n_bins: int = _N_BINS,
    *,
    circular: Flags = None,
) -> Float[np.ndarray, "axes levels"]:
    r"""Scaled mutual information (SMI) of each axis with "this level or not".

    .. math::
        \mathrm{SMI}_{il} = \frac{I(\mathrm{bin}(z_i); 1[c = l])}{H(1[c = l])}

    Parameters
    ----------
    z
        Embedding, (cells, axes).
    factors
        Factors; the levels of all of them stand side by side in the result.
    discrete, circular
        As in :func:`~betascvi.metrics.mig`.
    n_bins
        Equal-width bins of each axis, and of continuous factors.

    Returns
    -------
    Array of (axes, levels) in [0, 1]; levels in sorted order, factor by factor.

    Notes
    -----
    It is drvi-py's ``discrete_scaled_mutual_info_score`` (0.2.6 and later; the SMI published in
    :cite:p:`Moinfar24` was another one). Outliers empty the bins; noise scores about 0.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> level = np.arange(900) % 3
    >>> z = (level == 2)[:, None].astype(float)
    >>> bs.metrics.pairwise_mutual_information(z, level).round(2)
    array([[0.27, 0.27, 1.  ]])
    """
    z = as_embedding(z)
    columns = as_columns(factors, len(z), discrete, circular)
    return np.hstack(smi_matrices(z, columns, n_bins))


def pairwise_neighbours(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    discrete: Flags = None,
    n_bins: int = _N_BINS,
    *,
    circular: Flags = None,
    seed: int = 0,
) -> Float[np.ndarray, "axes levels"]:
    r"""Same-process neighbours (SPN): do cells of a level stand side by side on an axis?

    .. math::
        \mathrm{SPN}_{il} = \frac{\max(0,\; p_{il} - f_l)}{1 - f_l}

    with :math:`p_{il}` the share of the cells of level :math:`l`, one of them not counted, whose
    right neighbour on axis :math:`i` has that level too, and :math:`f_l` the level's frequency.

    Parameters
    ----------
    z
        Embedding, (cells, axes).
    factors
        Factors; the levels of all of them stand side by side in the result.
    discrete, circular
        As in :func:`~betascvi.metrics.mig`.
    n_bins
        Equal-width bins that stand for the levels of a continuous factor.
    seed
        Of the order of cells that tie on an axis.

    Returns
    -------
    Array of (axes, levels) in [0, 1]; levels in sorted order, factor by factor.

    Notes
    -----
    It is drvi-py's ``nn_alignment_score``, but for ties: they are put in random order, so that
    a constant axis scores about 0 on cells sorted by label. Noise scores above 0, as negative
    excess is cut: about 0.03 at 1000 cells. A level of one cell has no neighbours and is refused.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> level = np.repeat([0, 1], 500)
    >>> bs.metrics.pairwise_neighbours(np.linspace(0, 1, 1000)[:, None], level)
    array([[1., 1.]])
    """
    z = as_embedding(z)
    columns = as_columns(factors, len(z), discrete, circular)
    return np.hstack(spn_matrices(z, columns, n_bins, seed))


def smi_matrices(
    z: Float[np.ndarray, "cells axes"], columns: Sequence[Column], n_bins: int
) -> list[np.ndarray]:
    """One (axes, levels) matrix per factor."""
    return [
        _smi(bin_axes(column.rows(z), n_bins), column.present_levels(n_bins), n_bins)
        for column in columns
    ]


def _smi(
    codes: Int[np.ndarray, "axes cells"], levels: Int[np.ndarray, " cells"], n_bins: int
) -> Float[np.ndarray, "axes levels"]:
    n_levels = int(levels.max()) + 1
    share = np.bincount(levels) / levels.size
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    result = np.empty((len(codes), n_levels))
    for i, code in enumerate(codes):
        counts = joint_counts(code, levels, n_bins, n_levels)
        rest = counts.sum(axis=1)[:, None] - counts
        result[i] = [
            mutual_information(np.stack(two, 1)) for two in zip(counts.T, rest.T, strict=True)
        ]
    return result / entropy


def spn_matrices(
    z: Float[np.ndarray, "cells axes"], columns: Sequence[Column], n_bins: int, seed: int
) -> list[np.ndarray]:
    """One (axes, levels) matrix per factor."""
    rng = np.random.default_rng(seed)
    result = []
    for column in columns:
        levels = column.present_levels(n_bins)
        sizes = np.bincount(levels)
        if sizes.min() < 2:
            raise UndefinedScoreError(
                f"{column.name} has a level with a single cell, which has no neighbour of its "
                "own level; leave out levels with fewer than two cells, or take fewer bins."
            )
        order = rng.permutation(levels.size)
        result.append(_spn(column.rows(z)[order], levels[order], sizes))
    return result


def _spn(
    z: np.ndarray, levels: np.ndarray, sizes: Int[np.ndarray, " levels"]
) -> Float[np.ndarray, "axes levels"]:
    frequency = sizes / levels.size
    result = np.empty((z.shape[1], sizes.size))
    for i in range(z.shape[1]):
        along = levels[np.argsort(z[:, i], kind="stable")]
        alike = along[:-1][along[:-1] == along[1:]]
        result[i] = np.bincount(alike, minlength=sizes.size) / (sizes - 1)
    return np.clip(result - frequency, 0, None) / (1 - frequency)
