"""Active units of an embedding."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from jaxtyping import Num

from betascvi._results import Score
from betascvi.metrics._inputs import as_embedding


def active_units(z: Num[np.ndarray, "cells axes"], *, threshold: float = 0.01) -> Score:
    r"""How many axes of a posterior mean move with the cell.

    .. math::
        \mathrm{AU} = \#\bigl\{ i : \mathrm{var}_x\bigl(\mathbb{E}[z_i \mid x]\bigr)
        > \mathrm{threshold} \bigr\}

    (section 5 of :cite:p:`Burda16`).

    Parameters
    ----------
    z
        Posterior *means*, (cells, axes). Samples of a collapsed axis have variance 1 and count.
    threshold
        Variance over cells from which an axis counts, in units of the prior's variance.

    Returns
    -------
    Score, a count of axes; neither direction is better. ``parts["share"]`` divides by all axes,
    ``details["variance"]`` holds the variance of each.

    Notes
    -----
    It reads the scale of the axes, so it means something for a prior of unit variance only:
    for PCA or Harmony any threshold is arbitrary. Noise of unit variance counts in full.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> z = np.random.default_rng(0).normal(size=(500, 3)) * [1.0, 1.0, 1e-3]
    >>> float(bs.metrics.active_units(z))
    2.0
    """
    variance = as_embedding(z).astype(np.float64).var(axis=0)
    is_active = variance > threshold
    return Score(
        "active_units", float(is_active.sum()), None, None,
        MappingProxyType({"share": float(is_active.mean())}),
        MappingProxyType({"variance": variance}),
    )  # fmt: skip
