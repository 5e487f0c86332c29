"""What covariates add to the log expression of each gene."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class CovariateShift(nn.Module):
    """Log mean profile, and the shift of each gene by each level and each number.

    The levels' weight bears the name ``fc_layers.0``: scvi-tools' query mapping trains weights
    of that name, each new level by a column of its own, and freezes all others.
    """

    def __init__(self, n_levels: Sequence[int], n_numbers: int, n_genes: int) -> None:
        super().__init__()
        # a covariate of one level says nothing, as in scvi-tools
        self.n_levels = tuple(n if n > 1 else 0 for n in n_levels)
        self.log_profile = nn.Parameter(torch.zeros(n_genes))
        self.of_numbers = nn.Parameter(torch.zeros(n_genes, n_numbers)) if n_numbers else None
        self.fc_layers = nn.ModuleList([_Weight(n_genes, sum(self.n_levels))])

    def forward(self, numbers: Tensor, *codes: Tensor) -> Tensor:
        """(..., cells, genes) for numbers of (..., cells, n) and codes of (cells, 1)."""
        one_hot = [
            functional.one_hot(code.squeeze(-1).long(), n).to(self.log_profile.dtype)
            for code, n in zip(codes, self.n_levels, strict=False)
            if n
        ]
        known = torch.cat(one_hot, dim=-1) if one_hot else numbers.new_zeros(numbers.shape[-2], 0)
        shift = self.fc_layers[0](known, self.log_profile)
        return shift if self.of_numbers is None else shift + numbers @ self.of_numbers.T


class _Weight(nn.Module):
    """A linear layer's weight, also where it has no column yet; levels start without a shift."""

    def __init__(self, n_out: int, n_in: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_out, n_in))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return functional.linear(x, self.weight, bias)
