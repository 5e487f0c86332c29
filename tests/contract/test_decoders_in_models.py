"""The additive decoder in a model: likelihoods, covariates, query mapping, save and load, rates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scvi.data._constants import ADATA_MINIFY_TYPE

from betascvi import BetaSCVI
from betascvi.objectives import OBJECTIVES, BetaVAE
from betascvi.train import ObjectivePlan

if TYPE_CHECKING:
    from anndata import AnnData

QUICK: dict[str, Any] = {
    "max_epochs": 1, "batch_size": 40, "train_size": 0.8, "accelerator": "cpu",
    "enable_progress_bar": False,
}  # fmt: skip
POOLINGS = ["rate", "logit", "logsumexp"]
COVARIATES: dict[str, Any] = {
    "batch_key": "batch", "labels_key": "cell_type",
    "categorical_covariate_keys": ["condition"], "continuous_covariate_keys": ["phase_angle"],
}  # fmt: skip


def model_of(source: AnnData, setup: dict[str, Any] | None = None, **arguments: Any) -> BetaSCVI:
    adata = source[:120].copy()
    adata.obs["size"] = np.asarray(adata.X.sum(1)).ravel() / 50.0
    adata.obsm["X_pca"] = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32)
    BetaSCVI.setup_anndata(adata, **({"layer": "counts"} | (setup or {})))
    return BetaSCVI(adata, **{"n_latent": 3, "n_hidden": 16, "decoder": "additive", **arguments})


def trained(source: AnnData, setup: dict[str, Any] | None = None, **arguments: Any) -> BetaSCVI:
    model = model_of(source, setup, **arguments)
    model.train(**QUICK)
    return model


@pytest.mark.parametrize("dispersion", ["gene", "gene-batch", "gene-label", "gene-cell"])
@pytest.mark.parametrize("likelihood", ["nb", "zinb", "poisson", "normal"])
def test_every_likelihood_and_dispersion_trains_with_every_covariate(
    tiny_source: AnnData, likelihood: str, dispersion: str
) -> None:
    model = trained(tiny_source, COVARIATES, gene_likelihood=likelihood, dispersion=dispersion)

    expression = model.get_normalized_expression(library_size=1e4, return_numpy=True)
    np.testing.assert_allclose(expression.sum(1), 1e4, rtol=1e-3)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("extra", [
    {}, {"batch_representation": "embedding"}, {"encode_covariates": True},
])  # fmt: skip
def test_every_parameter_gets_a_gradient(
    tiny_source: AnnData, pooling: str, extra: dict[str, Any]
) -> None:
    setup = {**COVARIATES, "size_factor_key": "size"}
    options = {"extra_decoder_kwargs": {"pooling": pooling}}
    model = model_of(tiny_source, setup, **options, **extra)
    batch = next(iter(model._make_data_loader(model.adata, batch_size=40)))

    model.module.train()(batch)[2].loss.backward()

    assert [n for n, p in model.module.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_it(tiny_source: AnnData, objective: str) -> None:
    model = trained(tiny_source, {"batch_key": "batch"}, objective=objective)

    assert np.isfinite(model.history["train_loss"].to_numpy(dtype=float)).all()


def test_a_pca_is_modelled_by_values_that_add(tiny_source: AnnData) -> None:
    model = model_of(tiny_source, {"layer": None, "obsm_key": "X_pca"})
    at_origin = model.module.decoder(torch.zeros(1, 3), torch.zeros(1, 1)).logits

    expected = model.adata.obsm["X_pca"].mean(0)
    np.testing.assert_allclose(at_origin.detach()[0], expected, atol=1e-5)
    model.train(**QUICK)
    assert np.isfinite(float(model.get_elbo()))


def test_the_start_is_the_mean_profile_of_the_cells(tiny_source: AnnData) -> None:
    model = model_of(tiny_source)
    model.is_trained_ = True

    profile = model.decode(np.zeros((1, 3)), library_size=1.0)[0]

    total = np.asarray(model.adata.layers["counts"].sum(0)).ravel()
    seen = total > 0
    np.testing.assert_allclose(profile[seen], total[seen] / total.sum(), rtol=0.02)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_saved_model_comes_back_as_it_was(
    tiny_source: AnnData, pooling: str, tmp_path: Path
) -> None:
    options = {"pooling": pooling, "learning_rate": 0.02}
    model = trained(tiny_source, COVARIATES, extra_decoder_kwargs=options)
    model.save(tmp_path / "model")

    again = BetaSCVI.load(tmp_path / "model", adata=model.adata.copy(), accelerator="cpu")

    z, at = model.get_latent_representation(), {"phase_angle": 1.0}
    assert again.module.decoder.settings == model.module.decoder.settings
    np.testing.assert_allclose(again.decode(z, at), model.decode(z, at), rtol=1e-5, atol=1e-4)


def test_a_model_is_loaded_without_cells(tiny_source: AnnData, tmp_path: Path) -> None:
    model = trained(tiny_source)
    model.save(tmp_path / "model")

    again = BetaSCVI.load(tmp_path / "model", adata=False, accelerator="cpu")

    np.testing.assert_allclose(again.decode(np.ones((1, 3))), model.decode(np.ones((1, 3))))


@pytest.mark.parametrize("setup", [{"batch_key": "batch"}, COVARIATES], ids=["batch", "all"])
def test_a_new_batch_trains_its_own_shift_and_nothing_else(
    tiny_source: AnnData, setup: dict[str, Any]
) -> None:
    reference = trained(tiny_source, setup)
    query = tiny_source[:30].copy()
    query.obs["batch"] = "new"
    model = BetaSCVI.load_query_data(query, reference, accelerator="cpu")
    n_known = reference.module.n_batch
    before = {k: v.clone() for k, v in model.module.decoder.state_dict().items()}

    model.train(**QUICK, plan_kwargs={"weight_decay": 0.0})

    after = model.module.decoder.state_dict()
    moved = [k for k, v in before.items() if not torch.equal(after[k], v)]
    assert moved == ["shift.fc_layers.0.weight"]
    columns = (after[moved[0]] != before[moved[0]]).any(0)
    assert columns[n_known]
    assert not columns[:n_known].any()
    assert np.isfinite(model.get_latent_representation()).all()


def test_a_reference_without_batches_takes_a_query(tiny_source: AnnData) -> None:
    reference = trained(tiny_source)

    model = BetaSCVI.load_query_data(tiny_source[:30].copy(), reference, accelerator="cpu")

    model.is_trained_ = True
    assert model.get_latent_representation().shape == (30, 3)


def test_minified_data_decode_as_before(tiny_source: AnnData) -> None:
    model = trained(tiny_source, {"batch_key": "batch"})
    mean, variance = model.get_latent_representation(return_dist=True)
    before = model.decode(mean)
    model.adata.obsm["qzm"], model.adata.obsm["qzv"] = mean, variance

    model.minify_adata(
        ADATA_MINIFY_TYPE.LATENT_POSTERIOR, use_latent_qzm_key="qzm", use_latent_qzv_key="qzv"
    )

    np.testing.assert_allclose(model.decode(mean), before, rtol=1e-5)


def test_programs_learn_at_their_own_rate_and_networks_at_the_plans(tiny_source: AnnData) -> None:
    module = model_of(tiny_source, setup=COVARIATES).module
    plan = ObjectivePlan(module, lr=2e-3)

    groups = plan.configure_optimizers()["optimizer"].param_groups

    # what a batch or a number adds to a gene's logarithm is of the kind of the profiles
    own = {id(p) for p in (*module.decoder.shift.parameters(), module.decoder.pool.profiles)}
    assert len(own) == 4
    rate_of = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rate for p, rate in rate_of.items() if p in own} == {1e-2}
    assert {rate for p, rate in rate_of.items() if p not in own} == {2e-3}
    assert len(rate_of) == len(list(module.parameters()))


def test_a_second_training_goes_on_from_the_profiles_it_has(tiny_source: AnnData) -> None:
    model = trained(tiny_source)
    before = model.module.decoder.shift.log_profile.detach().clone()

    model.train(**QUICK, plan_kwargs={"lr": 1e-12})

    after = model.module.decoder.shift.log_profile.detach()
    assert float((after - before).abs().max()) < 0.2


def test_more_axes_than_genes_are_refused(tiny_source: AnnData) -> None:
    with pytest.raises(ValueError, match="n_latent=130 axes for 120 genes"):
        model_of(tiny_source, n_latent=130)


def test_more_axes_than_cells_are_refused_when_they_are_to_be_learned(
    tiny_source: AnnData,
) -> None:
    adata = tiny_source[:5].copy()
    BetaSCVI.setup_anndata(adata, layer="counts")
    model = BetaSCVI(adata, n_latent=8, decoder="additive")

    with pytest.raises(ValueError, match="n_latent=8 axes for 5 cells"):
        model.train(**QUICK)


def test_hundreds_of_levels_are_told_what_they_cost(
    tiny_source: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    adata = tiny_source.copy()
    adata.obs["plate"] = [f"p{i % 200}" for i in range(adata.n_obs)]
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="plate")

    with caplog.at_level("WARNING"):
        BetaSCVI(adata, decoder="additive")

    assert "200 levels" in caplog.text
    assert "million parameters" in caplog.text


def test_pooling_is_refused_where_rates_are_not_pooled(tiny_source: AnnData) -> None:
    with pytest.raises(ValueError, match="decoder='additive'"):
        model_of(tiny_source, decoder="joint", extra_decoder_kwargs={"pooling": "logit"})


def test_the_additive_decoder_learns_programs_that_an_axis_owns(tiny_source: AnnData) -> None:
    """A few epochs on counts with structure beat the gene means it started at."""
    model = model_of(tiny_source, objective=BetaVAE(beta=0.1))
    model.is_trained_ = True
    start = model.get_reconstruction_error()["reconstruction_loss"]

    model.train(**QUICK | {"max_epochs": 60})

    assert model.get_reconstruction_error()["reconstruction_loss"] < start - 1.0
