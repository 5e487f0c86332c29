"""Which dispersion belongs to which cell and gene."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from betascvi.module._vae import BetaVAEModule


def log_dispersion(
    module: BetaVAEModule, per_cell: Tensor | None, batch_index: Tensor, y: Tensor | None
) -> Tensor | None:
    """Log dispersion, by gene, by batch or label, or as the decoder gave it for each cell.

    None where it goes by label and ``y`` is not given: an expectation does not need it.
    """
    if not module.likelihood.has_dispersion or module.dispersion == "gene-cell":
        return per_cell
    if module.dispersion == "gene":
        by_gene: Tensor = module.px_r
        return by_gene
    levels = batch_index if module.dispersion == "gene-batch" else y
    if levels is None:
        return None
    by_level: Tensor = module.px_r.T[levels.squeeze(-1).long()]
    return by_level


@torch.no_grad()
def start_dispersion(module: BetaVAEModule, log_dispersion: Tensor) -> None:
    """Start every batch, label or cell at the same log dispersions, (genes,)."""
    if module.dispersion == "gene-cell":
        head = cast("nn.Linear", module.decoder.px_r_decoder)
        head.bias.copy_(log_dispersion)
        return
    by_gene = module.px_r
    by_gene.copy_(log_dispersion.reshape(-1, *[1] * (by_gene.ndim - 1)).expand_as(by_gene))
