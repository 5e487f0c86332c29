"""Named blocks in a model: what they promise whatever the training was like."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scvi
import torch
from anndata import AnnData
from scvi.data._constants import ADATA_MINIFY_TYPE

from betascvi import Anchor, BetaSCVI, Factor, pyro, tl
from betascvi._errors import FactorError, NotIdentifiableError, UnknownFactorError
from betascvi.objectives import OBJECTIVES

FACTORS: dict[str, Any] = {
    "factor_keys": ["cell_type", "condition", "batch", "donor", "age",
                    Factor("phase_angle", "circular")],
}  # fmt: skip
ANCHORS = ("condition", "batch", "age", Anchor("phase_angle"))
BLOCKS = {
    "condition": slice(0, 1),
    "batch": slice(1, 3),
    "age": slice(3, 4),
    "phase_angle": slice(4, 6),
    "free": slice(6, 10),
}


@pytest.fixture(scope="module")
def anchored(make_model: Callable[..., BetaSCVI], quick: dict[str, Any]) -> BetaSCVI:
    """Trained for a moment; ask it, never change it."""
    model = make_model(FACTORS, anchors=ANCHORS)
    model.train(**quick | {"max_epochs": 4, "train_size": 0.8})
    return model


def without_labels(adata: AnnData) -> AnnData:
    cells = adata.copy()
    for name in ("condition", "batch", "age", "phase_angle"):
        del cells.obs[name]
    return cells


def test_blocks_come_first_in_the_order_given_and_n_latent_counts_the_free_axes(
    anchored: BetaSCVI,
) -> None:
    assert anchored.blocks == BLOCKS
    assert list(anchored.blocks) == list(BLOCKS)
    assert anchored.module.n_latent == 10
    assert anchored.get_latent_representation().shape[1] == 10
    assert anchored.axis_names[:6] == [
        "condition", "batch_1", "batch_2", "age", "phase_angle_1", "phase_angle_2",
    ]  # fmt: skip


def test_blocks_are_kept_or_dropped_by_name(anchored: BetaSCVI) -> None:
    z = anchored.get_latent_representation()

    np.testing.assert_array_equal(anchored.get_latent_representation(blocks="batch"), z[:, 1:3])
    np.testing.assert_array_equal(
        anchored.get_latent_representation(drop=["batch", "age"]), z[:, [0, 4, 5, 6, 7, 8, 9]]
    )


def test_embed_writes_the_names_of_blocks_and_axes(anchored: BetaSCVI, adata: AnnData) -> None:
    tl.embed(anchored, adata, drop="batch")

    about = adata.uns["betascvi"]["X_betascvi"]
    assert about["blocks"] == {
        "condition": [0, 1], "age": [1, 2], "phase_angle": [2, 4], "free": [4, 8],
    }  # fmt: skip
    assert about["axes"][:2] == ["condition", "age"]


def test_cells_are_encoded_the_same_with_labels_and_without(
    anchored: BetaSCVI, adata: AnnData
) -> None:
    labelled = anchored.get_latent_representation(adata)

    unlabelled = anchored.get_latent_representation(without_labels(adata))

    np.testing.assert_array_equal(unlabelled, labelled)


def test_a_model_without_anchors_is_what_it_was(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    latents = []
    for anchors in ({}, {"anchors": None}, {"anchors": []}):
        scvi.settings.seed = 0
        model = make_model(FACTORS, **anchors)
        model.train(**quick)
        assert model.blocks == {"free": slice(0, 4)}
        assert "anchored" not in " ".join(model.module.state_dict())
        latents.append(model.get_latent_representation())

    np.testing.assert_array_equal(latents[1], latents[0])
    np.testing.assert_array_equal(latents[2], latents[0])


def test_every_term_of_the_blocks_is_in_the_history_raw_beside_its_weight(
    anchored: BetaSCVI,
) -> None:
    history = anchored.history
    for name in ("condition", "batch"):
        for term in ("kl", "cross_entropy", "mmd"):
            assert np.isfinite(history[f"{name}_{term}_train"].to_numpy(dtype=float)).all()
    assert history["condition_mmd_weight"].iloc[-1, 0] == Anchor("condition").mmd
    assert "age_cross_entropy_train" not in history
    parts = [k.removesuffix("_weight") for k in history if k.endswith("_weight")]
    total = history["reconstruction_loss_train"].iloc[:, 0].to_numpy(dtype=float) + sum(
        history[f"{p}_train"].iloc[:, 0].to_numpy(dtype=float)
        * history[f"{p}_weight"].iloc[:, 0].to_numpy(dtype=float)
        for p in parts
    )
    np.testing.assert_allclose(
        total, history["train_loss"].iloc[:, 0].to_numpy(dtype=float), rtol=1e-3
    )


@pytest.mark.parametrize(
    ("key", "columns"),
    [
        ("condition", ["ctrl", "stim"]),
        ("age", ["mean", "sd"]),
        ("phase_angle", ["angle", "concentration"]),
    ],
)
def test_a_factor_is_predicted_from_counts_alone(
    anchored: BetaSCVI, adata: AnnData, key: str, columns: list[str]
) -> None:
    levels = list(adata.obs["condition"].cat.categories)

    frame = anchored.predict_factor(without_labels(adata), key)

    assert list(frame.columns) == (levels if key == "condition" else columns)
    assert list(frame.index) == list(adata.obs_names)
    assert np.isfinite(frame.to_numpy()).all()
    if key == "condition":
        np.testing.assert_allclose(frame.sum(axis=1), 1.0, rtol=1e-5)
    if key == "age":
        assert (frame["sd"] > 0).all()
    pd.testing.assert_frame_equal(anchored.predict_factor(adata, key), frame)


def test_what_is_not_anchored_cannot_be_predicted(anchored: BetaSCVI) -> None:
    with pytest.raises(UnknownFactorError, match="'donor' is not anchored"):
        anchored.predict_factor(anchored.adata, "donor")


def test_it_is_saved_and_comes_back_the_same(anchored: BetaSCVI, tmp_path: Path) -> None:
    anchored.save(tmp_path / "model")

    cells = without_labels(anchored.adata)
    again = BetaSCVI.load(tmp_path / "model", adata=cells, accelerator="cpu")

    assert again.blocks == BLOCKS
    np.testing.assert_array_equal(
        again.get_latent_representation(), anchored.get_latent_representation()
    )
    pd.testing.assert_frame_equal(
        again.predict_factor(cells, "batch"), anchored.predict_factor(anchored.adata, "batch")
    )


def test_query_cells_without_labels_are_mapped_and_trained(
    anchored: BetaSCVI, adata: AnnData, quick: dict[str, Any]
) -> None:
    query = without_labels(adata[:50])

    model = BetaSCVI.load_query_data(query, anchored, accelerator="cpu")
    model.train(**quick, plan_kwargs={"weight_decay": 0.0})

    assert model.blocks == BLOCKS
    assert np.isfinite(model.predict_factor(query, "condition").to_numpy()).all()


def test_a_new_batch_is_query_mapping_where_the_decoder_is_conditioned_on_it(
    make_model: Callable[..., BetaSCVI], adata: AnnData, quick: dict[str, Any]
) -> None:
    setup = {"batch_key": "batch", "factor_keys": ["condition"]}
    reference = make_model(setup, anchors=["condition"])
    reference.train(**quick)
    query = adata[:50].copy()
    query.obs["batch"] = "new"
    del query.obs["condition"]

    model = BetaSCVI.load_query_data(query, reference, accelerator="cpu")

    assert model.module.n_batch == reference.module.n_batch + 1
    assert model.blocks == reference.blocks


@pytest.mark.filterwarnings("ignore:factor 'condition'")
def test_an_unseen_level_of_an_anchored_factor_is_refused_unless_it_counts_as_missing(
    anchored: BetaSCVI, adata: AnnData
) -> None:
    query = adata[:50].copy()
    query.obs["condition"] = "new"

    with pytest.raises(UnknownFactorError, match="unseen='missing'"):
        BetaSCVI.load_query_data(query.copy(), anchored, accelerator="cpu")
    model = BetaSCVI.load_query_data(query, anchored, accelerator="cpu", unseen="missing")

    assert model.blocks == BLOCKS


def test_minified_data_keep_the_latent(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model(FACTORS, anchors=ANCHORS)
    model.train(**quick)
    mean, variance = model.get_latent_representation(return_dist=True)
    model.adata.obsm["qzm"], model.adata.obsm["qzv"] = mean, variance

    model.minify_adata(
        ADATA_MINIFY_TYPE.LATENT_POSTERIOR_WITH_COUNTS,
        use_latent_qzm_key="qzm",
        use_latent_qzv_key="qzv",
    )

    np.testing.assert_allclose(model.get_latent_representation(), mean, rtol=1e-5, atol=1e-6)
    assert model.predict_factor(model.adata, "condition").shape == (120, 2)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_any_objective_takes_the_free_block(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], objective: str, likelihood: str
) -> None:
    model = make_model(
        FACTORS, anchors=["condition", "batch"], objective=objective, gene_likelihood=likelihood
    )

    model.train(**quick)

    assert np.isfinite(model.get_latent_representation()).all()
    assert np.isfinite(model.history["train_loss"].to_numpy(dtype=float)).all()


@pytest.mark.parametrize("likelihood", ["poisson", "normal"])
def test_any_likelihood_is_drawn_from_for_a_swap(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], likelihood: str
) -> None:
    model = make_model(FACTORS, anchors=["condition"], gene_likelihood=likelihood)

    model.train(**quick)

    assert model.history["swap_train"].iloc[-1, 0] > 0


def test_missing_labels_are_no_hindrance(source: AnnData, quick: dict[str, Any]) -> None:
    adata = source.copy()
    rng = np.random.default_rng(0)
    for name in ("condition", "batch", "age", "phase_angle"):
        adata.obs.loc[rng.random(adata.n_obs) < 0.7, name] = np.nan
    BetaSCVI.setup_anndata(adata, layer="counts", **FACTORS)
    model = BetaSCVI(adata, n_hidden=16, n_latent=4, anchors=ANCHORS)

    model.train(**quick)

    assert np.isfinite(model.history["train_loss"].to_numpy(dtype=float)).all()
    assert np.isfinite(model.predict_factor(adata, "condition").to_numpy()).all()


def test_nested_levels_are_predicted_within_their_parent(quick: dict[str, Any]) -> None:
    from betascvi.datasets import simulated_atlas

    adata = simulated_atlas(n_cells=150, n_genes=50, design="nested", seed=0)
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["batch", "donor"])
    model = BetaSCVI(adata, n_hidden=16, n_latent=3,
                     anchors=["batch", Anchor("donor", within="batch")])  # fmt: skip
    model.train(**quick)

    of_donor = model.predict_factor(adata, "donor")
    of_batch = model.predict_factor(adata, "batch")

    parent = adata.obs.groupby("donor", observed=True)["batch"].first().astype(str)
    summed = of_donor.T.groupby(parent.loc[of_donor.columns].to_numpy()).sum().T
    np.testing.assert_allclose(summed[of_batch.columns], of_batch, atol=1e-5)


@pytest.mark.parametrize("swap", [None, 0.0])
def test_a_parent_none_of_whose_cells_has_a_nested_label_is_trained(
    quick: dict[str, Any], swap: float | None
) -> None:
    from betascvi.datasets import simulated_atlas

    adata = simulated_atlas(n_cells=150, n_genes=50, design="nested", seed=0)
    unlabelled = (adata.obs["batch"] == "b0").to_numpy()
    adata.obs["donor"] = adata.obs["donor"].astype(object).mask(unlabelled)
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["batch", "donor"])
    settings = {} if swap is None else {"swap": swap}
    model = BetaSCVI(adata, n_hidden=16, n_latent=3,
                     anchors=["batch", Anchor("donor", within="batch", **settings)])  # fmt: skip

    model.train(**quick)

    assert np.isfinite(model.history["train_loss"].to_numpy(dtype=float)).all()
    of_donor = model.predict_factor(adata, "donor")
    np.testing.assert_allclose(of_donor.sum(axis=1), 1.0, atol=1e-5)


def test_diagnose_and_the_pyro_program_know_the_priors_of_blocks(anchored: BetaSCVI) -> None:
    diagnosis = tl.diagnose(anchored, n_cells=100)
    assert [*diagnosis.axes.names] == ["free_1", "free_2", "free_3", "free_4"]

    generative, _ = pyro.program(anchored)
    cells = pyro.tensors_of(anchored, indices=range(20))
    import pyro as ppl

    trace = ppl.poutine.trace(generative).get_trace(cells)
    z = trace.nodes["z"]["value"]
    torch.testing.assert_close(
        trace.nodes["z"]["fn"].log_prob(z), anchored.module.anchored.log_density(z)
    )


def test_the_evidence_of_counts_is_not_below_the_elbo_without_labels(anchored: BetaSCVI) -> None:
    cells = without_labels(anchored.adata)

    elbo = float(anchored.get_elbo(cells))
    evidence = np.asarray(
        anchored.get_marginal_ll(cells, n_mc_samples=50, return_mean=False)
    ).mean()

    assert evidence > elbo


def test_means_of_dead_free_axes_are_shown_at_their_prior_mean(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model(FACTORS, anchors=["condition"])
    model.train(**quick)
    model.dead_axes_ = (2,)

    mean, variance = model.get_latent_representation(return_dist=True)

    assert (mean[:, 2] == 0).all()
    assert (mean[:, [0, 1, 3, 4]] != 0).all()
    assert (variance[:, 2] > 0).all()
    assert (model.get_latent_representation(give_mean=False)[:, 2] != 0).any()


# ------------------------------------------------------------------ refusals


def test_an_anchor_that_is_not_registered_is_refused(make_model: Callable[..., BetaSCVI]) -> None:
    with pytest.raises(UnknownFactorError, match="not a registered factor"):
        make_model({}, anchors=["condition"])
    with pytest.raises(UnknownFactorError, match="'site' is not a registered factor"):
        make_model(FACTORS, anchors=["site"])


def test_importance_weights_are_under_the_prior_of_the_blocks(
    anchored: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scvi-tools' take a standard normal; here they are uniform, so that the ratio is left."""
    z = torch.as_tensor(anchored.get_latent_representation())[None]
    uniform = np.full(z.shape[1], 1.0 / z.shape[1], dtype=np.float32)
    monkeypatch.setattr(scvi.model.SCVI, "get_importance_weights", lambda *_, **__: uniform)

    def weights(*, truncation: bool) -> np.ndarray:
        return anchored.get_importance_weights(None, [0], None, None, z, truncation=truncation)  # type: ignore[arg-type]  # theirs are not asked

    assert anchored.module.anchored is not None
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    ratio = (anchored.module.anchored.log_density(z) - standard).exp()[0].numpy()
    np.testing.assert_allclose(weights(truncation=False), ratio / ratio.sum(), rtol=1e-4)
    raised = np.maximum(ratio, ratio.mean())
    np.testing.assert_allclose(weights(truncation=True), raised / raised.sum(), rtol=1e-4)


@pytest.mark.parametrize("how", ["latent_posterior_parameters_with_counts"])
def test_cells_minified_with_their_counts_train_a_model_with_blocks(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], how: str
) -> None:
    model = make_model(FACTORS, anchors=ANCHORS)
    model.train(**quick)
    mean, variance = model.get_latent_representation(return_dist=True)
    model.adata.obsm["Z"], model.adata.obsm["V"] = mean, variance
    model.minify_adata(how, "Z", "V")

    model.train(**quick)

    assert np.isfinite(model.history["train_loss"].to_numpy(dtype=float)).all()


def test_training_a_query_leaves_the_axes_that_its_reference_shows(
    make_model: Callable[..., BetaSCVI], adata: AnnData, quick: dict[str, Any]
) -> None:
    reference = make_model(
        {"factor_keys": ["condition"], "batch_key": "donor"}, anchors=["condition"]
    )
    reference.train(**quick)
    reference.dead_axes_ = (2,)
    query = adata[:60].copy()
    query.obs["donor"] = "a new one"
    mapped = BetaSCVI.load_query_data(query, reference)

    mapped.train(**quick)

    assert mapped.dead_axes_ == (2,)


@pytest.mark.filterwarnings("ignore:Save path contains no saved anndata")
def test_blocks_without_cells_to_lay_them_out_are_refused_in_words(
    anchored: BetaSCVI, tmp_path: Path
) -> None:
    anchored.save(tmp_path / "model", overwrite=True)

    with pytest.raises(ValueError, match="laid out by the labels of cells"):
        BetaSCVI.load(tmp_path / "model")


def test_a_confounded_design_is_refused_by_name_unless_accepted() -> None:
    from betascvi.datasets import simulated_atlas

    adata = simulated_atlas(n_cells=150, n_genes=40, design="confounded", seed=0)
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["condition", "batch"])

    with pytest.raises(NotIdentifiableError, match=r"condition.*batch"):
        BetaSCVI(adata, anchors=["condition", "batch"])
    with pytest.raises(NotIdentifiableError, match="condition and batch cannot be told apart"):
        BetaSCVI(adata, anchors=["condition"])
    model = BetaSCVI(adata, anchors=["batch", Anchor("condition", accept_confounding=True)])
    assert list(model.blocks) == ["batch", "condition", "free"]


@pytest.mark.parametrize(
    "setup", [{"batch_key": "batch"}, {"categorical_covariate_keys": ["batch"]}]
)
def test_a_condition_that_the_decoder_is_told_already_is_refused(setup: dict[str, Any]) -> None:
    from betascvi.datasets import simulated_atlas

    adata = simulated_atlas(n_cells=150, n_genes=40, design="confounded", seed=0)
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["condition"], **setup)

    with pytest.raises(NotIdentifiableError, match="condition and batch cannot be told apart"):
        BetaSCVI(adata, anchors=["condition"])
    BetaSCVI(adata, anchors=[Anchor("condition", accept_confounding=True)])


def test_a_nested_design_without_within_is_refused() -> None:
    from betascvi.datasets import simulated_atlas

    adata = simulated_atlas(n_cells=150, n_genes=40, design="nested", seed=0)
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["batch", "donor"])

    with pytest.raises(NotIdentifiableError, match="within='batch'"):
        BetaSCVI(adata, anchors=["batch", "donor"])


def test_more_levels_than_cells_allow_are_refused(source: AnnData) -> None:
    adata = source.copy()
    adata.obs["well"] = [f"w{i // 2}" for i in range(adata.n_obs)]
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["well"])

    with pytest.raises(FactorError, match="fewer than 3 cells"):
        BetaSCVI(adata, anchors=["well"])


def test_an_anchor_that_is_a_covariate_too_is_said_to_lose(
    make_model: Callable[..., BetaSCVI], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="betascvi"):
        make_model({"batch_key": "batch", "factor_keys": ["batch"]}, anchors=["batch"])

    assert "the covariate wins" in caplog.text


@pytest.mark.parametrize("unseen", ["refused", None])
def test_an_unknown_way_with_unseen_levels_is_refused(
    anchored: BetaSCVI, adata: AnnData, unseen: Any
) -> None:
    with pytest.raises(ValueError, match="unseen is 'refuse' or 'missing'"):
        BetaSCVI.load_query_data(adata, anchored, accelerator="cpu", unseen=unseen)


def test_angles_beyond_a_turn_are_wrapped_and_said(
    source: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    adata = source.copy()
    adata.obs["degrees"] = np.rad2deg(adata.obs["phase_angle"])

    with caplog.at_level(logging.WARNING, logger="betascvi"):
        BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=[Factor("degrees", "circular")])

    assert "wrapped" in caplog.text
