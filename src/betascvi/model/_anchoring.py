"""From anchors by name to the blocks of a model; what the design does not allow is refused."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scvi.data import AnnDataManager

from betascvi._errors import FactorError, UnknownFactorError
from betascvi.data import FACTORS_KEY
from betascvi.factors import (
    Anchor,
    CodedFactor,
    Factor,
    as_anchors,
    code_factor,
    overlap_weights,
    plan_blocks,
    refuse_unidentifiable,
)
from betascvi.module import Layout

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI

logger = logging.getLogger(__name__)

_FEWEST_CELLS = 3


def blocks_of(
    anchors: Sequence[str | Anchor] | str | Anchor | None,
    manager: AnnDataManager | None,
) -> tuple[tuple[Anchor, ...], Layout | None]:
    """The anchors as given in full, and the blocks they make of the registered factors."""
    found = as_anchors(anchors)
    if not found:
        return (), None
    if manager is None:
        raise ValueError(
            f"the block of {found[0].name!r} is laid out by the labels of cells, and a registry or "
            "a saved model has none: give adata=, the AnnData of the training or cells like them."
        )
    if FACTORS_KEY not in manager.data_registry:
        raise UnknownFactorError(
            f"anchor {found[0].name!r} is not a registered factor; none is registered: "
            f"setup_anndata(adata, factor_keys={[anchor.name for anchor in found]})."
        )
    factors = registered_factors(manager)
    state = manager.get_state_registry(FACTORS_KEY)
    plans = plan_blocks(found, factors, state.get("parents", {}))
    if getattr(manager, "_source_registry", None) is None:  # not for cells on a fitted model
        _refuse_unlearnable(found, factors)
        _refuse_two_kinds(found, factors, manager.registry["setup_args"])
        _say_which_wins(found, manager.registry["setup_args"])
        refuse_unidentifiable(found, [*factors, *_told_to_the_decoder(manager, factors)])
    return found, Layout(plans, overlap_weights(factors))


def with_blocks(arguments: Mapping[str, Any], layout: Layout | None) -> dict[str, Any]:
    """Arguments of scvi-tools' constructor, whose latent has the axes of the blocks as well."""
    if layout is None:
        return dict(arguments)
    n_latent = arguments["n_latent"] + layout.n_anchored
    return {**arguments, "n_latent": n_latent, "layout": layout}


def registered_factors(manager: AnnDataManager) -> list[CodedFactor]:
    """The factors of an AnnData as they were registered, in their order."""
    state = manager.get_state_registry(FACTORS_KEY)
    codes = np.asarray(manager.get_from_registry(FACTORS_KEY), dtype=float)
    return [
        CodedFactor(
            name,
            kind,
            np.where(np.isfinite(codes[:, i]), codes[:, i], -1).astype(int)
            if kind == "categorical"
            else codes[:, i],
            tuple(state["levels"].get(name, ())),
        )
        for i, (name, kind) in enumerate(zip(state["names"], state["kinds"], strict=True))
    ]


def _refuse_unlearnable(anchors: Sequence[Anchor], factors: Sequence[CodedFactor]) -> None:
    """More levels than cells allow."""
    for factor in factors:
        if factor.kind != "categorical" or factor.name not in {a.name for a in anchors}:
            continue
        counts = np.bincount(factor.values[factor.known], minlength=len(factor.levels))
        if np.median(counts) < _FEWEST_CELLS:
            raise FactorError(
                f"factor {factor.name!r} has {len(counts)} levels for {int(counts.sum())} labelled "
                f"cells: half of the levels have fewer than {_FEWEST_CELLS} cells, which no anchor "
                "can be learned from. Merge levels, or leave it unanchored."
            )


def _refuse_two_kinds(
    anchors: Sequence[Anchor], factors: Sequence[CodedFactor], setup: Mapping[str, Any]
) -> None:
    """A column cannot be levels to the decoder and a number to its block."""
    levelled = [setup.get("batch_key"), *(setup.get("categorical_covariate_keys") or ())]
    kinds = {factor.name: factor.kind for factor in factors}
    for anchor in anchors:
        if anchor.name in levelled and kinds.get(anchor.name) != "categorical":
            raise FactorError(
                f"{anchor.name!r} is levels to the decoder (batch_key or "
                f"categorical_covariate_keys) and {kinds.get(anchor.name)} as a factor; register "
                f"it as bs.Factor({anchor.name!r}, 'categorical'), or turn the column into text."
            )


def _told_to_the_decoder(
    manager: AnnDataManager, factors: Sequence[CodedFactor]
) -> list[CodedFactor]:
    """Covariates with levels that are not registered as factors: they explain cells all the same."""
    setup, registered = manager.registry["setup_args"], {factor.name for factor in factors}
    names = [setup.get("batch_key"), *(setup.get("categorical_covariate_keys") or ())]
    asked = [name for name in names if name is not None and name not in registered]
    varying = [name for name in asked if manager.adata.obs[name].nunique() > 1]
    return [code_factor(manager.adata.obs[n], Factor(n, "categorical")) for n in varying]


def _say_which_wins(anchors: Sequence[Anchor], setup: Mapping[str, Any]) -> None:
    """A factor the decoder is given outright has nothing left to say in the latent."""
    given = [
        setup.get("batch_key"),
        *(setup.get("categorical_covariate_keys") or ()),
        *(setup.get("continuous_covariate_keys") or ()),
    ]
    for anchor in anchors:
        if anchor.name in given:
            logger.warning(
                "%r is anchored and the decoder is conditioned on it too: the covariate wins, since "
                "the decoder reads it without loss, and the block only predicts the label. Register "
                "it in factor_keys alone to have its effect in the block.", anchor.name,
            )  # fmt: skip


def refuse_unseen(model: BetaSCVI, unseen: Literal["refuse", "missing"]) -> None:
    """Refuse new cells with a level of an anchored factor that the model does not know."""
    if unseen not in ("refuse", "missing"):
        raise ValueError(f"unseen is 'refuse' or 'missing', got {unseen!r}.")
    if unseen == "missing" or model.adata is None or model.module is None:
        return
    for prior in model.module.anchored.each if model.module.anchored is not None else ():
        if prior.kind == "categorical" and prior.name in model.adata.obs:
            factor = Factor(prior.name, "categorical")
            try:
                code_factor(model.adata.obs[prior.name], factor, prior.levels)
            except UnknownFactorError as unknown:
                raise UnknownFactorError(
                    f"{unknown} Anchors are fixed when a model is trained; treat these cells as "
                    "unlabelled: load_query_data(..., unseen='missing')."
                ) from None
