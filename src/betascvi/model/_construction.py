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


def refuse_empty(**sizes: int) -> None:
    """Refuse a network without axes, nodes or layers."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is a whole number from 1 up, got {size!r}.")


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


_LIGHTNING_ONLY = (
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "accumulate_grad_batches",
    "max_steps",
    "precision",
    "strategy",
    "plugins",
    "num_nodes",
)
_LOADER_ARGUMENTS = {"drop_last", "external_indexing"}


def why_not_in_chunks(
    trainer_kwargs: Mapping[str, Any],
    plan_kwargs: Mapping[str, Any],
    loader_kwargs: Mapping[str, Any],
) -> str | None:
    """Which argument needs Lightning to see each minibatch, in words; None where none does."""
    for name in _LIGHTNING_ONLY:
        if trainer_kwargs.get(name) is not None:
            return f"{name}= was given"
    for name in ("reduce_lr_on_plateau", "compile", "update_only_decoder"):
        if plan_kwargs.get(name):
            return f"plan_kwargs has {name}"
    others = sorted(set(loader_kwargs) - _LOADER_ARGUMENTS)
    return f"datasplitter_kwargs has {others}" if others else None
