"""Compiled kernels of a hidden layer behind its matrix product: batch norm, ReLU, dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_Array = np.ndarray[Any, Any]
_FAST = {"fastmath": {"contract", "reassoc", "nsz", "arcp"}, "error_model": "numpy", "cache": True}
CHOICES = 2**16
"""Dropout decides by sixteen random bits for each node."""


@njit(**_FAST)
def _add(total: _Array, x: _Array) -> None:
    for j in range(x.shape[0]):
        total[j] += x[j]


@njit(**_FAST)
def _add_squares(total: _Array, x: _Array, mean: _Array) -> None:
    for j in range(x.shape[0]):
        away = x[j] - mean[j]
        total[j] += away * away


@njit(**_FAST)
def _normalise_row(x: _Array, mean: _Array, inverse_sd: _Array) -> None:
    for j in range(x.shape[0]):
        x[j] = (x[j] - mean[j]) * inverse_sd[j]


@njit(**_FAST)
def _activate_row(x: _Array, gamma: _Array, beta: _Array, out: _Array) -> None:
    for j in range(x.shape[0]):
        y = x[j] * gamma[j] + beta[j]
        out[j] = np.float32(0.0) if y <= np.float32(0.0) else y  # a NaN passes


@njit(**_FAST)
def _drop_row(out: _Array, random: _Array, n_kept: int, scale: np.float32) -> None:
    for j in range(out.shape[0]):
        out[j] = out[j] * scale if random[j] < n_kept else np.float32(0.0)


@njit(error_model="numpy", cache=True)
def forward(
    x: _Array, affine: tuple[_Array, _Array], running: tuple[_Array, _Array],
    settings: tuple[float, float], random: _Array, n_kept: int, out: _Array,
) -> tuple[_Array, np.float32]:  # fmt: skip
    """Batch norm with the minibatch's statistics (``x`` becomes normalised), ReLU, dropout.

    ``settings`` are epsilon and momentum. Returns 1 / sd and the scale of what dropout kept.
    """
    n, width = x.shape
    mean, spread = np.zeros(width), np.zeros(width)
    for i in range(n):
        _add(mean, x[i])
    mean /= n
    for i in range(n):
        _add_squares(spread, x[i], mean)
    spread /= n
    inverse_sd = (1.0 / np.sqrt(spread + settings[0])).astype(np.float32)
    momentum, centre = settings[1], mean.astype(np.float32)
    for j in range(width):
        unbiased = spread[j] * n / (n - 1)
        running[0][j] = (1.0 - momentum) * running[0][j] + momentum * mean[j]
        running[1][j] = (1.0 - momentum) * running[1][j] + momentum * unbiased
    scale = np.float32(CHOICES / max(n_kept, 1))
    for i in range(n):
        _normalise_row(x[i], centre, inverse_sd)
        _activate_row(x[i], affine[0], affine[1], out[i])
        if n_kept < CHOICES:
            _drop_row(out[i], random[i], n_kept, scale)
    return inverse_sd, scale


@njit(**_FAST)
def _pass_back_row(
    gradient: _Array, out: _Array, x: _Array, scale: np.float32, by_gamma: _Array, by_beta: _Array
) -> None:
    for j in range(gradient.shape[0]):
        passed = gradient[j] * scale if out[j] != np.float32(0.0) else np.float32(0.0)
        gradient[j] = passed
        by_beta[j] += passed
        by_gamma[j] += passed * x[j]


@njit(**_FAST)
def _centre_row(
    gradient: _Array, x: _Array, by_gamma: _Array, by_beta: _Array, factor: _Array
) -> None:
    for j in range(gradient.shape[0]):
        gradient[j] = factor[j] * (gradient[j] - by_beta[j] - x[j] * by_gamma[j])


@njit(error_model="numpy", cache=True)
def backward(
    gradient: _Array, out: _Array, x: _Array, gamma: _Array, inverse_sd: _Array, scale: np.float32
) -> tuple[_Array, _Array]:
    """Turn ``gradient`` by the output into the one by the input, in place; by gamma and by beta.

    ``x`` is normalised. Where the output is zero, ReLU or dropout stopped it.
    """
    n, width = x.shape
    by_gamma, by_beta = np.zeros(width), np.zeros(width)
    for i in range(n):
        _pass_back_row(gradient[i], out[i], x[i], scale, by_gamma, by_beta)
    mean_gamma, mean_beta = (by_gamma / n).astype(np.float32), (by_beta / n).astype(np.float32)
    factor = gamma * inverse_sd
    for i in range(n):
        _centre_row(gradient[i], x[i], mean_gamma, mean_beta, factor)
    return by_gamma.astype(np.float32), by_beta.astype(np.float32)
