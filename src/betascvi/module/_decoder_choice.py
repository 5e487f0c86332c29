"""Which decoder a module gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from scvi import REGISTRY_KEYS
from torch import nn

from betascvi.module._added_effects import AddedEffects
from betascvi.module._additive import AdditiveDecoder
from betascvi.module._additive_settings import AdditiveSettings, Shape
from betascvi.module._decoders import JointDecoder

if TYPE_CHECKING:
    from betascvi.module._vae import BetaVAEModule

DecoderKind = Literal["joint", "additive"]


def check_decoder(kind: str, options: Mapping[str, Any] | None) -> None:
    """Refuse unknown decoders, and options that belong to another one."""
    if kind not in get_args(DecoderKind):
        raise ValueError(f"decoder is one of {list(get_args(DecoderKind))}, got {kind!r}.")
    if kind == "additive":
        AdditiveSettings.of(options)
        return
    misplaced = [name for name in AdditiveSettings.__slots__ if name in (options or {})]
    if misplaced:
        raise ValueError(
            f"extra_decoder_kwargs has {misplaced}, of the additive decoder; a joint decoder pools "
            "nothing over axes. Ask for decoder='additive'."
        )


def make_decoder(
    kind: str, shape: Shape, options: Mapping[str, Any] | None, network: Mapping[str, Any]
) -> nn.Module:
    """The decoder asked for; ``network`` are arguments of scvi-tools' layers."""
    check_decoder(kind, options)
    if kind == "additive":
        if shape.added:
            raise ValueError(
                "Anchor(effect='added' or 'linear') is of the joint decoder; in decoder='additive' "
                "every axis adds its own rates already. Leave effect at 'joint'."
            )
        return AdditiveDecoder(shape, AdditiveSettings.of(options))
    return JointDecoder(
        shape.n_axes + shape.n_numbers,
        shape.n_genes,
        has_dispersion=shape.has_dispersion,
        has_dropout=shape.has_dropout,
        is_softplus=shape.is_softplus,
        is_embedding=shape.is_embedding,
        n_cat_list=list(shape.n_levels),
        n_hidden=shape.n_hidden,
        effects=AddedEffects(shape) if shape.added else None,
        **network,
        **(options or {}),
    )


def shape_for(
    module: BetaVAEModule,
    n_cats_per_cov: Sequence[int] | None,
    n_continuous_cov: int,
    n_hidden: int,
) -> Shape:
    """What the data and the likelihood ask of a module's decoder."""
    embeds_batch = module.batch_representation == "embedding"
    blocks = module.anchored
    width = module.get_embedding(REGISTRY_KEYS.BATCH_KEY).embedding_dim if embeds_batch else 0
    return Shape(
        n_axes=module.n_latent,
        n_genes=module.n_input,
        n_levels=([] if embeds_batch else [module.n_batch]) + list(n_cats_per_cov or []),
        n_numbers=n_continuous_cov + width,
        has_dispersion=module.likelihood.has_dispersion and module.dispersion == "gene-cell",
        has_dropout=module.likelihood.has_dropout,
        n_hidden=n_hidden,
        is_softplus=bool(module.use_size_factor_key),
        is_embedding=module.is_embedding,
        added=() if blocks is None else blocks.axes_by_effect("added", "linear"),
        linear=() if blocks is None else blocks.axes_by_effect("linear"),
        free=() if blocks is None else range(blocks.free.start, blocks.free.stop),
    )
