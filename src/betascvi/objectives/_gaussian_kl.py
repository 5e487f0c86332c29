"""The closed-form KL of diagonal Gaussians."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Normal


def kl_per_axis(q: Normal, p: Normal) -> Tensor:
    """Closed-form KL(q || p) of diagonal Gaussians, (cells, axes)."""
    parts = (q.loc, q.scale, p.loc, p.scale)
    if all(part.shape == q.loc.shape for part in parts):
        kl: Tensor = _KL.apply(*parts)  # type: ignore[no-untyped-call]  # torch's stub
        return kl
    return _kl(*parts)


def _kl(loc: Tensor, scale: Tensor, prior_loc: Tensor, prior_scale: Tensor) -> Tensor:
    # (sd ratio)^2 - 1 - log((sd ratio)^2), written without torch's type dispatch
    variance_ratio = (scale / prior_scale).square()
    shift = ((loc - prior_loc) / prior_scale).square()
    return 0.5 * (variance_ratio + shift - 1.0 - variance_ratio.log())


class _KL(torch.autograd.Function):
    """One node of the graph in the place of a dozen, each of which costs as much as its work."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor) -> Tensor:
        ctx.save_for_backward(*parts)
        return _kl(*parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        loc, scale, prior_loc, prior_scale = ctx.saved_tensors
        for_loc, for_scale, for_prior_loc, for_prior_scale = ctx.needs_input_grad
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
