from __future__ import annotations

import anndata
import numpy as np
import pytest
import scanpy as sc

from betascvi import BetaSCVI
from betascvi.tl import embed
from betascvi.tl._inputs import embedding_of


@pytest.fixture
def model(tiny_adata):
    BetaSCVI.setup_anndata(tiny_adata, layer="counts")
    model = BetaSCVI(tiny_adata, n_latent=4, n_hidden=16)
    model.is_trained_ = True  # what is written does not depend on the weights
    model.module.eval()
    return model


def test_embed_writes_posterior_means_and_the_names_of_axes_and_blocks(model, tiny_adata):
    embed(model, tiny_adata)

    np.testing.assert_array_equal(tiny_adata.obsm["X_betascvi"], model.get_latent_representation())
    assert tiny_adata.uns["betascvi"]["X_betascvi"] == {
        "axes": ["free_1", "free_2", "free_3", "free_4"],
        "blocks": {"free": [0, 4]},
    }


def test_samples_go_under_a_key_of_their_own_and_leave_the_means_in_place(model, tiny_adata):
    embed(model, tiny_adata)

    embed(model, tiny_adata, key_added="X_sampled", give_mean=False)

    assert set(tiny_adata.uns["betascvi"]) == {"X_betascvi", "X_sampled"}
    assert not np.allclose(tiny_adata.obsm["X_sampled"], tiny_adata.obsm["X_betascvi"])


def test_columns_are_counted_among_the_blocks_written(model, tiny_adata, monkeypatch):
    blocks = {"condition": slice(0, 1), "batch": slice(1, 3), "free": slice(3, 4)}
    monkeypatch.setattr(BetaSCVI, "blocks", property(lambda _: blocks))

    embed(model, tiny_adata, drop="condition")

    assert tiny_adata.obsm["X_betascvi"].shape == (tiny_adata.n_obs, 3)
    assert tiny_adata.uns["betascvi"]["X_betascvi"] == {
        "axes": ["batch_1", "batch_2", "free_1"],
        "blocks": {"batch": [0, 2], "free": [2, 3]},
    }


def test_what_is_written_survives_a_file_and_is_read_by_the_tools(model, tiny_adata, tmp_path):
    embed(model, tiny_adata)

    tiny_adata.write_h5ad(tmp_path / "atlas.h5ad")
    read = embedding_of(anndata.read_h5ad(tmp_path / "atlas.h5ad"), "X_betascvi")

    assert read.axes == ("free_1", "free_2", "free_3", "free_4")
    assert read.blocks == {"free": slice(0, 4)}


def test_other_cells_are_embedded_into_their_own_anndata(model, tiny_adata):
    others = tiny_adata[:50].copy()

    embed(model, others)

    assert others.obsm["X_betascvi"].shape == (50, 4)
    assert "X_betascvi" not in tiny_adata.obsm


def test_an_unknown_block_is_refused_and_nothing_is_written(model, tiny_adata):
    with pytest.raises(KeyError, match="no block 'batch'"):
        embed(model, tiny_adata, drop="batch")

    assert "X_betascvi" not in tiny_adata.obsm
    assert "betascvi" not in tiny_adata.uns


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_scanpy_s_neighbours_umap_and_leiden_run_on_it(model, tiny_adata):
    embed(model, tiny_adata)

    sc.pp.neighbors(tiny_adata, use_rep="X_betascvi")
    sc.tl.umap(tiny_adata)
    sc.tl.leiden(tiny_adata, flavor="igraph", n_iterations=2, directed=False)

    assert tiny_adata.obsm["X_umap"].shape == (tiny_adata.n_obs, 2)
    assert tiny_adata.obs["leiden"].nunique() > 1
