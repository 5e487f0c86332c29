"""What a model checks and says when it is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from betascvi.module import LIKELIHOODS


def refuse_unsupported(
    use_observed_lib_size: bool, latent_distribution: str, gene_likelihood: str
) -> None:
    """Refuse by name what is not carried over from scvi-tools."""
    if not use_observed_lib_size:
        raise ValueError(
            "use_observed_lib_size=False (a latent library size) is not supported: its KL has no "
            "place in our objectives. Use the observed one, or size_factor_key in setup_anndata."
        )
    if latent_distribution != "normal":
        raise ValueError(
            f"latent_distribution={latent_distribution!r} is not supported; the axes are 'normal'."
        )
    if gene_likelihood not in LIKELIHOODS:
        raise ValueError(
            f"gene_likelihood is one of {sorted(LIKELIHOODS)}, got {gene_likelihood!r}."
        )


def is_embedding(registry: Mapping[str, Any] | None) -> bool:
    """Whether a registry was set up on an ``obsm`` matrix."""
    return bool(registry) and bool((registry or {}).get("setup_args", {}).get("obsm_key"))


def summary_string(arguments: Mapping[str, Any]) -> str:
    """The model in a few words, as scvi-tools prints it."""
    shown = ("n_hidden", "n_latent", "n_layers", "dropout_rate", "dispersion", "gene_likelihood")
    settings = ", ".join(f"{name}: {arguments[name]}" for name in shown)
    return (
        f"BetaSCVI model with the following parameters: \n{settings}, "
        f"objective: {arguments['objective']!r}."
    )
