"""The critic of FactorVAE: tells samples of q(z) from samples with independent axes."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Critic(nn.Module):
    """Leaky-ReLU network whose one output is the log odds that a position is from q(z).

    At its optimum that is log q(z) - log q(z_1)...q(z_D), whose mean over q is the total
    correlation.
    """

    def __init__(self, n_latent: int, n_hidden: int, n_layers: int) -> None:
        super().__init__()
        widths = [n_latent, *[n_hidden] * n_layers]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
        self.n_latent = n_latent
        self.layers = nn.Sequential(*layers, nn.Linear(n_hidden, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Log odds of positions, (cells,)."""
        log_odds: Tensor = self.layers(z).squeeze(-1)
        return log_odds


class CriticLoss(NamedTuple):
    """How well a critic tells a minibatch from its permutation."""

    value: Tensor
    """Cross-entropy, nats; log 2 where nothing can be told."""
    accuracy: Tensor
    """Share of positions told right; 0.5 where nothing can be told."""


def critic_loss(critic: nn.Module, z: Tensor) -> CriticLoss:
    """Loss of a critic on posterior samples (cells, axes) against their permuted axes."""
    joint, independent = critic(z), critic(permuted_axes(z))
    # cross-entropy of the log odds with labels 1 and 0
    value = 0.5 * (functional.softplus(-joint).mean() + functional.softplus(independent).mean())
    accuracy = 0.5 * ((joint > 0).float().mean() + (independent <= 0).float().mean())
    return CriticLoss(value, accuracy.detach())


def permuted_axes(z: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """``z`` with the cells of every axis in an order of its own: samples of q(z_1)...q(z_D)."""
    order = torch.rand(z.shape, generator=generator, device=z.device).argsort(0)
    return z.gather(0, order)
