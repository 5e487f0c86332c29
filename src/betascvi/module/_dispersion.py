"""Which dispersion belongs to which cell and gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from betascvi.module._vae import BetaVAEModule


def log_dispersion(
    module: BetaVAEModule, per_cell: Tensor | None, batch_index: Tensor, y: Tensor | None
) -> Tensor | None:
    """Log dispersion, by gene, by batch or label, or as the decoder gave it for each cell."""
    if not module.likelihood.has_dispersion or module.dispersion == "gene-cell":
        return per_cell
    if module.dispersion == "gene":
        by_gene: Tensor = module.px_r
        return by_gene
    levels = batch_index if module.dispersion == "gene-batch" else y
    assert levels is not None  # scvi-tools hands labels over with every minibatch
    by_level: Tensor = module.px_r.T[levels.squeeze(-1).long()]
    return by_level
