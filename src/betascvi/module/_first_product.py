"""The encoder's first matrix product from the non-zeros alone: evaluation on a CPU.

A minibatch of counts is mostly zeros, and a product that skips them takes half of the dense one's
time at 6.5 % of non-zeros. Training keeps the dense product: what the product wins there, turning
the weights and their gradient over at every step loses (decision 0014).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import nn

from betascvi.likelihoods import SparseRows
from betascvi.likelihoods._threads import n_threads

FULLEST = 0.12
"""Above this share of non-zeros the dense product is as quick."""
_Array = np.ndarray[Any, Any]
_FAST = {"fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy", "cache": True}


def multiplies_non_zeros(linear: Any, rows: SparseRows) -> bool:
    """Whether ``linear`` of ``rows`` may be worked out from their non-zeros."""
    if torch.is_grad_enabled() or type(linear) is not nn.Linear or linear.bias is None:
        return False
    if linear._forward_hooks or linear._forward_pre_hooks:  # somebody wants to see the input
        return False
    tensors = linear.weight, linear.bias, rows.value
    if any(t.dtype != torch.float32 or t.device.type != "cpu" for t in tensors):
        return False
    return len(rows.value) <= FULLEST * rows.shape[0] * rows.shape[1]


def linear_of_non_zeros(linear: nn.Linear, rows: SparseRows) -> torch.Tensor:
    """What ``linear(rows.dense())`` gives, to rounding."""
    by_gene = linear.weight.detach().t().contiguous().numpy()
    out = torch.empty(rows.shape[0], linear.out_features)
    entries = rows.bounds.numpy(), rows.col.numpy(), rows.value.numpy()
    fill, threads = _fill_serially, n_threads()
    if threads > 1:
        numba.set_num_threads(threads)
        fill = _fill_in_parallel
    fill(entries, by_gene, linear.bias.detach().numpy(), out.numpy())
    return out


@njit(**_FAST)
def _add_eight(out: _Array, i: int, x: _Array, w: _Array, col: _Array, k: int) -> None:
    """Eight entries at once: a sum is read and written once for them. A slice counts references."""
    a, b, c, d = col[k], col[k + 1], col[k + 2], col[k + 3]
    e, f, g, h = col[k + 4], col[k + 5], col[k + 6], col[k + 7]
    xa, xb, xc, xd = x[k], x[k + 1], x[k + 2], x[k + 3]
    xe, xf, xg, xh = x[k + 4], x[k + 5], x[k + 6], x[k + 7]
    for j in range(out.shape[1]):
        first = xa * w[a, j] + xb * w[b, j] + xc * w[c, j] + xd * w[d, j]
        second = xe * w[e, j] + xf * w[f, j] + xg * w[g, j] + xh * w[h, j]
        out[i, j] += first + second


@njit(**_FAST)
def _add_one(out: _Array, i: int, x: np.float32, w: _Array, gene: int) -> None:
    for j in range(out.shape[1]):
        out[i, j] += x * w[gene, j]


@njit(error_model="numpy", cache=True)
def _fill_row(
    i: int, entries: tuple[_Array, _Array, _Array], by_gene: _Array, bias: _Array, out: _Array
) -> None:
    bounds, col, value = entries
    for j in range(out.shape[1]):
        out[i, j] = bias[j]
    k, end = bounds[i], bounds[i + 1]
    while k + 8 <= end:
        _add_eight(out, i, value, by_gene, col, k)
        k += 8
    while k < end:
        _add_one(out, i, value[k], by_gene, col[k])
        k += 1


@njit(error_model="numpy", cache=True)
def _fill_serially(
    entries: tuple[_Array, _Array, _Array], by_gene: _Array, bias: _Array, out: _Array
) -> None:
    for i in range(out.shape[0]):
        _fill_row(i, entries, by_gene, bias, out)


@njit(error_model="numpy", cache=True, parallel=True)
def _fill_in_parallel(
    entries: tuple[_Array, _Array, _Array], by_gene: _Array, bias: _Array, out: _Array
) -> None:
    for i in prange(out.shape[0]):
        _fill_row(i, entries, by_gene, bias, out)
