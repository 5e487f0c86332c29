"""The encoder's two heads and a sample of the posterior, as one node of the autograd graph."""

from __future__ import annotations

from typing import Any

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
    is_usual = encoder.var_activation is torch.exp and all(_is_usual(head) for head in heads)
    if may_be_one_node and is_usual and n_samples == 1 and torch.is_grad_enabled():
        parameters = [p for head in heads for p in (head.weight, head.bias)]
        loc, scale, z = _Posterior.apply(hidden, *parameters, float(encoder.var_eps))
        return loc, scale, z
    loc = heads[0](hidden)
    scale = (encoder.var_activation(heads[1](hidden)) + encoder.var_eps).sqrt()
    qz = Normal(loc, scale, validate_args=False)
    return loc, scale, qz.rsample() if n_samples == 1 else qz.sample((n_samples,))


def _is_usual(head: nn.Module) -> bool:
    return type(head) is nn.Linear and head.bias is not None and not is_watched(head)


class _Posterior(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        spread_weight: Tensor,
        spread_bias: Tensor,
        least: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        loc = torch.addmm(bias, hidden, weight.t())
        variance = torch.addmm(spread_bias, hidden, spread_weight.t()).exp_()
        scale = (variance + least).sqrt_()
        noise = torch.randn_like(loc)
        ctx.save_for_backward(hidden, weight, spread_weight, variance, scale, noise)
        return loc, scale, torch.addcmul(loc, scale, noise)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, by_loc: Tensor, by_scale: Tensor, by_z: Tensor
    ) -> tuple[Tensor | None, ...]:
        hidden, weight, spread_weight, variance, scale, noise = ctx.saved_tensors
        by_loc = by_loc + by_z
        # d scale / d log variance = variance / (2 scale)
        by_spread = torch.addcmul(by_scale, by_z, noise).mul_(variance).div_(scale).mul_(0.5)
        by_hidden = torch.addmm(by_loc @ weight, by_spread, spread_weight)
        return (
            by_hidden if ctx.needs_input_grad[0] else None,
            by_loc.t() @ hidden,
            by_loc.sum(0),
            by_spread.t() @ hidden,
            by_spread.sum(0),
            None,
        )
