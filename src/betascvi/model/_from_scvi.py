"""A trained SCVI's weights in our model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from scvi.model import SCVI

from betascvi.objectives import BetaVAE

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI

logger = logging.getLogger(__name__)


def from_scvi(cls: type[BetaSCVI], model: SCVI) -> BetaSCVI:
    """Set up the SCVI's cells again for ``cls`` and copy every weight that is read."""
    if type(model).__name__ != "SCVI":
        raise ValueError(f"from_scvi takes a scvi.model.SCVI, got {type(model).__name__}.")
    if model.adata is None or model.minified_data_type is not None:
        raise ValueError("from_scvi needs the SCVI's own cells with counts; load it with adata=.")
    parameters = model.init_params_
    arguments: dict[str, Any] = {
        **parameters["non_kwargs"],
        **{k: v for group in parameters["kwargs"].values() for k, v in group.items()},
    }
    setup = model.registry["setup_args"]
    # by its own registry: categories may stand in another order in these cells than in its weights
    cls.setup_anndata(model.adata, source_registry=model.registry, **setup)
    ours = cls(model.adata, **arguments, objective=BetaVAE(beta=1.0))
    theirs = model.module.state_dict()
    wanted = ours.module.state_dict()
    ours.module.load_state_dict({name: theirs[name] for name in wanted})
    ours.to_device(model.device)
    ours.module.eval()
    for name in ("is_trained_", "history_"):
        setattr(ours, name, getattr(model, name, None))
    for name in ("train_indices", "validation_indices", "test_indices"):
        setattr(ours, name, getattr(model, name, None))
    dropped = len(theirs) - len(wanted)
    logger.info(
        "copied %d tensors of the SCVI; %d it never reads stayed behind.", len(wanted), dropped
    )
    return ours
