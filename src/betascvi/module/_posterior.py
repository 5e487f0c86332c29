"""The encoder's two heads and a sample of the posterior, as one node of the autograd graph."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from scvi.nn import Encoder
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributions import Normal

from betascvi.module._first_product import is_watched


def posterior_of(
    encoder: Encoder, hidden: Tensor, n_samples: int = 1, *, may_be_one_node: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Location, scale and samples of q(z | x) given the encoder's last hidden layer.

    What scvi-tools' encoder gives, draws included. In training on our own minibatches, usual heads
    ``may_be_one_node``: the upkeep of a dozen costs more than their work.
    """
    heads = encoder.mean_encoder, encoder.var_encoder
    if may_be_one_node and has_usual_heads(encoder) and n_samples == 1 and torch.is_grad_enabled():
        loc, scale, z = _Posterior.apply(hidden, *parameters_of(encoder), float(encoder.var_eps))
        return loc, scale, z
    loc = heads[0](hidden)
    scale = (encoder.var_activation(heads[1](hidden)) + encoder.var_eps).sqrt()
    qz = Normal(loc, scale, validate_args=False)
    return loc, scale, qz.rsample() if n_samples == 1 else qz.sample((n_samples,))


def has_usual_heads(encoder: Encoder) -> bool:
    """Whether the heads are scvi-tools' own, and nobody watches them."""
    heads: tuple[nn.Module, ...] = (encoder.mean_encoder, encoder.var_encoder)
    return encoder.var_activation is torch.exp and all(
        type(head) is nn.Linear and head.bias is not None and not is_watched(head) for head in heads
    )


def parameters_of(encoder: Encoder) -> tuple[nn.Parameter, ...]:
    """Weight and bias of the mean's head, then of the variance's."""
    heads = encoder.mean_encoder, encoder.var_encoder
    return tuple(p for head in heads for p in (head.weight, head.bias))


class Sample(NamedTuple):
    """A posterior, one draw of it, and what the way back needs."""

    loc: Tensor
    scale: Tensor
    z: Tensor
    variance: Tensor
    noise: Tensor


def forward(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    spread_weight: Tensor,
    spread_bias: Tensor,
    least: float,
) -> Sample:
    """Heads and a draw, not recorded."""
    loc = torch.addmm(bias, hidden, weight.t())
    variance = torch.addmm(spread_bias, hidden, spread_weight.t()).exp_()
    scale = (variance + least).sqrt_()
    noise = torch.randn_like(loc)
    return Sample(loc, scale, torch.addcmul(loc, scale, noise), variance, noise)


class Slopes(NamedTuple):
    """Gradients by the location and the scale as such, and by the draw."""

    loc: Tensor
    scale: Tensor
    z: Tensor


def backward(
    hidden: Tensor, weight: Tensor, spread_weight: Tensor, sample: Sample, by: Slopes
) -> tuple[Tensor, ...]:
    """Gradients by the hidden layer and by the parameters, in the order of :func:`parameters_of`."""
    by_loc = by.loc + by.z
    # d scale / d log variance = variance / (2 scale)
    by_spread = torch.addcmul(by.scale, by.z, sample.noise).mul_(sample.variance)
    by_spread.div_(sample.scale).mul_(0.5)
    return (
        torch.addmm(by_loc @ weight, by_spread, spread_weight),
        by_loc.t() @ hidden,
        by_loc.sum(0),
        by_spread.t() @ hidden,
        by_spread.sum(0),
    )


class _Posterior(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, *parameters_and_least: Any) -> tuple[Tensor, ...]:
        sample = forward(hidden, *parameters_and_least)
        weight, _, spread_weight, _, _ = parameters_and_least
        ctx.save_for_backward(hidden, weight, spread_weight, *sample)
        return sample.loc, sample.scale, sample.z

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, by_loc: Tensor, by_scale: Tensor, by_z: Tensor
    ) -> tuple[Tensor | None, ...]:
        hidden, weight, spread_weight, *sample = ctx.saved_tensors
        by = Slopes(by_loc, by_scale, by_z)
        return *backward(hidden, weight, spread_weight, Sample(*sample), by), None
