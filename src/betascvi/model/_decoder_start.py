"""Checks of a decoder and its start, where model and data meet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scvi import REGISTRY_KEYS

from betascvi.data import gene_moments
from betascvi.module import AdditiveDecoder, check_decoder, start_dispersion

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI

logger = logging.getLogger(__name__)

_MANY_LEVELS = 100


def refuse_decoder(arguments: Mapping[str, Any], registry: Mapping[str, Any] | None) -> None:
    """Refuse an additive decoder that cannot be; say what many levels of a covariate cost."""
    check_decoder(arguments["decoder"], arguments["extra_decoder_kwargs"])
    if arguments["decoder"] == "joint" or registry is None:
        return
    fields = registry["field_registries"]
    n_genes = fields[REGISTRY_KEYS.X_KEY]["summary_stats"]["n_vars"]
    if arguments["n_latent"] > n_genes:
        raise ValueError(
            f"n_latent={arguments['n_latent']} axes for {n_genes} genes (or dimensions): an "
            f"additive decoder gives each axis programs of its own. Take at most {n_genes}."
        )
    n_levels = _levels_in(fields, embeds_batch=arguments["batch_representation"] == "embedding")
    if n_levels >= _MANY_LEVELS:
        logger.warning(
            "batch and categorical covariates have %d levels: the additive decoder learns a shift "
            "of each of %d genes for each, %.2g million parameters, and a product of (cells, "
            "levels) with (levels, genes) a minibatch. Merge levels, or where it is the batch, "
            "batch_representation='embedding' shares strength between them.",
            n_levels, n_genes, n_levels * n_genes / 1e6,
        )  # fmt: skip


def _levels_in(fields: Mapping[str, Any], *, embeds_batch: bool) -> int:
    """Levels of all categorical covariates that shift genes one by one."""
    counts = []
    if not embeds_batch:
        counts.append(fields.get(REGISTRY_KEYS.BATCH_KEY, {})["summary_stats"]["n_batch"])
    state = fields.get(REGISTRY_KEYS.CAT_COVS_KEY, {}).get("state_registry", {})
    return sum(n for n in [*counts, *state.get("n_cats_per_key", ())] if n > 1)


def refuse_more_axes_than_cells(model: BetaSCVI) -> None:
    """Refuse to learn more programs than there are cells to learn them from."""
    decoder = getattr(model.module, "decoder", None)
    if not isinstance(decoder, AdditiveDecoder) or model.adata is None:
        return
    n_axes, n_cells = model.module.n_latent, model.adata.n_obs
    is_learned = any(p.requires_grad for p in decoder.pool.parameters())  # not in a frozen query
    if is_learned and n_axes > n_cells:
        raise ValueError(
            f"n_latent={n_axes} axes for {n_cells} cells: an additive decoder cannot learn more "
            "gene programs than there are cells. Take fewer axes or more cells."
        )


def start_decoder(model: BetaSCVI) -> None:
    """Start a decoder at the mean profile of the model's cells, dispersions at their moments.

    scvi-tools starts at equal genes and random dispersions, and its first epochs go into what
    can be read off the counts: docs/decisions/0018.
    """
    if model.adata is None or model.minified_data_type is not None:
        return  # the counts may be gone; weights are about to be loaded
    manager, module = model.adata_manager, model.module
    x = manager.get_from_registry(REGISTRY_KEYS.X_KEY)
    x = x.to_numpy() if hasattr(x, "iloc") else x
    size_factor = np.ones(model.adata.n_obs) if module.is_embedding else None
    if module.use_size_factor_key:
        size_factor = np.asarray(manager.get_from_registry(REGISTRY_KEYS.SIZE_FACTOR_KEY))
    moments = gene_moments(x, size_factor, model.adata.n_obs)
    module.decoder.start_at(torch.as_tensor(moments.mean))
    if module.likelihood.is_overdispersed:
        start_dispersion(module, torch.as_tensor(moments.log_dispersion))
    elif module.gene_likelihood == "normal":
        # at all of the spread nothing would be left to explain, and the axes collapse
        start_dispersion(module, torch.as_tensor(moments.log_sd - np.log(2)))
