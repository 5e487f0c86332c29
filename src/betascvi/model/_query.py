"""New cells on a trained reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from anndata import AnnData
from scvi.model import SCVI

from betascvi.model._anchoring import refuse_unseen

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI


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
    refuse_unseen(model, unseen)
    return model
