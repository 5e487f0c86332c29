"""Our weights in a plain SCVI, for what starts from one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scvi.model import SCVI

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI

_OURS = ("objective", "anchors", "decoder", "adata", "registry")
_OUR_SETUP = ("factor_keys", "obsm_key")
_STATE = "objective_state."


def to_scvi(self: BetaSCVI) -> SCVI:
    """A plain :class:`scvi.model.SCVI` with this model's weights.

    For what takes no other: ``SCANVI.from_scvi_model(model.to_scvi(), unlabeled_category="unknown",
    labels_key="cell_type")``. Latents and expression are the same, and training goes on with
    scvi-tools' ELBO; the objective and its schedules stay behind.

    Raises
    ------
    ValueError
        The model has what an SCVI cannot hold (anchored blocks, an additive decoder, an
        embedding in place of counts), or has no cells with counts.
    """
    _refuse(self)
    parameters = self.init_params_
    arguments: dict[str, Any] = {
        **parameters["non_kwargs"],
        **{k: v for group in parameters["kwargs"].values() for k, v in group.items()},
    }
    setup = self.registry["setup_args"]
    SCVI.setup_anndata(self.adata, **{k: v for k, v in setup.items() if k not in _OUR_SETUP})
    theirs = SCVI(self.adata, **{k: v for k, v in arguments.items() if k not in _OURS})
    _refuse_other_levels(self, theirs)
    # what an SCVI has beside these it never reads; what an objective has learned stays behind
    wanted = theirs.module.state_dict()
    ours = {k: v for k, v in self.module.state_dict().items() if not k.startswith(_STATE)}
    theirs.module.load_state_dict({**wanted, **ours})
    theirs.to_device(self.device)
    theirs.module.eval()
    for name in ("is_trained_", "history_", "train_indices", "validation_indices", "test_indices"):
        setattr(theirs, name, getattr(self, name, None))
    return theirs


def _refuse(model: BetaSCVI) -> None:
    parameters = model.init_params_["non_kwargs"]
    lacks = None
    anchored = [name for name in model.blocks if name != "free"]
    if anchored:
        lacks = f"anchored blocks ({', '.join(anchored)})"
    elif parameters["decoder"] != "joint":
        lacks = f"decoder={parameters['decoder']!r}"
    elif model.registry["setup_args"].get("obsm_key"):
        lacks = "an embedding (obsm_key) in place of counts"
    if lacks is not None:
        raise ValueError(
            f"an SCVI has no {lacks}. Its latent can be used as it is "
            "(get_latent_representation), or train BetaSCVI without."
        )
    if model.adata is None or model.minified_data_type is not None:
        raise ValueError("to_scvi needs the model's own cells with counts; load it with adata=.")


def _refuse_other_levels(ours: BetaSCVI, theirs: SCVI) -> None:
    """Levels that only a reference had are not in a query's cells, so an SCVI would number anew."""
    for key, field in theirs.registry["field_registries"].items():
        known = ours.registry["field_registries"].get(key, {}).get("state_registry", {})
        for name, value in field["state_registry"].items():
            if name in {"categorical_mapping", "mappings"} and _words(value) != _words(known[name]):
                raise ValueError(
                    f"the cells at hand have other levels of {key} than the model was trained on "
                    "(a query's model?): an SCVI would number them anew. Give the model all cells "
                    "(load it with adata=)."
                )


def _words(mapping: Any) -> Any:
    """Levels in their order, nested ones by column."""
    if hasattr(mapping, "items"):
        return {key: _words(value) for key, value in mapping.items()}
    return [str(level) for level in mapping]
