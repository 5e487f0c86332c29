"""Modularity of Ridgeway and Mozer."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from betascvi._results import Score
from betascvi.metrics._information import information_matrix
from betascvi.metrics._inputs import Flags, as_columns, as_embedding


def modularity(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    discrete: Flags = None,
    n_bins: int = 20,
    *,
    circular: Flags = None,
) -> Score:
    r"""How nearly each axis knows of one factor only.

    .. math::
        \mathrm{modularity} = \frac{1}{|A|} \sum_{i \in A} \left( 1 -
        \frac{\sum_j m_{ij}^2 - \max_j m_{ij}^2}{(K - 1) \max_j m_{ij}^2} \right)

    with :math:`m_{ij}` the mutual information of axis :math:`i` and factor :math:`j`, and
    :math:`A` the axes that know anything (equation 2 of :cite:p:`Ridgeway18`).

    Parameters
    ----------
    z
        Embedding, (cells, axes).
    factors
        Two factors or more: (cells, factors) array, a list of columns, a data frame or coded
        factors; NaN and None are missing labels.
    discrete
        Whether a factor is made of levels: one bool, or one per factor. ``None`` reads floats
        as continuous and everything else as levels.
    n_bins
        Equal-width bins of each axis and of each continuous or circular factor.
    circular
        Whether a factor is an angle in radians: one bool, or one per factor.

    Returns
    -------
    Score in [0, 1], higher is better. ``evidence`` is the mutual information in nats; ``parts``
    counts dead axes (``n_dead_axes``) and gives the figure that charges each of them 0, as
    disentanglement_lib does (``with_dead_axes``); ``details["per_axis"]`` holds each axis.

    Notes
    -----
    Departure from the reference: dead axes (constant, or independent of every factor to the
    last digit) are left out of the mean; an embedding of nothing else scores 0. A random code
    does **not** score 0, for squared noise has a largest entry too: 0.4 where all factors have
    as many levels, 0.7 for factors of 2 to 5 levels (plug-in information grows with the
    levels), with few cells and with many. Read it beside its permutation null. It says nothing
    about whether a factor is there at all.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> levels = np.random.default_rng(0).integers(4, size=(2000, 2))
    >>> float(bs.metrics.modularity(levels.astype(float), levels)) > 0.99
    True
    """
    z = as_embedding(z)
    columns = as_columns(factors, len(z), discrete, circular, min_factors=2, asked_by="modularity")
    information = information_matrix(z, columns, n_bins)
    per_axis = modularity_of_axes(information)
    is_live = information.max(axis=1) > 0
    value = float(per_axis[is_live].mean()) if is_live.any() else 0.0
    parts = {
        "with_dead_axes": float(per_axis.mean()),
        "n_dead_axes": float((~is_live).sum()),
    }
    return Score(
        "modularity", value, None, information, MappingProxyType(parts),
        MappingProxyType({"per_axis": per_axis}),
    )  # fmt: skip


def modularity_of_axes(
    information: Float[np.ndarray, "axes factors"],
) -> Float[np.ndarray, " axes"]:
    """1 minus the mean squared share of the other factors; 0 for a dead axis."""
    squared = information**2
    largest = squared.max(axis=1)
    is_live = largest > 0
    others = (squared.sum(axis=1) - largest)[is_live]
    result = np.zeros(len(information))
    result[is_live] = 1 - others / (largest[is_live] * (information.shape[1] - 1))
    return result
