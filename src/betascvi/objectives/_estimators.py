"""Estimators shared by objectives: nats, per cell unless said otherwise."""

from __future__ import annotations

import math

from torch import Tensor
from torch.distributions import Normal

from betascvi.objectives._contract import Step

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def floored_kl(kl: Tensor, floor: float) -> Tensor:
    """Sum over axes of the mean KL over cells, none below ``floor`` nats (a scalar)."""
    return kl.mean(0).clamp(min=floor).sum()


def charged_kl(step: Step, free_bits: float) -> Tensor:
    """The KL to the prior: (cells,), or a scalar where ``free_bits`` floors its axes."""
    kl = step.kl
    return floored_kl(kl, free_bits) if free_bits else kl.sum(-1)


def log_density(q: Normal, z: Tensor) -> Tensor:
    """Log q(z), summed over axes: (..., cells)."""
    standardised = (z - q.loc) / q.scale
    return -(0.5 * standardised.square() + q.scale.log() + _HALF_LOG_TWO_PI).sum(-1)


def axes_of(distribution: Normal, axes: slice) -> Normal:
    """Some axes of a diagonal Gaussian."""
    return Normal(distribution.loc[..., axes], distribution.scale[..., axes], validate_args=False)


def free_axes(step: Step) -> slice:
    """Axes among which independence is asked for: those no factor is anchored in."""
    return step.blocks.get("free", slice(0, step.z.shape[-1]))


def detached(distribution: Normal) -> Normal:
    """The same distribution, its parameters held."""
    return Normal(distribution.loc.detach(), distribution.scale.detach(), validate_args=False)
