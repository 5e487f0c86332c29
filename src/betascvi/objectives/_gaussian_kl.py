"""The closed-form KL of diagonal Gaussians."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Normal

from betascvi.objectives import _kl_kernels


@lru_cache(maxsize=8)
@torch.inference_mode(mode=False)  # a tensor of inference mode could not be learnt from later
def standard_normal(shape: torch.Size, dtype: torch.dtype, device: torch.device) -> Normal:
    """The prior of cells without labels, made once for each size of minibatch."""
    zeros = torch.zeros(shape, dtype=dtype, device=device)
    return Normal(zeros, torch.ones_like(zeros), validate_args=False)


def kl_per_axis(q: Normal, p: Normal) -> Tensor:
    """Closed-form KL(q || p) of diagonal Gaussians, (cells, axes)."""
    parts = (q.loc, q.scale, p.loc, p.scale)
    if all(part.shape == q.loc.shape for part in parts):
        kl: Tensor = _KL.apply(*parts)  # type: ignore[no-untyped-call]  # torch's stub
        return kl
    return _kl(*parts)


def standard_kl(loc: Tensor, scale: Tensor, weight: float) -> tuple[float, Tensor, Tensor]:
    """KL to the standard normal, summed over cells and axes, in single precision on a CPU.

    Beside it the slopes, by location and scale, of ``weight`` times its mean over cells.
    """
    prior = standard_normal(loc.shape, loc.dtype, loc.device)
    parts = _as_arrays((loc, scale, prior.loc, prior.scale))
    kl, gradient = np.empty_like(parts[0]), np.full_like(parts[0], weight / len(loc))
    by_loc, by_scale = torch.empty(2, *loc.shape)
    _kl_kernels.divergence(parts, kl)
    _kl_kernels.slopes(parts, gradient, by_loc.numpy(), by_scale.numpy())
    return float(kl.sum()), by_loc, by_scale


def _kl(loc: Tensor, scale: Tensor, prior_loc: Tensor, prior_scale: Tensor) -> Tensor:
    # (sd ratio)^2 - 1 - log((sd ratio)^2), written without torch's type dispatch
    variance_ratio = (scale / prior_scale).square()
    shift = ((loc - prior_loc) / prior_scale).square()
    return 0.5 * (variance_ratio + shift - 1.0 - variance_ratio.log())


def _is_compiled(parts: tuple[Tensor, ...]) -> bool:
    return all(
        part.dim() == 2 and part.dtype == torch.float32 and part.device.type == "cpu"
        for part in parts
    )


class _KL(torch.autograd.Function):
    """One node of the graph in the place of a dozen, each of which costs as much as its work."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.save_for_backward(*parts)
        if not _is_compiled(parts):
            return _kl(*parts)
        out = torch.empty_like(parts[0], memory_format=torch.contiguous_format)
        _kl_kernels.divergence(_as_arrays(parts), out.numpy())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        parts = ctx.saved_tensors
        of_prior = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
        if not of_prior and _is_compiled((*parts, gradient)):
            by_loc, by_scale = torch.empty(2, *gradient.shape)
            _kl_kernels.slopes(
                _as_arrays(parts), gradient.contiguous().numpy(), by_loc.numpy(), by_scale.numpy()
            )
            return by_loc, by_scale, None, None
        return _slopes(parts, ctx.needs_input_grad, gradient)


def _as_arrays(parts: tuple[Tensor, ...]) -> Any:
    return tuple(part.detach().contiguous().numpy() for part in parts)


def _slopes(
    parts: tuple[Tensor, ...], needed: tuple[bool, ...], gradient: Tensor
) -> tuple[Tensor | None, ...]:
    loc, scale, prior_loc, prior_scale = parts
    for_loc, for_scale, for_prior_loc, for_prior_scale = needed
    precision = prior_scale.square().reciprocal()
    shift = (loc - prior_loc) * precision
    by_loc = gradient * shift
    spread = (scale.square() * precision - 1.0 + shift * (loc - prior_loc)) / prior_scale
    return (
        by_loc if for_loc else None,
        gradient * (scale * precision - scale.reciprocal()) if for_scale else None,
        -by_loc if for_prior_loc else None,
        -gradient * spread if for_prior_scale else None,
    )
