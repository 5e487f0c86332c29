"""A Gaussian model of a PCA, from ``obsm`` to axes and back to genes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData

from betascvi import BetaSCVI
from betascvi._errors import FactorError


@pytest.fixture(scope="module")
def with_pca(source: AnnData) -> AnnData:
    adata = ad.AnnData(source.layers["counts"].copy(), obs=source.obs.copy(), var=source.var.copy())
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.pca(adata, n_comps=12)
    return adata


@pytest.fixture
def pca_adata(with_pca: AnnData) -> AnnData:
    return with_pca.copy()


@pytest.fixture
def trained(pca_adata: AnnData, quick: dict[str, Any]) -> BetaSCVI:
    BetaSCVI.setup_anndata(pca_adata, obsm_key="X_pca", batch_key="batch", factor_keys=["donor"])
    model = BetaSCVI(pca_adata, n_hidden=32, n_latent=6)
    model.train(**quick | {"max_epochs": 3})
    return model


def test_a_model_of_a_pca_trains_and_encodes(trained: BetaSCVI) -> None:
    assert trained.module.n_input == 12
    assert trained.module.gene_likelihood == "normal"
    assert np.isfinite(trained.get_latent_representation()).all()
    assert np.isfinite(float(trained.history["elbo_train"].iloc[-1, 0]))


def test_training_on_a_pca_lowers_the_loss(pca_adata: AnnData, quick: dict[str, Any]) -> None:
    BetaSCVI.setup_anndata(pca_adata, obsm_key="X_pca")
    model = BetaSCVI(pca_adata, n_hidden=32, n_latent=6)

    model.train(**quick | {"max_epochs": 40, "batch_size": 30})

    elbo = model.history["elbo_train"].iloc[:, 0].astype(float)
    assert elbo.iloc[-1] < elbo.iloc[0]


def test_decoding_a_model_of_a_pca_comes_back_to_genes(trained: BetaSCVI) -> None:
    mu = trained.decode(trained.get_latent_representation())

    assert mu.shape == (120, 60)
    # on the scale of the matrix the PCA was made of: log-normalised expression
    assert abs(mu.mean() - trained.adata.X.mean()) < 0.3


def test_decoded_genes_are_the_loadings_of_the_decoded_components(trained: BetaSCVI) -> None:
    import torch

    z = torch.zeros(1, 6)
    zeros = torch.zeros(1, 1, dtype=torch.long)
    components = np.mean(
        [
            trained.module.generative(z, zeros.float(), zeros + batch)["px"].mean.detach().numpy()
            for batch in range(trained.summary_stats.n_batch)
        ],
        axis=0,
    )
    by_hand = components @ trained.adata.varm["PCs"].T + np.asarray(trained.adata.X.mean(0))

    np.testing.assert_allclose(trained.decode(z.numpy()), by_hand, rtol=1e-3, atol=1e-4)


def test_the_reconstruction_of_all_components_is_the_matrix_itself(source: AnnData) -> None:
    from betascvi.data._loadings import find_loadings

    adata = ad.AnnData(np.log1p(source.layers["counts"].toarray()))
    sc.pp.pca(adata, n_comps=59)

    loadings = find_loadings(adata, "X_pca")

    assert loadings is not None
    residual = loadings.to_genes(adata.obsm["X_pca"]) - adata.X
    assert np.sqrt((residual**2).mean()) < 0.1 * adata.X.std()


def test_the_loadings_are_saved_with_the_model(trained: BetaSCVI, tmp_path: Path) -> None:
    trained.save(tmp_path / "model")

    again = BetaSCVI.load(tmp_path / "model", adata=trained.adata, accelerator="cpu")

    z = trained.get_latent_representation()
    np.testing.assert_array_equal(again.decode(z), trained.decode(z))


def test_new_cells_come_back_by_the_loadings_of_the_training(
    trained: BetaSCVI, with_pca: AnnData
) -> None:
    new = with_pca[:30].copy()
    del new.varm["PCs"]

    z = trained.get_latent_representation(new)

    np.testing.assert_allclose(z, trained.get_latent_representation(indices=range(30)), atol=1e-5)
    assert trained.decode(z).shape == (30, 60)


def test_a_query_of_a_model_of_a_pca_is_mapped(
    trained: BetaSCVI, with_pca: AnnData, quick: dict[str, Any]
) -> None:
    query = with_pca[:40].copy()
    query.obs["batch"] = "new"

    model = BetaSCVI.load_query_data(query, trained, accelerator="cpu")
    model.train(**quick)

    assert model.decode(model.get_latent_representation(), {"batch": "new"}).shape == (40, 60)


def test_an_embedding_without_loadings_decodes_to_its_own_axes(
    pca_adata: AnnData, quick: dict[str, Any]
) -> None:
    pca_adata.obsm["X_other"] = pca_adata.obsm["X_pca"][:, :7] * 2.0
    BetaSCVI.setup_anndata(pca_adata, obsm_key="X_other")
    model = BetaSCVI(pca_adata, n_hidden=16, n_latent=3)
    model.train(**quick)

    assert model.decode(np.zeros((2, 3))).shape == (2, 7)


def test_a_matrix_that_changed_since_its_pca_is_said_and_decodes_around_zero(
    pca_adata: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    pca_adata.X = pca_adata.X * 3.0

    with caplog.at_level("WARNING", logger="betascvi"):
        BetaSCVI.setup_anndata(pca_adata, obsm_key="X_pca")

    assert "no longer what" in caplog.text


def test_samples_of_a_model_of_a_pca_are_in_its_axes(trained: BetaSCVI) -> None:
    samples = trained.posterior_predictive_sample(n_samples=1, indices=range(5)).todense()

    assert samples.shape == (5, 12)


@pytest.mark.parametrize("dispersion", ["gene", "gene-batch", "gene-cell"])
def test_a_model_of_a_pca_takes_any_dispersion(
    pca_adata: AnnData, quick: dict[str, Any], dispersion: str
) -> None:
    BetaSCVI.setup_anndata(pca_adata, obsm_key="X_pca", batch_key="batch")
    model = BetaSCVI(pca_adata, n_hidden=16, n_latent=3, dispersion=dispersion)

    model.train(**quick)

    assert np.isfinite(model.get_marginal_ll(n_mc_samples=3))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"layer": "counts"}, "layer"), ({"size_factor_key": "size"}, "size_factor_key")],
    ids=["layer", "size factor"],
)
def test_an_embedding_and_counts_at_once_are_refused(
    pca_adata: AnnData, arguments: dict[str, str], name: str
) -> None:
    with pytest.raises(ValueError, match=rf"obsm_key='X_pca'.*{name}"):
        BetaSCVI.setup_anndata(pca_adata, obsm_key="X_pca", **arguments)


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_an_embedding_with_values_that_are_no_numbers_is_refused(
    pca_adata: AnnData, value: float
) -> None:
    pca_adata.obsm["X_pca"][3, 2] = value

    with pytest.raises((FactorError, ValueError), match="1 missing or infinite"):
        BetaSCVI.setup_anndata(pca_adata, obsm_key="X_pca")


def test_an_embedding_that_is_not_there_is_refused_with_those_that_are(
    pca_adata: AnnData,
) -> None:
    with pytest.raises(KeyError, match=r"X_pcaa.*X_pca"):
        BetaSCVI.setup_anndata(pca_adata, obsm_key="X_pcaa")


def test_a_frame_in_obsm_is_taken(pca_adata: AnnData, quick: dict[str, Any]) -> None:
    pca_adata.obsm["frame"] = pd.DataFrame(pca_adata.obsm["X_pca"], index=pca_adata.obs_names)
    BetaSCVI.setup_anndata(pca_adata, obsm_key="frame")
    model = BetaSCVI(pca_adata, n_hidden=16, n_latent=3)

    model.train(**quick)

    assert model.module.n_input == 12


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda m: m.get_normalized_expression(), id="expression"),
        pytest.param(lambda m: m.differential_expression(groupby="batch"), id="DE"),
        pytest.param(lambda m: m.get_likelihood_parameters(), id="parameters"),
        pytest.param(lambda m: m.get_feature_correlation_matrix(), id="correlation"),
    ],
)
def test_what_is_about_counts_is_refused_in_a_sentence(trained: BetaSCVI, ask: Any) -> None:
    with pytest.raises(ValueError, match=r"is about (counts of genes|the likelihood of counts)"):
        ask(trained)


@pytest.mark.parametrize("dispersion", ["gene", "gene-batch", "gene-cell"])
def test_standard_deviations_start_at_the_data_s_whatever_the_unit(
    pca_adata: AnnData, dispersion: str
) -> None:
    pca_adata.obsm["X_pca"] = 100.0 * pca_adata.obsm["X_pca"]
    BetaSCVI.setup_anndata(pca_adata, obsm_key="X_pca", batch_key="batch")

    module = BetaSCVI(pca_adata, n_hidden=16, n_latent=3, dispersion=dispersion).module

    start = module.px_r if dispersion != "gene-cell" else module.decoder.px_r_decoder.bias
    sd = np.exp(start.detach().numpy().reshape(12, -1))
    wanted = pca_adata.obsm["X_pca"].std(0)[:, None] / 2
    np.testing.assert_allclose(sd, np.broadcast_to(wanted, sd.shape), rtol=1e-3)
