"""Decoders: from a latent position and covariates to logits over genes."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from scvi.nn import FCLayers
from torch import Tensor, nn

from betascvi.module._added_effects import AddedEffects
from betascvi.module._layers import run_layers

_LEAST_LOG_RATE = -60.0
_LARGEST_EXPONENT = 20.0
_RATE_OF_SHIFTS = 1e-2  # gene profiles of their own underfit at a network's


class Heads(NamedTuple):
    """What a decoder's network gives out."""

    logits: Tensor
    log_dispersion: Tensor | None = None
    dropout_logits: Tensor | None = None


class JointDecoder(nn.Module):
    """scVI's decoder without the heads nobody reads.

    Under ``nb`` with a dispersion per gene, scVI's own decoder computes a zero-inflation head at
    each step and keeps a dispersion head, neither of which receives a gradient. Names of the
    layers are scVI's, so that its weights fit and query mapping knows what to train.
    """

    def __init__(
        self,
        n_input: int,
        n_output: int,
        *,
        has_dispersion: bool,
        has_dropout: bool,
        n_hidden: int,
        is_softplus: bool = False,
        is_embedding: bool = False,
        effects: AddedEffects | None = None,
        **network_kwargs: Any,
    ) -> None:
        super().__init__()
        self.effects = effects
        n_seen = n_input if effects is None else len(effects.others) + n_input - effects.n_axes
        self.is_softplus = is_softplus
        self.is_embedding = is_embedding
        self.px_decoder = FCLayers(
            n_in=n_seen,
            n_out=n_hidden,
            n_hidden=n_hidden,
            dropout_rate=0,
            **network_kwargs,
        )
        self.px_scale_decoder = nn.Sequential(nn.Linear(n_hidden, n_output))
        self.px_r_decoder = nn.Linear(n_hidden, n_output) if has_dispersion else None
        self.px_dropout_decoder = nn.Linear(n_hidden, n_output) if has_dropout else None

    def forward(self, z: Tensor, *covariates: Tensor) -> Heads:
        """Logits (and other heads the likelihood asked for) of latent positions."""
        seen = z if self.effects is None else self.effects.left_to_network(z)
        hidden = run_layers(self.px_decoder, seen, *covariates)
        logits = self.px_scale_decoder(hidden)
        return Heads(
            logits if self.effects is None else logits + self.effects(z),
            self.px_r_decoder(hidden) if self.px_r_decoder is not None else None,
            self.px_dropout_decoder(hidden) if self.px_dropout_decoder is not None else None,
        )

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Let the output layer start at the mean profile, (genes,)."""
        bias = cast("Tensor", self.px_scale_decoder[0].bias)
        mean = mean.to(bias)
        if self.is_embedding:
            bias.copy_(mean)
        elif self.is_softplus:
            bias.copy_(inverse_softplus(log_profile(mean)))
        else:
            profile = log_profile(mean)
            bias.copy_(profile - profile.mean())  # a softmax does not see the level

    def prior_cost(self) -> Tensor | None:
        """-log prior of its parameters in nats, where they have one."""
        return None if self.effects is None else self.effects.prior_cost()

    def own_rates(self) -> tuple[list[nn.Parameter], float]:
        """Parameters with a learning rate of their own, and that rate."""
        return [] if self.effects is None else [self.effects.shifts], _RATE_OF_SHIFTS


def log_profile(mean: Tensor) -> Tensor:
    """Logarithm of mean expression; a gene never seen stands below all that were."""
    seen = mean[mean > 0]
    return mean.clamp(min=0.1 * float(seen.min()) if len(seen) else 1.0).log()


def inverse_softplus(log_rate: Tensor) -> Tensor:
    """Logits whose softplus is the rate."""
    rate = log_rate.clamp(_LEAST_LOG_RATE, _LARGEST_EXPONENT).exp()
    return rate + (-torch.expm1(-rate)).log()
