"""Cells as one minibatch, as the networks take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anndata import AnnData
from scvi.data._utils import _get_adata_minify_type
from torch import Tensor

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI

Tensors = dict[str, Tensor]


def tensors_of(
    model: BetaSCVI, adata: AnnData | None = None, indices: Sequence[int] | None = None
) -> Tensors:
    """Counts and covariates of these cells as one minibatch, on the model's device."""
    adata = model._validate_anndata(adata)
    if _get_adata_minify_type(adata) is not None:
        raise ValueError(
            "the counts of these cells were taken out (minify_adata), and they are needed here; "
            "load the model with adata= the full AnnData."
        )
    cells = list(range(adata.n_obs)) if indices is None else list(indices)
    if not cells:
        raise ValueError("indices is empty; name at least one cell.")
    loader = model._make_data_loader(adata=adata, indices=cells, batch_size=len(cells))
    return {name: value.to(model.device) for name, value in next(iter(loader)).items()}
