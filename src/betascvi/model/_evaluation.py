"""What scvi-tools computes of a fitted model, where ours has to differ."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import torch
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.model import SCVI
from torch import Tensor
from torch.distributions import Distribution, Normal
from typing_extensions import override

from betascvi._whole_numbers import refuse_count
from betascvi.data import refuse_reordered_genes
from betascvi.model._streaming import streamed

_Method = TypeVar("_Method", bound=Callable[..., Any])


def of_genes(method: _Method) -> _Method:
    """A figure of genes, refused where the columns of the data are axes of an embedding."""

    @wraps(method)
    def evaluate(model: SCVI, *args: Any, **kwargs: Any) -> Any:
        if model.module is not None and model.module.is_embedding:
            raise ValueError(
                f"{method.__name__} is about counts of genes, and this model is of an obsm matrix. "
                "model.decode(model.get_latent_representation()) gives genes (of a PCA, through "
                "its loadings)."
            )
        return method(model, *args, **kwargs)

    return cast("_Method", evaluate)


def of_dispersion(method: _Method) -> _Method:
    """A figure of a likelihood of counts with a dispersion, refused where it is another."""

    @wraps(method)
    def evaluate(model: SCVI, *args: Any, **kwargs: Any) -> Any:
        if model.module is not None and model.module.gene_likelihood not in {"nb", "zinb"}:
            raise ValueError(
                f"{method.__name__} is about the likelihood of counts with a dispersion, and "
                f"gene_likelihood is {model.module.gene_likelihood!r} here."
            )
        return method(model, *args, **kwargs)

    return cast("_Method", evaluate)


class Evaluation(SCVI):
    """An SCVI that takes genes by name, reads compressed rows, and counts each cell once."""

    get_elbo = streamed(SCVI.get_elbo)
    get_normalized_expression = of_genes(SCVI.get_normalized_expression)
    differential_expression = of_genes(SCVI.differential_expression)
    get_likelihood_parameters = of_dispersion(SCVI.get_likelihood_parameters)
    get_feature_correlation_matrix = of_dispersion(SCVI.get_feature_correlation_matrix)

    @override
    def get_marginal_ll(
        self,
        adata: AnnData | None = None,
        indices: Any = None,
        n_mc_samples: int = 1_000,
        batch_size: int | None = None,
        return_mean: bool = True,
        dataloader: Any = None,
        data_loader_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> float | Tensor:
        """Evidence log p(x) by importance sampling, its mean over cells or one a cell.

        Parameters
        ----------
        adata, indices, n_mc_samples, batch_size, return_mean, dataloader, \
data_loader_kwargs, **kwargs
            As in scvi-tools, whose mean counts the cells of a short last minibatch more.
        """
        refuse_count("n_mc_samples", n_mc_samples)
        each = super().get_marginal_ll(
            adata, indices, n_mc_samples, batch_size, return_mean=False,
            dataloader=dataloader, data_loader_kwargs=data_loader_kwargs, **kwargs,
        )  # fmt: skip
        return float(np.mean(each.numpy(), dtype=np.float64)) if return_mean else each

    @override
    def get_importance_weights(
        self,
        adata: AnnData | None,
        indices: Any,
        qz: Distribution,
        px: Distribution,
        zs: Tensor,
        max_cells: int = 1024,
        truncation: bool = False,
        **kwargs: Any,
    ) -> np.ndarray:
        """scvi-tools' weights of samples, under the model's own prior.

        Parameters
        ----------
        adata, indices, qz, px, zs, max_cells, truncation, **kwargs
            As in scvi-tools, which takes a standard normal prior for every model.
        """
        anchored = self.module.anchored
        is_standard = anchored is None
        weights: np.ndarray = super().get_importance_weights(
            adata, indices, qz, px, zs, max_cells, truncation and is_standard, **kwargs
        )
        if is_standard:
            return weights
        standard = Normal(0.0, 1.0).log_prob(zs).sum(-1)
        gain = (anchored.log_density(zs.to(self.device)).cpu() - standard.cpu()).reshape(-1)
        log_weights = torch.as_tensor(weights).double().log() + gain
        if truncation:
            log_weights = log_weights.clamp(min=log_weights.logsumexp(0) - math.log(len(weights)))
        return (log_weights - log_weights.logsumexp(0)).exp().float().numpy()

    @override
    def _validate_anndata(self, adata: AnnData | None = None, copy_if_view: bool = True) -> AnnData:
        """Everything that reads cells comes through here."""
        if adata is not None:
            refuse_other_genes(self, adata)
        return super()._validate_anndata(adata, copy_if_view)


def refuse_other_genes(model: SCVI, adata: AnnData) -> None:
    """Refuse the genes of the model in another order; say where they have other names."""
    field = model.registry["field_registries"][REGISTRY_KEYS.X_KEY]["state_registry"]
    genes = [str(name) for name in field.get("column_names", ())]
    here = [str(name) for name in adata.var_names]
    if genes == here or len(genes) != len(here):  # another number is for scvi-tools to refuse
        return
    refuse_reordered_genes(genes, adata)
    first = next(i for i, (a, b) in enumerate(zip(genes, here, strict=True)) if a != b)
    warnings.warn(
        f"{len(set(here) - set(genes))} genes of adata have names that the model does not know (gene "
        f"{first} is {here[first]!r}, the model's {genes[first]!r}); they are taken by position.",
        stacklevel=2,
    )
