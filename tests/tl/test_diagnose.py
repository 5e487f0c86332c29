from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from betascvi import BetaSCVI
from betascvi._errors import TrainingError
from betascvi.model._sigmas import sigma_verdict_of
from betascvi.objectives import LVAE, BetaVAE
from betascvi.tl import diagnose

_QUICK = {"accelerator": "cpu", "enable_progress_bar": False, "log_every_n_steps": 1}


def _trained(adata, beta, max_epochs, train_size=0.8, setup=None, **arguments):
    adata = adata.copy()
    BetaSCVI.setup_anndata(adata, layer="counts", **(setup or {}))
    torch.manual_seed(0)  # of the first weights too
    model = BetaSCVI(adata, n_latent=4, n_hidden=32, objective=BetaVAE(beta=beta), **arguments)
    model.train(
        max_epochs=max_epochs, train_size=train_size, batch_size=64,
        plan_kwargs={"lr": 5e-3}, **_QUICK,
    )  # fmt: skip
    return model


@pytest.fixture(scope="module")
def alive(tiny_source):
    return _trained(tiny_source, beta=1.0, max_epochs=60)


@pytest.fixture(scope="module")
def diagnosis(alive):
    return diagnose(alive)


def test_a_healthy_model_has_no_problem_and_a_balanced_regime(diagnosis):
    assert diagnosis.regime == "balanced"
    assert diagnosis.problems == ()
    assert diagnosis.train.gain > 0
    assert diagnosis.n_active >= 1


def test_rate_of_the_axes_is_the_rate_of_the_identity(diagnosis):
    identity = diagnosis.identity

    assert diagnosis.axes.kl.sum() == pytest.approx(identity.rate, rel=1e-6)
    assert identity.information + identity.gap == pytest.approx(identity.rate, abs=1e-9)
    assert identity.n_cells == 320


def test_elbo_is_the_model_s_own(alive, diagnosis):
    assert diagnosis.train.elbo == pytest.approx(
        float(alive.get_elbo(indices=alive.train_indices)), rel=5e-3
    )
    assert diagnosis.generalisation_gap == diagnosis.train.elbo - diagnosis.held_out.elbo


def test_the_record_reads_as_sentences_and_as_a_frame(diagnosis):
    text, frame = str(diagnosis), diagnosis.to_frame()

    assert frame["axis"].tolist() == ["free_1", "free_2", "free_3", "free_4"]
    assert f"{diagnosis.n_active} of 4 active units" in text
    assert "I(x;z) cannot pass log N = 5.77" in text
    assert "problem     none" in text
    assert diagnosis.figures()["weight_kl"] == 1.0


def test_the_decoder_listens_more_to_axes_that_carry_more(diagnosis):
    axes = diagnosis.axes

    # two axes may carry the same, to a hundredth of a nat
    assert np.corrcoef(axes.sensitivity, axes.kl)[0, 1] > 0.5
    assert np.all(axes.sensitivity >= 0)


def test_the_same_seed_gives_the_same_figures(alive, diagnosis):
    again = diagnose(alive)

    assert again.identity == diagnosis.identity
    np.testing.assert_array_equal(again.axes.sensitivity, diagnosis.axes.sensitivity)


def test_training_is_silent_when_nothing_is_wrong_and_names_the_axes_when_it_is(
    tiny_source, caplog
):
    with caplog.at_level(logging.WARNING, logger="betascvi"):
        _trained(tiny_source, beta=1.0, max_epochs=30)
        assert caplog.messages == []
        _trained(tiny_source, beta=1000.0, max_epochs=30)

    (message,) = caplog.messages
    assert message.startswith("collapse: axes 1, 2, 3, 4 carry < 0.01 nat")


def test_a_collapsed_model_is_diagnosed_by_name(tiny_source):
    found = diagnose(_trained(tiny_source, beta=1000.0, max_epochs=30))

    assert found.regime == "noise"
    assert found.n_active == 0
    assert "axes free_1, free_2, free_3, free_4 carry < 0.01 nat" in found.problems[0]
    assert found.identity.information == pytest.approx(0.0, abs=0.01)


def test_beta_of_zero_makes_islands(tiny_source):
    found = diagnose(_trained(tiny_source, beta=0.0, max_epochs=150))

    assert found.identity.overlap < 0.1
    assert found.regime == "islands"
    assert found.problems[0].startswith("islands:")


def test_each_cell_is_decoded_in_its_own_covariates(tiny_source):
    adata = tiny_source.copy()
    adata.obs["depth"] = np.log(np.asarray(adata.layers["counts"].sum(1)).ravel())
    setup = {
        "batch_key": "batch",
        "categorical_covariate_keys": ["donor"],
        "continuous_covariate_keys": ["depth"],
    }

    found = diagnose(_trained(adata, beta=1.0, max_epochs=2, setup=setup))

    assert np.isfinite(list(found.figures().values())).all()


@pytest.mark.parametrize("likelihood", ["zinb", "poisson", "normal"])
def test_every_likelihood_has_its_gene_means_to_beat(tiny_source, likelihood):
    found = diagnose(_trained(tiny_source, 1.0, max_epochs=2, gene_likelihood=likelihood))

    assert np.isfinite(found.train.null_distortion)


def test_models_of_an_embedding_are_diagnosed_in_their_own_units(tiny_source):
    adata = tiny_source.copy()
    rng = np.random.default_rng(0)
    adata.obsm["X_axes"] = rng.normal(size=(400, 2)) @ rng.normal(size=(2, 12)) + 0.1
    BetaSCVI.setup_anndata(adata, obsm_key="X_axes")
    model = BetaSCVI(adata, n_latent=3, n_hidden=32)
    model.train(max_epochs=2, **_QUICK)

    found = diagnose(model)

    assert np.isfinite(found.train.null_distortion)


def test_without_held_out_cells_there_is_no_gap(tiny_source):
    found = diagnose(_trained(tiny_source, 1.0, max_epochs=1, train_size=1.0))

    assert found.held_out is None
    assert np.isnan(found.generalisation_gap)
    assert "train_size=0.9 holds some out" in str(found)


def test_a_model_that_was_not_trained_is_refused(tiny_source):
    adata = tiny_source.copy()
    BetaSCVI.setup_anndata(adata, layer="counts")

    with pytest.raises(TrainingError, match=r"call model.train\(\) first"):
        diagnose(BetaSCVI(adata))


def _l_vae(adata, **settings):
    adata = adata.copy()
    BetaSCVI.setup_anndata(adata, layer="counts")
    torch.manual_seed(0)
    model = BetaSCVI(adata, n_latent=3, n_hidden=16, objective=LVAE(**settings))
    plan = {"lr": 5e-3, "state_lr": 0.1}
    model.train(max_epochs=40, batch_size=64, train_size=0.9, plan_kwargs=plan, **_QUICK)
    return diagnose(model)


@pytest.mark.parametrize("per_axis", [False, True], ids=["one sigma", "one sigma an axis"])
def test_learned_sigmas_get_a_verdict(tiny_source, per_axis):
    found = _l_vae(tiny_source, per_axis=per_axis)

    assert found.verdicts[0].startswith("sigmas ")
    assert not any("sigma_explodes" in problem for problem in found.problems)
    assert found.weights["realised_beta"] > 0


def test_sigmas_without_the_sum_of_squares_explode_and_are_a_problem(tiny_source):
    with pytest.warns(UserWarning, match="sigma_explodes"):
        found = _l_vae(tiny_source, sum_of_squares=False)

    assert "sigmas diverging" in found.verdicts[0]
    assert any(problem.startswith("sigma_explodes:") for problem in found.problems)


def test_objectives_without_sigmas_have_no_verdict(diagnosis):
    assert diagnosis.verdicts == ()


def test_cells_that_the_model_was_not_trained_on_are_no_training_cells(alive, tmp_path):
    alive.save(str(tmp_path / "model"), overwrite=True)
    others = alive.adata[::-1].copy()

    with pytest.raises(ValueError, match="cells that the model was trained on"):
        diagnose(BetaSCVI.load(str(tmp_path / "model"), adata=others))


def test_the_law_of_the_sigmas_is_that_of_the_axes_that_are_weighed(tiny_source):
    adata = tiny_source.copy()
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["condition"])
    model = BetaSCVI(adata, n_latent=4, n_hidden=32, objective=LVAE(), anchors=["condition"])
    model.train(max_epochs=6, **_QUICK)

    verdict = sigma_verdict_of(model.module.objective, model.history)

    last = {name: model.history[name].iloc[-2:, 0].astype(float) for name in
            ("kl_train", "kl_local_train", "reconstruction_loss_train")}  # fmt: skip
    objective = model.module.objective
    law = np.sqrt(
        objective.a * last["reconstruction_loss_train"] / (last["kl_train"] + objective.epsilon)
    )
    assert verdict.expected_beta_hat == pytest.approx(law.mean(), rel=1e-3)
    assert not np.allclose(last["kl_train"], last["kl_local_train"])


def test_elbo_and_distortion_are_of_the_draws_of_the_seed(alive, diagnosis):
    torch.manual_seed(5)
    again = diagnose(alive)

    assert again.train == diagnosis.train
    assert again.held_out == diagnosis.held_out


def test_a_batch_that_is_held_out_whole_is_judged_by_the_means_of_all(tiny_source):
    adata = tiny_source.copy()
    adata.obs["plate"] = np.where(np.arange(adata.n_obs) < adata.n_obs - 6, "a", "z")
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="plate")
    model = BetaSCVI(adata, n_latent=3, n_hidden=16)
    cells = np.arange(adata.n_obs)
    split = {"external_indexing": [cells[:-6], cells[-6:]]}
    model.train(max_epochs=2, datasplitter_kwargs=split, **_QUICK)

    found = diagnose(model)

    assert np.isfinite(found.held_out.null_distortion)


def test_size_factors_leave_the_sensitivity_on_the_scale_of_10_000_counts(tiny_source):
    adata = tiny_source.copy()
    totals = np.asarray(adata.layers["counts"].sum(1)).ravel()
    adata.obs["size"] = totals / totals.mean()
    model = _trained(adata, 1.0, max_epochs=20, setup={"size_factor_key": "size"})
    plain = _trained(adata, 1.0, max_epochs=20)

    # as a factor of 10,000 in place of a sum it would be as wide as log counts of a giant
    assert diagnose(model).spread == pytest.approx(diagnose(plain).spread, rel=0.4)
