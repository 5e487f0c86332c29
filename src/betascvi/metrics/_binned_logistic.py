"""Logistic regression on one axis whose cells were counted into bins."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

_MOST_STEPS = 50
# of the loss, relative: no bin changes its name beyond
_TOLERANCE = 1e-9
# the intercepts have one direction too many; this holds it without moving the fit
_HOLD = 1e-9

Flat = Float[np.ndarray, " parameters"]


def named_levels(
    centres: Float[np.ndarray, " bins"],
    counts: Int[np.ndarray, "bins levels"],
    start: Flat | None = None,
) -> tuple[Int[np.ndarray, " bins"], Flat | None]:
    """Level that a balanced regression (unit ridge penalty) names in each bin, and its weights.

    The weights of one fit are a good ``start`` of the next on nearly the same counts.
    """
    per_level = counts.sum(axis=0)
    is_there = per_level > 0
    n_levels = int(is_there.sum())
    if n_levels == 1:
        return np.full(centres.size, int(is_there.argmax())), None
    weights = counts[:, is_there].T * (per_level.sum() / (n_levels * per_level[is_there]))[:, None]
    if start is None or start.size != 2 * n_levels:
        start = np.zeros(2 * n_levels)
    found = _minimum(centres, weights, start)
    return np.flatnonzero(is_there)[_logits(centres, found).argmax(axis=0)], found


def _minimum(centres: np.ndarray, weights: np.ndarray, flat: Flat) -> Flat:
    """Newton's method; a step that does not lower the convex loss is halved."""
    loss, log_p = _loss(centres, weights, flat)
    for _ in range(_MOST_STEPS):
        step = _newton_step(centres, weights, flat, np.exp(log_p))
        size = 1.0
        tried = _loss(centres, weights, flat - step)
        while tried[0] > loss and size > _TOLERANCE:
            size /= 2
            tried = _loss(centres, weights, flat - size * step)
        if tried[0] >= loss - _TOLERANCE * abs(loss):
            break
        flat = flat - size * step
        loss, log_p = tried
    return flat


def _logits(centres: np.ndarray, flat: Flat) -> np.ndarray:
    slope, intercept = flat.reshape(2, -1, 1)
    return slope * centres + intercept


def _loss(centres: np.ndarray, weights: np.ndarray, flat: Flat) -> tuple[float, np.ndarray]:
    """Penalised negative log-likelihood, and the (levels, bins) log-probabilities."""
    log_p = _logits(centres, flat)
    log_p -= log_p.max(axis=0)
    log_p -= np.log(np.exp(log_p).sum(axis=0))
    slope = flat[: flat.size // 2]
    return float(0.5 * slope @ slope - np.vdot(weights, log_p)), log_p


def _newton_step(centres: np.ndarray, weights: np.ndarray, flat: Flat, p: np.ndarray) -> Flat:
    """Gradient over curvature."""
    n_levels = flat.size // 2
    per_bin = weights.sum(axis=0)
    pull = per_bin * p - weights
    gradient = np.concatenate([pull @ centres + flat[:n_levels], pull.sum(axis=1)])
    curvature = np.empty((2, n_levels, 2, n_levels))
    for i, j in ((0, 0), (0, 1), (1, 1)):
        weighted = p * (per_bin * centres ** (2 - i - j))
        block = np.diag(weighted.sum(axis=1)) - weighted @ p.T
        curvature[i, :, j, :] = curvature[j, :, i, :] = block
    penalty = np.repeat([1.0, _HOLD * per_bin.sum()], n_levels)
    return np.linalg.solve(curvature.reshape(flat.size, flat.size) + np.diag(penalty), gradient)
