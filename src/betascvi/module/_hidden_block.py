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


def usual_block(layers: nn.Sequential) -> Block | None:
    """The block that ``layers`` are, if they are one the kernels serve."""
    parts: list[Any] = [layer for layer in layers if layer is not None]
    if [type(part) for part in parts] not in (_KINDS[:3], _KINDS):
        return None
    if torch.is_autocast_enabled("cpu"):  # products would come out in half precision
        return None
    linear, norm = parts[0], parts[1]
    rate = parts[3].p if len(parts) == 4 and parts[3].training else 0.0
    if not _is_usual(norm) or linear.bias is None:
        return None
    # what somebody wants to see or change between the layers must pass between them
    if any(is_watched(part) for part in parts) or not _is_float_on_cpu(linear.weight):
        return None
    return Block(linear, norm, rate)


def recognised(layers: nn.Sequential, x: Tensor | SparseRows, draws_as_torch: bool) -> Block | None:
    """:func:`usual_block`, if it can take ``x`` in and draw as it is asked to."""
    if x.shape[0] < 2 or not _is_float_on_cpu(x.value if isinstance(x, SparseRows) else x):
        return None
    block = usual_block(layers)
    return None if block is None or (block.dropout_rate > 0.0 and draws_as_torch) else block


def _is_usual(norm: nn.BatchNorm1d) -> bool:
    """In training, with its running statistics and an affine map behind them."""
    return bool(norm.training and norm.affine and norm.track_running_stats and norm.momentum)


def _is_float_on_cpu(*tensors: Tensor) -> bool:
    return all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)


def run_block(block: Block, x: Tensor | SparseRows) -> Tensor:
    """Batch norm by the minibatch's statistics; its running ones are kept up to date."""
    linear, norm, _ = block
    parameters = linear.weight, linear.bias, norm.weight, norm.bias
    hidden: Tensor = _Block.apply(block, x, *parameters)
    return hidden


class Kept(NamedTuple):
    """What the way back needs of the way there."""

    x: Tensor | SparseRows
    out: Tensor
    normalised: Tensor
    inverse_sd: np.ndarray[Any, Any]
    scale: np.float32
    """Of what dropout kept."""


def forward(block: Block, x: Tensor | SparseRows) -> Kept:
    """:func:`run_block`, not recorded."""
    linear, norm, rate = block
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    weight, bias = linear.weight.detach(), linear.bias.detach()
    if isinstance(x, SparseRows):
        normalised = product(x, weight, bias)
    else:
        normalised = torch.addmm(bias, x, weight.t())
    out = torch.empty_like(normalised)
    n_kept = round((1.0 - rate) * _block_kernels.CHOICES)
    inverse_sd, scale = _block_kernels.forward(
        normalised.numpy(), (norm.weight.detach().numpy(), norm.bias.detach().numpy()),
        (norm.running_mean.numpy(), norm.running_var.numpy()),
        (float(norm.eps), float(norm.momentum or 0.0)),
        _random_bits((normalised.shape[0], normalised.shape[1]), rate), n_kept, out.numpy(),
    )  # fmt: skip
    return Kept(x, out, normalised, inverse_sd, scale)


class Gradients(NamedTuple):
    """Of a block's input (where asked for) and parameters."""

    x: Tensor | None
    weight: Tensor
    bias: Tensor
    gamma: Tensor
    beta: Tensor


def backward(
    kept: Kept, gradient: Tensor, weight: Tensor, gamma: Tensor, *, by_input: bool
) -> Gradients:
    """From the gradient by the output, which is overwritten."""
    by_gamma, by_beta = _block_kernels.backward(
        gradient.numpy(), kept.out.numpy(), kept.normalised.numpy(), gamma.detach().numpy(),
        kept.inverse_sd, kept.scale,
    )  # fmt: skip
    return Gradients(
        gradient @ weight if by_input else None,
        _by_weight(gradient, kept.x, weight),
        torch.zeros_like(gamma),  # batch norm takes a shift of its input out again
        torch.from_numpy(by_gamma),
        torch.from_numpy(by_beta),
    )


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
        block: Block,
        x: Tensor | SparseRows,
        weight: Tensor,
        bias: Tensor,  # noqa: ARG004 (and beta: their gradients are asked for, not their values)
        gamma: Tensor,
        beta: Tensor,  # noqa: ARG004
    ) -> Tensor:
        kept = forward(block, x)
        ctx.rows = x if isinstance(x, SparseRows) else None
        ctx.rest = kept.normalised, kept.inverse_sd, kept.scale
        ctx.save_for_backward(None if isinstance(x, SparseRows) else x, weight, gamma, kept.out)
        return kept.out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, gamma, out = ctx.saved_tensors
        kept = Kept(ctx.rows if x is None else x, out, *ctx.rest)
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        return None, *backward(kept, gradient, weight, gamma, by_input=ctx.needs_input_grad[1])


def _by_weight(gradient: Tensor, x: Tensor | SparseRows, weight: Tensor) -> Tensor:
    """Gradient by the weights in their own order of memory: any other would be copied."""
    if isinstance(x, SparseRows):
        return gradient_by_weight(x, gradient)
    return gradient.t() @ x if weight.is_contiguous() else (x.t() @ gradient).t()
