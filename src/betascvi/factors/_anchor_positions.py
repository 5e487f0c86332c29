"""Where the anchors of a block stand: fixed points, the same in every run."""

from __future__ import annotations

import logging

import numpy as np

logger = logging.getLogger(__name__)

GAP = 2.0
"""Distance of two anchors."""
MOST_AXES = 8
_N_ATOMS = 32


def block_width(n_levels: int) -> int:
    """Axes of a block of so many levels: one less than levels, eight at most."""
    return max(1, min(n_levels - 1, MOST_AXES))


def level_positions(n_levels: int, name: str) -> np.ndarray:
    """(levels, axes) points ``GAP`` apart: a centred simplex, or as even as eight axes allow."""
    if n_levels - 1 <= MOST_AXES:
        return _simplex(n_levels)
    logger.warning(
        "factor %r has %d levels; its anchors stand in %d axes instead of %d, so they are no "
        "longer all equally far apart.", name, n_levels, MOST_AXES, n_levels - 1,
    )  # fmt: skip
    return _spread(n_levels, MOST_AXES)


def quantile_atoms(values: np.ndarray) -> np.ndarray:
    """(atoms, 1) equally likely standardised values, for a number without a label."""
    share = (np.arange(_N_ATOMS) + 0.5) / _N_ATOMS
    return np.quantile(values, share)[:, None]


def angle_atoms(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(atoms, 2) points on the circle, and the share of cells near each."""
    centre = (np.arange(_N_ATOMS) + 0.5) * 2 * np.pi / _N_ATOMS
    nearest = np.floor(np.mod(angles, 2 * np.pi) / (2 * np.pi) * _N_ATOMS).astype(int)
    counts = np.bincount(np.minimum(nearest, _N_ATOMS - 1), minlength=_N_ATOMS) + 1.0
    return circle_points(centre), counts / counts.sum()


def circle_points(angles: np.ndarray) -> np.ndarray:
    """Angles as points of the unit circle."""
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _simplex(n: int) -> np.ndarray:
    """Corners of a regular simplex, the first two on the first axis' two ends where n is 2."""
    if n == 1:
        return np.zeros((1, 1))
    corners = np.eye(n) - 1.0 / n
    # an orthonormal basis of the plane the corners lie in (Helmert's), free of chance
    basis = np.zeros((n, n - 1))
    for k in range(1, n):
        basis[:k, k - 1] = -1.0 / np.sqrt(k * (k + 1))
        basis[k, k - 1] = k / np.sqrt(k * (k + 1))
    return np.asarray(corners @ basis * (GAP / np.sqrt(2.0)))


def _spread(n: int, width: int) -> np.ndarray:
    """Points in a few axes, pushed apart until the nearest two are ``GAP`` apart."""
    points = np.random.default_rng(0).normal(size=(n, width))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for step in np.linspace(0.2, 0.01, 300):
        apart = points[:, None] - points[None]
        distance = np.linalg.norm(apart, axis=-1) + np.eye(n)
        push = (apart / distance[..., None] ** 6).sum(1)
        points += step * push / np.linalg.norm(push, axis=1, keepdims=True)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1) + 9.0 * np.eye(n)
    return np.asarray(points * (GAP / distance.min()))
