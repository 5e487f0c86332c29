"""A hidden layer as one node of the autograd graph, where it is scVI's usual one on a CPU."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from betascvi.likelihoods import SparseRows
from betascvi.module import _block_kernels
from betascvi.module._first_product import gradient_by_weight, is_watched, product

_KINDS = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]


class Block(NamedTuple):
    """Linear, batch norm, ReLU and perhaps dropout, in training."""

    linear: nn.Linear
    norm: nn.BatchNorm1d
    dropout_rate: float


def recognised(layers: nn.Sequential, x: Tensor | SparseRows, draws_as_torch: bool) -> Block | None:
    """The block that ``layers`` are, if they are one the kernels serve for ``x``."""
    parts: list[Any] = [layer for layer in layers if layer is not None]
    kinds = [type(part) for part in parts]
    values = x.value if isinstance(x, SparseRows) else x
    if kinds not in (_KINDS[:3], _KINDS) or x.shape[0] < 2:
        return None
    linear, norm = parts[0], parts[1]
    rate = parts[3].p if len(parts) == 4 and parts[3].training else 0.0
    if not _is_usual(norm) or linear.bias is None or (rate > 0.0 and draws_as_torch):
        return None
    # what somebody wants to see or change between the layers must pass between them
    if any(is_watched(part) for part in parts) or not _is_float_on_cpu(values, linear.weight):
        return None
    return Block(linear, norm, rate)


def _is_usual(norm: nn.BatchNorm1d) -> bool:
    """In training, with its running statistics and an affine map behind them."""
    return bool(norm.training and norm.affine and norm.track_running_stats and norm.momentum)


def _is_float_on_cpu(*tensors: Tensor) -> bool:
    return all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)


def run_block(block: Block, x: Tensor | SparseRows) -> Tensor:
    """Batch norm by the minibatch's statistics; its running ones are kept up to date."""
    linear, norm, rate = block
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    running = norm.running_mean.numpy(), norm.running_var.numpy()
    settings = float(norm.eps), float(norm.momentum or 0.0)
    hidden: Tensor = _Block.apply(
        x, linear.weight, linear.bias, norm.weight, norm.bias, (running, settings, rate)
    )
    return hidden


def _random_bits(shape: tuple[int, int], rate: float) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Sixteen random bits for each node, from torch's generator."""
    if rate == 0.0:
        return np.empty((0, shape[1]), np.uint16)
    n = shape[0] * shape[1]
    words = torch.empty(n // 4 + 1, dtype=torch.int64).random_(-(2**63), None)
    return words.numpy().view(np.uint16)[:n].reshape(shape)


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor | SparseRows,
        weight: Tensor,
        bias: Tensor,
        gamma: Tensor,
        beta: Tensor,
        more: tuple[Any, tuple[float, float], float],
    ) -> Tensor:
        running, settings, rate = more
        ctx.rows = x if isinstance(x, SparseRows) else None
        if isinstance(x, SparseRows):
            normalised = product(x, weight, bias)
        else:
            normalised = torch.addmm(bias, x, weight.t())
        out = torch.empty_like(normalised)
        n_kept = round((1.0 - rate) * _block_kernels.CHOICES)
        shape = (normalised.shape[0], normalised.shape[1])
        inverse_sd, scale = _block_kernels.forward(
            normalised.numpy(), (gamma.detach().numpy(), beta.detach().numpy()), running, settings,
            _random_bits(shape, rate), n_kept, out.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(None if isinstance(x, SparseRows) else x, weight, gamma, out)
        ctx.kept = normalised, inverse_sd, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, gamma, out = ctx.saved_tensors
        normalised, inverse_sd, scale = ctx.kept
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        by_gamma, by_beta = _block_kernels.backward(
            gradient.numpy(), out.numpy(), normalised.numpy(), gamma.numpy(), inverse_sd, scale
        )
        return (
            gradient @ weight if ctx.needs_input_grad[0] else None,
            _by_weight(gradient, x if ctx.rows is None else ctx.rows, weight),
            torch.zeros_like(gamma),  # batch norm takes a shift of its input out again
            torch.from_numpy(by_gamma),
            torch.from_numpy(by_beta),
            None,
        )


def _by_weight(gradient: Tensor, x: Tensor | SparseRows, weight: Tensor) -> Tensor:
    """Gradient by the weights in their own order of memory: any other would be copied."""
    if isinstance(x, SparseRows):
        return gradient_by_weight(x, gradient)
    return gradient.t() @ x if weight.is_contiguous() else (x.t() @ gradient).t()
