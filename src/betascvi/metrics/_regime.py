"""Islands, balanced or noise: in which of three ways a latent fails or works."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from sklearn.neighbors import NearestNeighbors

Regime = Literal["islands", "balanced", "noise"]

LEAST_INFORMATION = math.log(2)
"""Nats: what it takes to tell two equal groups of cells apart."""
LEAST_OVERLAP = 0.1
"""Measured: 0.27-0.52 at beta = 1, 0.000-0.009 at beta <= 0.1 (docs/concepts/diagnostics.md)."""


class Support(NamedTuple):
    """How much of one sample lies where a reference sample lies."""

    prior: float
    """Share of decoded prior draws that look like a cell."""
    posterior: float
    """The same share of draws for other cells: what a perfect prior would reach."""


def regime_of(information: float, overlap: float, gain: float) -> tuple[Regime, str]:
    """The regime in a word, and why in a sentence.

    Parameters
    ----------
    information
        I(x; z) in nats.
    overlap
        Share of codes that the other cells' posteriors reach better than the prior does.
    gain
        Nats per cell by which the reconstruction beats the gene means.
    """
    if information < LEAST_INFORMATION:
        return "noise", (
            f"z tells {information:.2f} nats about a cell, less than two groups need "
            f"({LEAST_INFORMATION:.2f}): codes are drawn from the prior whatever the cell"
        )
    if gain <= 0.0:
        return "noise", (
            f"the decoder makes no use of z (or training was short): gene means alone are "
            f"{-gain:.1f} nats better"
        )
    if overlap < LEAST_OVERLAP:
        return "islands", (
            f"only {overlap:.1%} of codes lie where another cell's posterior does: each cell has "
            "a place of its own, and what lies between means nothing"
        )
    return "balanced", (
        f"{overlap:.0%} of codes lie where other cells' posteriors do, and the reconstruction is "
        f"{gain:.1f} nats better than gene means"
    )


def support(
    prior: Float[np.ndarray, "draws genes"],
    posterior: Float[np.ndarray, "others genes"],
    reference: Float[np.ndarray, "cells genes"],
    n_neighbors: int = 5,
) -> Support:
    """Precision of decoded draws: the share within reach of a reference cell.

    A draw is within reach where it is closer to some reference cell than that cell's own
    ``n_neighbors``-th neighbour among the reference cells (Kynkaanniemi et al., 2019).

    Parameters
    ----------
    prior
        Decoded draws from the prior.
    posterior
        Decoded posterior draws of cells that are not in ``reference``.
    reference
        Decoded posterior draws of the reference cells.
    n_neighbors
        Size of the neighbourhood of a reference cell.
    """
    if len(reference) <= n_neighbors:
        raise ValueError(
            f"support needs more than n_neighbors = {n_neighbors} reference cells, "
            f"got {len(reference)}."
        )
    search = NearestNeighbors(n_neighbors=n_neighbors + 1).fit(reference)
    reach = search.kneighbors(reference)[0][:, -1]  # the first neighbour is the cell itself
    return Support(*(_share_within(draws, reference, reach) for draws in (prior, posterior)))


def _share_within(draws: np.ndarray, reference: np.ndarray, reach: np.ndarray) -> float:
    squared = (draws**2).sum(1)[:, None] + (reference**2).sum(1) - 2 * draws @ reference.T
    return float((np.sqrt(np.maximum(squared, 0.0)) <= reach).any(1).mean())
