"""Latents of a model, and scores of them on cells that it was not trained on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData

from betascvi import _keys
from betascvi.factors import Factor, as_factors, code_factor, tells_cells_apart

if TYPE_CHECKING:
    from betascvi.model import BetaSCVI
    from betascvi.tl import Budget, ScoreTable

logger = logging.getLogger(__name__)

HELD_OUT = "held_out"


def latents_of(model: BetaSCVI, adata: AnnData) -> AnnData:
    """obs, the latent and the names of its axes.

    ``obs["held_out"]`` tells the cells that were not trained on, where the model knows them; a
    column of that name that was there is left out, as nobody vouches for it.
    """
    from betascvi import tl
    from betascvi.model._cells import digest_of_names, training_rows

    latents = AnnData(obs=adata.obs.copy())
    for column in [c for c in latents.obs if c == HELD_OUT or c.startswith("_")]:
        del latents.obs[column]
    trained = training_rows(model)
    if trained is not None and digest_of_names(adata) == digest_of_names(model.adata):
        latents.obs[HELD_OUT] = ~np.isin(np.arange(adata.n_obs), trained)
    tl.embed(model, adata)
    latents.obsm[_keys.LATENT] = adata.obsm[_keys.LATENT]
    latents.uns[_keys.UNS] = {_keys.LATENT: adata.uns[_keys.UNS][_keys.LATENT]}
    return latents


def held_out_of(latents: AnnData) -> AnnData | None:
    """The cells that were not trained on; None where there are none, or nobody knows them."""
    if HELD_OUT not in latents.obs or not latents.obs[HELD_OUT].any():
        return None
    return latents[latents.obs[HELD_OUT].to_numpy()].copy()


def scorable(held_out: AnnData, factors: Sequence[str | Factor]) -> list[Factor]:
    """Those of the factors in which these cells differ; one that is no column is for the scores to refuse."""
    obs = held_out.obs
    return [
        f
        for f in as_factors(factors)
        if f.name not in obs or tells_cells_apart(code_factor(obs[f.name], f))
    ]


def score_held_out(
    latents: AnnData, factors: Sequence[str | Factor], budget: Budget | None, seed: int
) -> ScoreTable | None:
    """Scores on the cells that were not trained on; None where there is no such cell or no factor.

    A factor in which these cells do not differ is left out, in words.
    """
    from betascvi import tl

    held_out = held_out_of(latents)
    if not factors or held_out is None:
        return None
    left = scorable(held_out, factors)
    for factor in as_factors(factors):
        if factor not in left:
            logger.warning(
                "the %d held-out cells do not differ in %r: it is not scored.",
                held_out.n_obs, factor.name,
            )  # fmt: skip
    if not left:
        return None
    return tl.score_disentanglement(
        held_out, _keys.LATENT, left, seed=seed, budget=budget or tl.Budget()
    )
