"""How covariates stand beside what a network reads."""

from __future__ import annotations

import torch
from torch import Tensor


def beside_covariates(
    inputs: Tensor,
    batch: Tensor,
    cont_covs: Tensor | None,
    cat_covs: Tensor | None,
    *,
    batch_is_embedded: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Real-valued inputs in one tensor, and categorical covariates apart.

    ``batch`` is an embedding that joins the inputs, or codes that lead the categories, as
    scvi-tools orders them; inputs may have a leading sample dimension.
    """
    parts = [inputs]
    if cont_covs is not None:
        parts.append(cont_covs)
    categories = () if cat_covs is None else torch.split(cat_covs, 1, dim=1)
    if batch_is_embedded:
        parts.append(batch)
    else:
        categories = (batch, *categories)
    if len(parts) == 1:
        return inputs, categories
    parts = [part.expand(*inputs.shape[:-1], part.shape[-1]) for part in parts]
    return torch.cat(parts, dim=-1), categories
