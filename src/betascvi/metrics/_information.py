"""Histograms of codes and factors: entropy and mutual information, in nats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from betascvi.metrics._inputs import (
    Column,
    Flags,
    as_columns,
    as_embedding,
    equal_width_bins,
    live_axes,
)

# Independent tables sum to 1e-16 and the like; that is no information.
_ROUNDING = 1e-12


def mutual_information_matrix(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    discrete: Flags = None,
    n_bins: int = 20,
    *,
    circular: Flags = None,
) -> Float[np.ndarray, "axes factors"]:
    r"""Mutual information of each axis with each factor, in nats.

    .. math::
        I(z_i; c_j) = \sum_{b, l} p(b, l) \log \frac{p(b, l)}{p(b)\, p(l)}

    with :math:`b` one of ``n_bins`` equal-width bins between the smallest and the largest
    value of the axis, :math:`l` a level of the factor.

    Parameters
    ----------
    z
        Embedding, (cells, axes).
    factors
        (cells, factors) array, a list of columns, a data frame or coded factors; NaN and None
        are missing labels, and each factor is scored on the cells that have one.
    discrete
        Whether a factor is made of levels: one bool, or one per factor. ``None`` reads floats
        as continuous and everything else as levels.
    n_bins
        Bins of each axis and of each continuous or circular factor.
    circular
        Whether a factor is an angle in radians: one bool, or one per factor. Angles are cut
        into ``n_bins`` equal arcs.

    Returns
    -------
    Array of (axes, factors).

    Notes
    -----
    The plug-in estimate is biased upwards, by about (bins - 1)(levels - 1) / (2 cells) nats
    where the two are independent. Equal-width bins are sensitive to outliers: one far cell
    leaves all others in one bin.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> level = np.arange(1000) % 4
    >>> z = np.column_stack([level, np.zeros(1000)]).astype(float)
    >>> bs.metrics.mutual_information_matrix(z, level)[:, 0].round(3)
    array([1.386, 0.   ])
    """
    z = as_embedding(z)
    columns = as_columns(factors, len(z), discrete, circular)
    return information_matrix(z, columns, n_bins)


def information_matrix(
    z: Float[np.ndarray, "cells axes"], columns: Sequence[Column], n_bins: int
) -> Float[np.ndarray, "axes factors"]:
    """Mutual information of every axis with every column, each on the cells it knows."""
    whole: np.ndarray | None = None
    matrix = np.empty((z.shape[1], len(columns)))
    for j, column in enumerate(columns):
        if column.known is not None:
            codes = bin_axes(column.rows(z), n_bins)
        else:
            whole = codes = bin_axes(z, n_bins) if whole is None else whole
        levels, n_levels = column.levels(n_bins)
        matrix[:, j] = [
            mutual_information(joint_counts(code, levels, n_bins, n_levels)) for code in codes
        ]
    return matrix


def bin_axes(z: Float[np.ndarray, "cells axes"], n_bins: int) -> Int[np.ndarray, "axes cells"]:
    """Bin of every cell on every axis, axes first; an axis that is constant has one bin."""
    dtype = np.uint8 if n_bins <= 256 else np.int32
    codes = np.zeros((z.shape[1], z.shape[0]), dtype=dtype)
    for i in np.flatnonzero(live_axes(z)):
        codes[i] = equal_width_bins(np.ascontiguousarray(z[:, i]), n_bins)
    return codes


def joint_counts(
    code: Int[np.ndarray, " cells"], level: Int[np.ndarray, " cells"], n_codes: int, n_levels: int
) -> Int[np.ndarray, "codes levels"]:
    """Cells for each pair of code and level."""
    pair = code.astype(np.intp) * n_levels + level
    return np.bincount(pair, minlength=n_codes * n_levels).reshape(n_codes, n_levels)


def mutual_information(counts: Num[np.ndarray, "codes levels"]) -> float:
    """Plug-in mutual information of a table of counts, in nats."""
    p = counts / counts.sum()
    independent = np.outer(p.sum(1), p.sum(0))
    seen = p > 0
    information = float((p[seen] * np.log(p[seen] / independent[seen])).sum())
    return information if information > _ROUNDING else 0.0


def entropy(levels: Int[np.ndarray, " cells"]) -> float:
    """Plug-in entropy of levels, in nats."""
    p = np.bincount(levels) / levels.size
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def factor_entropies(columns: Sequence[Column], n_bins: int) -> Float[np.ndarray, " factors"]:
    """Entropy of each factor, numbers binned first, in nats."""
    return np.array([entropy(column.levels(n_bins)[0]) for column in columns])
