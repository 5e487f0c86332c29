"""Compiled KL of diagonal Gaussians and its slopes: a dozen operators are longer than their work."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

_Array = np.ndarray[Any, Any]
_Four = tuple[_Array, _Array, _Array, _Array]


@njit(error_model="numpy", cache=True)
def divergence(parts: _Four, out: _Array) -> None:
    """KL of q by axis; ``parts`` are location and scale of q, then of p, all of one shape."""
    loc, scale, prior_loc, prior_scale = parts
    for i in range(loc.shape[0]):
        for j in range(loc.shape[1]):
            ratio = np.float64(scale[i, j]) / prior_scale[i, j]
            shift = (np.float64(loc[i, j]) - prior_loc[i, j]) / prior_scale[i, j]
            out[i, j] = 0.5 * (ratio * ratio + shift * shift - 1.0) - math.log(ratio)


@njit(error_model="numpy", cache=True)
def slopes(parts: _Four, gradient: _Array, by_loc: _Array, by_scale: _Array) -> None:
    """Slopes by the location and the scale of q."""
    loc, scale, prior_loc, prior_scale = parts
    for i in range(loc.shape[0]):
        for j in range(loc.shape[1]):
            precision = 1.0 / (np.float64(prior_scale[i, j]) * prior_scale[i, j])
            sd = np.float64(scale[i, j])
            by_loc[i, j] = gradient[i, j] * (np.float64(loc[i, j]) - prior_loc[i, j]) * precision
            by_scale[i, j] = gradient[i, j] * (sd * precision - 1.0 / sd)
