"""New cells on a trained reference."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.model import SCVI

from betascvi.model._anchoring import refuse_unseen
from betascvi.module import AdditiveDecoder, put_new_levels_in_place

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI

logger = logging.getLogger(__name__)


def load_query_data(
    cls: type[BetaSCVI],
    /,
    adata: AnnData | None = None,
    reference_model: str | BetaSCVI | None = None,
    *arguments: Any,
    unseen: Literal["refuse", "missing"] = "refuse",
    **keywords: Any,
) -> BetaSCVI:
    """Map new cells onto a trained reference, as :meth:`scvi.model.SCVI.load_query_data`.

    New batches extend the network; labels of factors may be missing.

    Parameters
    ----------
    adata
        The new cells.
    reference_model
        A trained model, or the folder it was saved in.
    *arguments, **keywords
        As in scvi-tools.
    unseen
        What a level of an *anchored* factor is that the reference has not seen: refused, or a
        missing label.
    """
    inherited: Any = SCVI.load_query_data
    model: BetaSCVI = inherited.__func__(cls, adata, reference_model, *arguments, **keywords)
    model.is_mapped_ = True
    put_new_levels_in_place(model.module, _n_levels(cls, reference_model))
    refuse_unseen(model, unseen)
    if (
        isinstance(model.module.decoder, AdditiveDecoder)
        and model.module.batch_representation == "embedding"
    ):
        logger.warning(
            "the embedding of a new batch stays as it was drawn, as in scvi-tools, and an additive "
            "decoder has nothing else that a query trains: expression of the new batch is that of "
            "no batch in particular. A reference with batch_representation='one-hot' learns it."
        )
    return model


def _n_levels(cls: type[BetaSCVI], reference: str | BetaSCVI | None) -> list[int]:
    """Levels of the reference: of the batch, then of each categorical covariate."""
    registry = reference.registry if isinstance(reference, cls) else cls.load_registry(reference)
    states = {k: r["state_registry"] for k, r in registry["field_registries"].items()}
    of_batch = states.get(REGISTRY_KEYS.BATCH_KEY) or {}
    of_others = (states.get(REGISTRY_KEYS.CAT_COVS_KEY) or {}).get("n_cats_per_key", ())
    return [len(of_batch.get("categorical_mapping", ())), *of_others]
