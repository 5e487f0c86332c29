"""What a model checks and says when it is built."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from betascvi._whole_numbers import refuse_count
from betascvi.model._decoder_start import refuse_decoder
from betascvi.module import LIKELIHOODS
from betascvi.objectives import resolve

logger = logging.getLogger(__name__)


def checked(arguments: Mapping[str, Any], registry: Mapping[str, Any] | None) -> dict[str, Any]:
    """Arguments of scvi-tools' constructor: refused by name, or as the data ask for them."""
    if arguments["gene_likelihood"] == "gaussian":  # the literature's name for it
        arguments = {**arguments, "gene_likelihood": "normal"}
    _refuse_unsupported(arguments)
    refuse_decoder(arguments, registry)
    on_embedding = bool((registry or {}).get("setup_args", {}).get("obsm_key"))
    as_data = {}
    if on_embedding:
        logger.info("the data are an obsm matrix, not counts: gene_likelihood is 'normal'.")
        as_data = {"gene_likelihood": "normal", "log_variational": False}
    objective = resolve(arguments["objective"])
    return {**arguments, **as_data, "objective": objective, "is_embedding": on_embedding}


def _refuse_unsupported(arguments: Mapping[str, Any]) -> None:
    """Refuse by name what is not carried over from scvi-tools, and networks of nothing."""
    if not arguments["use_observed_lib_size"]:
        raise ValueError(
            "use_observed_lib_size=False (a latent library size) is not supported: its KL has no "
            "place in our objectives. Use the observed one, or size_factor_key in setup_anndata."
        )
    for name, known in (("latent_distribution", ["normal"]), ("gene_likelihood", [*LIKELIHOODS])):
        if arguments[name] not in known:
            raise ValueError(f"{name} is one of {known}, got {arguments[name]!r}.")
    free = "It counts the free axes; the blocks of anchors come on top."
    refuse_count("n_latent", arguments["n_latent"], hint=free)
    for name in ("n_hidden", "n_layers"):
        refuse_count(name, arguments[name])


def summary_string(arguments: Mapping[str, Any]) -> str:
    """The model in a few words, as scvi-tools prints it."""
    shown = ("n_hidden", "n_latent", "n_layers", "dropout_rate", "dispersion", "gene_likelihood")
    settings = ", ".join(f"{name}: {arguments[name]}" for name in shown)
    return (
        f"BetaSCVI model with the following parameters: \n{settings}, "
        f"objective: {arguments['objective']!r}, decoder: {arguments['decoder']}."
    )
