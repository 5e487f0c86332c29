"""A small atlas with every kind of covariate, and models trained on it for an epoch or two."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from anndata import AnnData

    from betascvi import BetaSCVI

N_CELLS, N_GENES = 120, 60
COVARIATES: dict[str, Any] = {
    "batch_key": "batch",
    "labels_key": "cell_type",
    "categorical_covariate_keys": ["condition", "site"],
    "continuous_covariate_keys": ["age", "score"],
}
QUICK: dict[str, Any] = {
    "max_epochs": 1,
    "batch_size": 50,
    "accelerator": "cpu",
    "enable_progress_bar": False,
}


@pytest.fixture(scope="session")
def source() -> AnnData:
    """The atlas behind ``adata``; shared by the session, so never change it."""
    from betascvi.datasets import Levels, Sequencing, simulated_atlas

    atlas = simulated_atlas(
        n_cells=N_CELLS,
        n_genes=N_GENES,
        seed=0,
        levels=Levels(n_cell_types=3, n_donors=4),
        sequencing=Sequencing(counts_per_gene=2.0),
    )
    rng = np.random.default_rng(0)
    atlas.obs["site"] = np.array(["north", "south"])[rng.integers(2, size=N_CELLS)]
    atlas.obs["age"] = rng.normal(size=N_CELLS)
    atlas.obs["score"] = rng.uniform(size=N_CELLS)
    totals = np.asarray(atlas.layers["counts"].sum(1)).ravel()
    atlas.obs["size"] = totals / totals.mean()
    return atlas


@pytest.fixture
def adata(source: AnnData) -> AnnData:
    """120 cells x 60 genes with batch, labels, covariates of both kinds and a size factor."""
    return source.copy()


@pytest.fixture(scope="session")
def covariates() -> dict[str, Any]:
    """Arguments of ``setup_anndata`` for every covariate but the size factor."""
    return COVARIATES


@pytest.fixture(scope="session")
def quick() -> dict[str, Any]:
    """Arguments of ``train`` for the shortest training."""
    return QUICK


@pytest.fixture(scope="session")
def make_model(source: AnnData) -> Callable[..., BetaSCVI]:
    """A model on its own copy of the atlas; arguments of set-up and constructor apart."""
    from betascvi import BetaSCVI

    def make(setup: dict[str, Any] | None = None, **arguments: Any) -> BetaSCVI:
        adata = source.copy()
        BetaSCVI.setup_anndata(adata, **{"layer": "counts", **(setup or {})})
        return BetaSCVI(adata, **{"n_hidden": 16, "n_latent": 4, **arguments})

    return make


@pytest.fixture(scope="session")
def fitted(make_model: Callable[..., BetaSCVI]) -> BetaSCVI:
    """Trained with every covariate, shared by the session: ask it, never change it."""
    model = make_model(COVARIATES)
    model.train(**QUICK | {"max_epochs": 2})
    return model


@pytest.fixture(scope="session")
def plain(make_model: Callable[..., BetaSCVI]) -> BetaSCVI:
    """Trained on a batch key alone, shared by the session: ask it, never change it."""
    model = make_model({"batch_key": "batch"})
    model.train(**QUICK)
    return model
