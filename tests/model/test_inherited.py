"""Everything an SCVI does, a BetaSCVI does: shapes, finite values, agreement with each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scvi.model import SCVI

import betascvi as bs
from betascvi import BetaSCVI

N_CELLS, N_GENES, N_LATENT = 120, 60, 4


def test_the_latent_has_a_row_a_cell_and_a_column_an_axis(fitted: BetaSCVI) -> None:
    z = fitted.get_latent_representation()

    assert z.shape == (N_CELLS, N_LATENT)
    assert np.isfinite(z).all()


def test_posterior_means_do_not_change_when_asked_twice(fitted: BetaSCVI) -> None:
    first, second = fitted.get_latent_representation(), fitted.get_latent_representation()

    np.testing.assert_array_equal(first, second)


def test_posterior_samples_scatter_around_the_means(fitted: BetaSCVI) -> None:
    mean, variance = fitted.get_latent_representation(return_dist=True)

    sample = fitted.get_latent_representation(give_mean=False)

    deviation = (sample - mean) / np.sqrt(variance)
    assert not np.array_equal(sample, mean)
    assert np.abs(deviation).max() < 6.0


def test_the_latent_of_some_cells_is_theirs_in_the_latent_of_all(fitted: BetaSCVI) -> None:
    some = [5, 2, 90]

    np.testing.assert_allclose(
        fitted.get_latent_representation(indices=some),
        fitted.get_latent_representation()[some],
        rtol=1e-5,
        atol=1e-6,
    )


def test_the_free_block_holds_every_axis_of_a_plain_model(fitted: BetaSCVI) -> None:
    assert fitted.blocks == {"free": slice(0, N_LATENT)}
    np.testing.assert_array_equal(
        fitted.get_latent_representation(blocks="free"), fitted.get_latent_representation()
    )


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"blocks": "fre"}, "did you mean 'free'"),
        ({"drop": "free"}, "no axis is left"),
        ({"blocks": "free", "drop": "free"}, "not both"),
    ],
    ids=["unknown", "nothing left", "both"],
)
def test_an_impossible_choice_of_blocks_is_refused(
    fitted: BetaSCVI, wish: dict[str, str], message: str
) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        fitted.get_latent_representation(**wish)


def test_axes_of_a_plain_model_are_numbered(fitted: BetaSCVI) -> None:
    assert fitted.axis_names == ["free_1", "free_2", "free_3", "free_4"]


def test_the_elbo_is_the_reconstruction_less_the_kl(fitted: BetaSCVI) -> None:
    mean, variance = fitted.get_latent_representation(return_dist=True)
    kl = 0.5 * (variance + mean**2 - 1.0 - np.log(variance)).sum(1).mean()

    # both draw their own sample of z: the reconstructions agree up to that
    elbo = float(fitted.get_elbo())
    reconstruction = float(fitted.get_reconstruction_error()["reconstruction_loss"])

    assert abs(elbo) == pytest.approx(abs(reconstruction) + kl, rel=0.02)


def test_importance_samples_bound_the_likelihood_no_lower_than_the_elbo(fitted: BetaSCVI) -> None:
    torch.manual_seed(0)

    elbo = -abs(float(fitted.get_elbo()))
    marginal = float(fitted.get_marginal_ll(n_mc_samples=60, n_mc_samples_per_pass=20))

    assert elbo <= marginal + 0.5
    assert marginal == pytest.approx(elbo, rel=0.1)


@pytest.mark.parametrize("per_pass", [1, 7])
def test_the_marginal_likelihood_does_not_depend_on_the_size_of_a_pass(
    fitted: BetaSCVI, per_pass: int
) -> None:
    wanted = float(fitted.get_marginal_ll(n_mc_samples=70, n_mc_samples_per_pass=35))

    got = float(fitted.get_marginal_ll(n_mc_samples=70, n_mc_samples_per_pass=per_pass))

    assert got == pytest.approx(wanted, rel=0.01)


def test_normalised_expression_adds_up_to_the_library_size_asked_for(fitted: BetaSCVI) -> None:
    expression = fitted.get_normalized_expression(library_size=1e4)

    assert isinstance(expression, pd.DataFrame)
    assert list(expression.columns) == list(fitted.adata.var_names)
    np.testing.assert_allclose(expression.sum(axis=1), 1e4, rtol=1e-4)


def test_normalised_expression_at_the_latent_library_is_the_expected_count(
    fitted: BetaSCVI,
) -> None:
    expression = fitted.get_normalized_expression(library_size="latent", return_numpy=True)

    totals = np.asarray(fitted.adata.layers["counts"].sum(1)).ravel()
    np.testing.assert_allclose(expression.sum(1), totals, rtol=1e-4)


def test_normalised_expression_can_be_averaged_over_batches_and_samples(fitted: BetaSCVI) -> None:
    expression = fitted.get_normalized_expression(
        transform_batch=list(fitted.adata.obs["batch"].cat.categories[:2]),
        n_samples=3,
        gene_list=list(fitted.adata.var_names[:5]),
        indices=range(10),
    )

    assert expression.shape == (10, 5)
    assert (expression.to_numpy() > 0).all()


def test_differential_expression_ranks_every_gene(fitted: BetaSCVI) -> None:
    types = fitted.adata.obs["cell_type"].cat.categories

    table = fitted.differential_expression(
        groupby="cell_type", group1=types[0], group2=types[1], silent=True
    )

    assert sorted(table.index) == sorted(fitted.adata.var_names)
    assert np.isfinite(table["bayes_factor"]).all()


def test_differential_expression_corrects_for_batches(fitted: BetaSCVI) -> None:
    types = fitted.adata.obs["cell_type"].cat.categories

    table = fitted.differential_expression(
        groupby="cell_type", group1=types[0], batch_correction=True, mode="change", silent=True
    )

    assert np.isfinite(table["lfc_mean"]).all()


@pytest.mark.parametrize("n_samples", [1, 3])
def test_posterior_predictive_samples_are_counts(fitted: BetaSCVI, n_samples: int) -> None:
    samples = fitted.posterior_predictive_sample(n_samples=n_samples, indices=range(20))

    values = samples.todense()
    assert values.shape == ((20, N_GENES) if n_samples == 1 else (20, N_GENES, n_samples))
    assert (values >= 0).all()
    assert (values == np.round(values)).all()


@pytest.mark.parametrize("likelihood", ["nb", "zinb", "poisson", "normal"])
def test_likelihood_parameters_and_samples_come_for_every_likelihood(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], likelihood: str
) -> None:
    model = make_model({"batch_key": "batch"}, gene_likelihood=likelihood)
    model.train(**quick)

    samples = model.posterior_predictive_sample(n_samples=2, indices=range(5)).todense()

    assert samples.shape == (5, N_GENES, 2)
    assert np.isfinite(model.get_marginal_ll(n_mc_samples=4))
    assert np.isfinite(model.get_normalized_expression(return_numpy=True)).all()


def test_likelihood_parameters_are_those_of_a_negative_binomial(fitted: BetaSCVI) -> None:
    parameters = fitted.get_likelihood_parameters()

    assert set(parameters) == {"mean", "dispersions"}
    assert parameters["mean"].shape == (N_CELLS, N_GENES)
    assert (parameters["dispersions"] > 0).all()


def test_gene_correlations_of_predictive_samples_are_correlations(fitted: BetaSCVI) -> None:
    matrix = fitted.get_feature_correlation_matrix(n_samples=2, correlation_type="pearson")

    values = matrix.to_numpy()
    assert values.shape == (N_GENES, N_GENES)
    np.testing.assert_allclose(np.diag(values), 1.0, atol=1e-6)


def test_library_sizes_are_those_of_the_counts(fitted: BetaSCVI) -> None:
    totals = np.asarray(fitted.adata.layers["counts"].sum(1)).ravel()

    np.testing.assert_allclose(
        fitted.get_latent_library_size(give_mean=False).ravel(), totals, rtol=1e-4
    )


def test_the_aggregated_posterior_is_a_mixture_over_the_cells(fitted: BetaSCVI) -> None:
    mixture = fitted.get_aggregated_posterior(indices=np.arange(10))

    assert mixture.mixture_distribution.probs.shape[-1] == 10


def test_differential_abundance_scores_every_cell(fitted: BetaSCVI) -> None:
    scores = fitted.differential_abundance(sample_key="donor")

    frame = fitted.adata.obsm["da_log_probs"] if scores is None else scores
    assert frame.shape == (N_CELLS, fitted.adata.obs["donor"].nunique())


def test_the_history_has_scvi_tools_own_keys(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], adata: AnnData
) -> None:
    SCVI.setup_anndata(adata, layer="counts")
    theirs = SCVI(adata, n_hidden=16, n_latent=4)
    theirs.train(**quick, check_val_every_n_epoch=1)
    ours = make_model()

    ours.train(**quick, check_val_every_n_epoch=1)

    missing = set(theirs.history) - set(ours.history)
    # scvi-tools' weight of the KL belongs to the objective here, and bears its term's name
    assert missing <= {"kl_weight", "train_loss_step", "train_loss_epoch"}
    assert {"kl_train", "kl_validation", "kl_weight"} <= set(ours.history)


def test_the_history_is_a_frame_with_one_row_an_epoch(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model()

    model.train(**quick | {"max_epochs": 3}, check_val_every_n_epoch=1)

    lengths = {key: len(frame) for key, frame in model.history.items()}
    assert set(lengths.values()) == {3}


def test_the_elbo_of_the_history_is_that_of_the_model(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model(dropout_rate=0.0)

    model.train(**quick, check_val_every_n_epoch=1, train_size=0.5)

    recorded = float(model.history["elbo_validation"].iloc[-1, 0])
    # one draw of the latent a cell, of 60 cells: the two differ by a third of a percent by chance
    held_out = [abs(float(model.get_elbo(indices=model.validation_indices))) for _ in range(20)]
    assert recorded == pytest.approx(np.mean(held_out), rel=0.02)


def test_new_cells_with_known_covariates_are_encoded(fitted: BetaSCVI, adata: AnnData) -> None:
    new = adata[:30].copy()

    z = fitted.get_latent_representation(new)

    np.testing.assert_allclose(
        z, fitted.get_latent_representation(indices=range(30)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.filterwarnings("ignore:`?var_names")
@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda m, a: m.get_latent_representation(a), id="latent"),
        pytest.param(lambda m, a: m.get_normalized_expression(a), id="expression"),
        pytest.param(lambda m, a: m.get_elbo(a), id="elbo"),
        pytest.param(lambda m, a: bs.tl.embed(m, a), id="embed"),
        pytest.param(lambda m, a: BetaSCVI.load_query_data(a, m), id="query"),
    ],
)
def test_genes_in_another_order_are_refused(
    fitted: BetaSCVI, source: AnnData, ask: Callable[[BetaSCVI, AnnData], Any]
) -> None:
    with pytest.raises(ValueError, match=r"another order than the model's .*get_var_names"):
        ask(fitted, source[:, ::-1].copy())


def test_a_further_training_that_fails_leaves_the_model_as_a_user_is_shown_it(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model()
    model.train(**quick)

    with pytest.raises(RuntimeError, match="elbo_valid"):
        model.train(**quick, early_stopping=True, early_stopping_monitor="elbo_valid")

    assert not model.module.training
    first, again = (model.get_latent_representation() for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.filterwarnings("ignore:`?var_names")
def test_a_model_is_not_loaded_with_genes_in_another_order(
    fitted: BetaSCVI, source: AnnData, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model")

    with pytest.raises(ValueError, match="another order than the model's"):
        BetaSCVI.load(tmp_path / "model", adata=source[:, ::-1].copy())


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (np.array([True, False, True]), "a mask of 3 values"),
        ([], "no cell is chosen"),
        (["cell_1"], "get_indexer"),
        (slice(0, 3), "list of positions or a mask"),
        ([10**6], "indices go from 1000000"),
    ],
    ids=repr,
)
def test_indices_that_are_none_are_refused_in_words(
    fitted: BetaSCVI, indices: Any, message: str
) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        fitted.get_latent_representation(indices=indices)


def test_genes_of_other_names_are_taken_by_position_with_a_warning(
    fitted: BetaSCVI, source: AnnData
) -> None:
    renamed = source.copy()
    renamed.var_names = [f"ENSG{i}" for i in range(renamed.n_vars)]

    with pytest.warns(UserWarning, match="60 genes of adata have names that the model does not"):
        z = fitted.get_latent_representation(renamed)

    np.testing.assert_allclose(z, fitted.get_latent_representation(source.copy()), atol=1e-5)


def test_the_evidence_counts_every_cell_once(fitted: BetaSCVI) -> None:
    torch.manual_seed(0)
    each = fitted.get_marginal_ll(n_mc_samples=20, batch_size=100, return_mean=False)
    torch.manual_seed(0)

    mean = fitted.get_marginal_ll(n_mc_samples=20, batch_size=100)  # minibatches of 100 and 20

    assert mean == pytest.approx(float(each.mean()), rel=1e-6)


def test_a_last_pass_of_fewer_samples_is_no_gain(fitted: BetaSCVI) -> None:
    def evidence(**passes: int) -> float:
        torch.manual_seed(0)
        return float(fitted.get_marginal_ll(n_mc_samples=7, batch_size=200, **passes))

    whole = np.mean([evidence(n_mc_samples_per_pass=7) for _ in range(5)])

    assert evidence(n_mc_samples_per_pass=6) == pytest.approx(whole, abs=0.1)  # was log(12 / 7) up
    with pytest.raises(ValueError, match="n_mc_samples is a whole number from 1 up, got 0"):
        fitted.get_marginal_ll(n_mc_samples=0)


@pytest.mark.parametrize("method", ["get_likelihood_parameters", "get_feature_correlation_matrix"])
def test_figures_of_a_dispersion_are_refused_of_a_poisson(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], method: str
) -> None:
    model = make_model(gene_likelihood="poisson")
    model.train(**quick)

    with pytest.raises(ValueError, match="with a dispersion, and gene_likelihood is 'poisson'"):
        getattr(model, method)()
