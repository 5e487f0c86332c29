"""DRVI's own form: a network for each axis, their rates added, a slice of genes at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from betascvi.module._additive_settings import AdditiveSettings, Shape


class AxisNetworks(nn.Module):
    r"""Log of the sum over axes of rates, each of a network that reads one axis.

    .. math:: \log \sum_k \exp f(z_k; k)_g

    with hidden layers shared by the axes but for the first (:cite:p:`Moinfar24`). Logits of all
    axes are made for some genes at a time and again in the backward pass: memory of
    (cells, axes, ``genes_at_once``), time of (cells, axes, genes).
    """

    def __init__(self, shape: Shape, settings: AdditiveSettings) -> None:
        super().__init__()
        self.genes_at_once = settings.genes_at_once
        n_axes, n_hidden = shape.n_axes, shape.n_hidden
        self.slope = nn.Parameter(torch.randn(n_axes, n_hidden))
        self.offset = nn.Parameter(0.5 * torch.randn(n_axes, n_hidden))
        self.hidden = nn.Linear(n_hidden, n_hidden)
        self.out = nn.Linear(n_hidden, shape.n_genes, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """(..., cells, genes)."""
        first = functional.elu(z[..., None] * self.slope + self.offset)
        hidden = functional.elu(self.hidden(first))
        slices = self.out.weight.split(self.genes_at_once)
        if torch.is_grad_enabled():
            parts = [checkpoint(_pool, hidden, weight, use_reentrant=False) for weight in slices]
        else:
            parts = [_pool(hidden, weight) for weight in slices]
        return torch.cat(parts, dim=-1)


def _pool(hidden: Tensor, weight: Tensor) -> Tensor:
    return torch.logsumexp(functional.linear(hidden, weight), dim=-2)
