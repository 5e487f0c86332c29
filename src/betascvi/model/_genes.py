"""Genes of the cells at hand: scvi-tools takes them by position, whatever they are called."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.model import SCVI

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI


def validate_anndata(
    self: BetaSCVI, adata: AnnData | None = None, copy_if_view: bool = True
) -> AnnData:
    """Validate as scvi-tools does, and see that genes stand where the model has them.

    Everything that reads cells comes through here.
    """
    if adata is not None:
        refuse_other_genes(self, adata)
    return SCVI._validate_anndata(self, adata, copy_if_view)


def refuse_other_genes(model: BetaSCVI, adata: AnnData) -> None:
    """Refuse the genes of the model in another order; warn of other names."""
    field = model.registry["field_registries"][REGISTRY_KEYS.X_KEY]["state_registry"]
    genes = [str(name) for name in field.get("column_names", ())]
    here = [str(name) for name in adata.var_names]
    if genes == here or len(genes) != len(here):  # another number is for scvi-tools to refuse
        return
    first = next(i for i, (a, b) in enumerate(zip(genes, here, strict=True)) if a != b)
    if set(genes) == set(here):
        raise ValueError(
            f"the genes of adata stand in another order than the model's (gene {first} is "
            f"{here[first]!r}, the model's {genes[first]!r}); give adata[:, model.get_var_names()]."
        )
    warnings.warn(
        f"{len(set(here) - set(genes))} genes of adata have names that the model does not know (gene "
        f"{first} is {here[first]!r}, the model's {genes[first]!r}); they are taken by position.",
        stacklevel=2,
    )
