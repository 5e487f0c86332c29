"""The encoder's first matrix product and its gradient from the non-zeros alone, on a CPU.

A minibatch of counts is mostly zeros; at 6.5 % of non-zeros, products that skip them take half of
the dense ones' time. They read and write a gene's weights together, so these are stored gene by
gene (the parameter keeps its shape; its strides are those of a transposed matrix), which serves the
dense product of a small minibatch too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor, nn

from betascvi.likelihoods import SparseRows
from betascvi.likelihoods._threads import runs_in_parallel

FULLEST = 0.12
"""Above this share of non-zeros dense products are as quick."""
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Of a layer: torch has no public way to ask."""
_Array = np.ndarray[Any, Any]
_Entries = tuple[_Array, _Array, _Array]
_FAST = {"fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy", "cache": True}


def is_watched(layer: nn.Module) -> bool:
    """Whether somebody wants to see or change what passes through a layer."""
    return any(getattr(layer, hooks) for hooks in _HOOKS)


def store_by_gene(linear: nn.Linear) -> None:
    """Turn the memory of a layer's weights, (hidden, genes), so that a gene's lie together."""
    linear.weight.data = linear.weight.data.t().contiguous().t()


def skips_zeros(linear: Any, rows: SparseRows) -> bool:
    """Whether ``linear`` of ``rows`` may be worked out from their non-zeros."""
    if type(linear) is not nn.Linear or linear.bias is None:
        return False
    if is_watched(linear):
        return False
    tensors = linear.weight, linear.bias, rows.value
    if any(t.dtype != torch.float32 or t.device.type != "cpu" for t in tensors):
        return False
    is_sparse = len(rows.value) <= FULLEST * rows.shape[0] * rows.shape[1]
    return is_sparse and linear.weight.t().is_contiguous()


def product(rows: SparseRows, weight: Tensor, bias: Tensor) -> Tensor:
    """``rows.dense() @ weight.t() + bias``, to rounding; not recorded."""
    out = torch.empty(rows.shape[0], len(bias))
    fill = _fill_in_parallel if _has_threads() else _fill_serially
    fill(_entries(rows), weight.detach().t().numpy(), bias.detach().numpy(), out.numpy())
    return out


def gradient_by_weight(rows: SparseRows, gradient: Tensor) -> Tensor:
    """``gradient.t() @ rows.dense()``, stored as the weights are."""
    by_gene = torch.empty(rows.shape[1], gradient.shape[1])
    if _has_threads():
        n_parts = torch.get_num_threads()
        _collect_in_parallel(_entries(rows), gradient.numpy(), by_gene.numpy(), n_parts)
    else:
        _collect_serially(_entries(rows), gradient.numpy(), by_gene.numpy())
    return by_gene.t()


def _entries(rows: SparseRows) -> _Entries:
    return rows.bounds.numpy(), rows.col.numpy(), rows.value.detach().numpy()


def _has_threads() -> bool:
    # sums of one thing after another: serial and parallel kernels have the same bits here
    return torch.get_num_threads() > 1 and runs_in_parallel()


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
def _add_one(out: _Array, i: int, x: np.float32, w: _Array, k: int) -> None:
    for j in range(out.shape[1]):
        out[i, j] += x * w[k, j]


@njit(error_model="numpy", cache=True)
def _fill_row(i: int, entries: _Entries, by_gene: _Array, bias: _Array, out: _Array) -> None:
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
def _fill_serially(entries: _Entries, by_gene: _Array, bias: _Array, out: _Array) -> None:
    for i in range(out.shape[0]):
        _fill_row(i, entries, by_gene, bias, out)


@njit(error_model="numpy", cache=True, parallel=True)
def _fill_in_parallel(entries: _Entries, by_gene: _Array, bias: _Array, out: _Array) -> None:
    for i in prange(out.shape[0]):
        _fill_row(i, entries, by_gene, bias, out)


@njit(error_model="numpy", cache=True)
def _collect(entries: _Entries, gradient: _Array, by_gene: _Array, first: int, end: int) -> None:
    """The rows of ``by_gene`` from ``first`` to ``end``: each gene's sum in the order of cells."""
    bounds, col, value = entries
    by_gene[first:end] = 0.0
    for i in range(gradient.shape[0]):
        for k in range(bounds[i], bounds[i + 1]):
            if first <= col[k] < end:
                _add_one(by_gene, col[k], value[k], gradient, i)


@njit(error_model="numpy", cache=True)
def _collect_serially(entries: _Entries, gradient: _Array, by_gene: _Array) -> None:
    _collect(entries, gradient, by_gene, 0, by_gene.shape[0])


@njit(error_model="numpy", cache=True, parallel=True)
def _collect_in_parallel(
    entries: _Entries, gradient: _Array, by_gene: _Array, n_parts: int
) -> None:
    n_genes = by_gene.shape[0]
    for part in prange(n_parts):
        _collect(
            entries, gradient, by_gene, part * n_genes // n_parts, (part + 1) * n_genes // n_parts
        )
