"""What the decoder is conditioned on, and how large cells are, as registered with a model."""

from __future__ import annotations

from typing import Any

import numpy as np
from anndata import AnnData
from scvi import REGISTRY_KEYS

from betascvi.model import BetaSCVI


def own_covariates(model: BetaSCVI, adata: AnnData, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The covariates of these cells, as ``model.decode`` takes them."""
    setup = model.registry["setup_args"]
    names = [*(setup.get("categorical_covariate_keys") or ())]
    names += [*(setup.get("continuous_covariate_keys") or ())]
    if is_conditioned_on_batch(model):
        names.insert(0, setup["batch_key"])
    return {name: np.asarray(adata.obs[name])[indices] for name in names}


def is_conditioned_on_batch(model: BetaSCVI) -> bool:
    """Whether there is more than one batch."""
    return len(_state(model, REGISTRY_KEYS.BATCH_KEY).get("categorical_mapping", ())) > 1


def batch_codes(model: BetaSCVI, indices: np.ndarray) -> np.ndarray:
    """Code of the batch of each of these training cells; zeros where there is one batch."""
    codes = model.adata_manager.get_from_registry(REGISTRY_KEYS.BATCH_KEY)
    return np.asarray(codes).ravel()[indices].astype(np.int64)


def data_of(model: BetaSCVI, indices: np.ndarray) -> Any:
    """(cells, genes) counts, or the modelled ``obsm`` matrix, of these training cells."""
    x = model.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)
    rows = x[np.sort(indices)]
    rows = rows.to_memory() if hasattr(rows, "to_memory") else rows
    rows = np.asarray(rows) if hasattr(rows, "iloc") else rows
    return rows[np.argsort(np.argsort(indices))]


def sizes_of(model: BetaSCVI, x: Any, indices: np.ndarray) -> np.ndarray:
    """Library size of each cell, or its size factor, or one where there is neither."""
    if is_embedding(model):
        return np.ones(x.shape[0])
    if _state(model, REGISTRY_KEYS.SIZE_FACTOR_KEY):
        factors = model.adata_manager.get_from_registry(REGISTRY_KEYS.SIZE_FACTOR_KEY)
        return np.asarray(factors, dtype=np.float64).ravel()[indices]
    return np.asarray(x.sum(1), dtype=np.float64).ravel()


def per_10k(mean: np.ndarray) -> np.ndarray:
    """(cells, genes) expected counts in cells of 10,000, also where sizes are size factors."""
    return mean * (1e4 / mean.sum(1, keepdims=True, dtype=np.float64)).astype(mean.dtype)


def argument_of(model: BetaSCVI, name: str) -> Any:
    """An argument of the model's constructor, as it was given."""
    groups = [model.init_params_["non_kwargs"], *model.init_params_["kwargs"].values()]
    return next(group[name] for group in groups if name in group)


def is_embedding(model: BetaSCVI) -> bool:
    """Whether the model was set up on an ``obsm`` matrix."""
    return model.registry["setup_args"].get("obsm_key") is not None


def _state(model: BetaSCVI, key: str) -> dict[str, Any]:
    field = model.registry["field_registries"].get(key) or {}
    state: dict[str, Any] = field.get("state_registry") or {}
    return state
