"""Blocks whose effect on expression does not pass through the decoder's network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from betascvi.module._additive_settings import Shape

SPREAD = 0.1
"""Standard deviation that slopes have a priori: how far a response changes, in log units, for each
standard deviation of a free axis and each unit of the block (levels stand 2 apart)."""


class AddedEffects(nn.Module):
    r"""What some blocks add to the logits of a joint decoder.

    .. math::
        \sum_k z_k \Bigl(A_{kg} + \sum_{j \in \mathrm{free}} z_j B_{kjg}\Bigr)

    with :math:`B` for those alone whose effect is ``"linear"`` in the free axes; it has a Gaussian
    prior of standard deviation :data:`SPREAD`, so that a response differs between kinds of cells
    as far as the data ask for it.
    """

    added: Tensor
    linear: Tensor
    free: Tensor
    others: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.n_axes = shape.n_axes
        others = [axis for axis in range(shape.n_axes) if axis not in shape.added]
        kinds = {"added": shape.added, "linear": shape.linear, "free": shape.free, "others": others}
        for name, axes in kinds.items():
            self.register_buffer(name, torch.tensor(axes, dtype=torch.long), persistent=False)
        self.shifts = nn.Parameter(torch.zeros(len(shape.added), shape.n_genes))
        n_products = len(shape.linear) * len(shape.free)
        self.slopes = nn.Parameter(torch.zeros(n_products, shape.n_genes)) if n_products else None

    def left_to_network(self, inputs: Tensor) -> Tensor:
        """Axes (and numbers behind them) that the network is to see."""
        return torch.cat([inputs[..., self.others], inputs[..., self.n_axes :]], -1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., genes), to be added to the logits."""
        shift = inputs[..., self.added] @ self.shifts
        if self.slopes is None:
            return shift
        products = inputs[..., self.linear].unsqueeze(-1) * inputs[..., self.free].unsqueeze(-2)
        return shift + products.flatten(-2) @ self.slopes

    def prior_cost(self) -> Tensor | None:
        """-log prior of the slopes in nats, less a constant; None without any."""
        return None if self.slopes is None else 0.5 * (self.slopes / SPREAD).square().sum()
