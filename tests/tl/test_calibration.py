"""What a model misses of kinds seen on both sides is added where it predicts, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import betascvi as bs
from betascvi import BetaSCVI
from betascvi._errors import UnknownFactorError
from betascvi.model._predictive import Predictive, carried_mean, carry
from betascvi.tl._calibration import calibrated
from betascvi.tl._encoded import encode
from betascvi.tl._targets import targets_of

QUICK: dict[str, Any] = {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False}
STIM = {"condition": "stim"}

pytestmark = pytest.mark.filterwarnings("ignore:.*was never seen with", "ignore:.*end up farther")


@pytest.fixture(scope="module")
def atlas() -> AnnData:
    from betascvi.datasets import Levels, Sequencing, simulated_atlas

    adata = simulated_atlas(
        n_cells=1500, n_genes=80, seed=1, levels=Levels(n_cell_types=4, n_donors=2, n_batches=2),
        sequencing=Sequencing(counts_per_gene=5.0),
    )  # fmt: skip
    silent = adata.layers["counts"].tolil()
    silent[:, -1] = 0
    adata.layers["counts"] = silent.tocsr()
    return adata


@pytest.fixture(scope="module")
def is_new(atlas: AnnData) -> np.ndarray:
    return ((atlas.obs["cell_type"] == "type_0") & (atlas.obs["condition"] == "stim")).to_numpy()


@pytest.fixture(scope="module")
def model(atlas: AnnData, is_new: np.ndarray) -> BetaSCVI:
    """Has never seen type_0 stimulated, and has hardly learned what stimulation does."""
    training = atlas[~is_new].copy()
    training.obs["age"] = np.random.default_rng(0).normal(size=training.n_obs)
    BetaSCVI.setup_anndata(
        training, layer="counts", batch_key="batch", categorical_covariate_keys=["condition"],
        continuous_covariate_keys=["age"], factor_keys=["cell_type"],
    )  # fmt: skip
    fitted = BetaSCVI(training, n_hidden=16, n_latent=4)
    fitted.train(**QUICK)
    return fitted


def _cells(model: BetaSCVI, kind: str, condition: str) -> np.ndarray:
    """Training cells, not those kept aside."""
    assert model.adata is not None
    obs = model.adata.obs.iloc[np.sort(model.train_indices)]
    names = obs.index[(obs["cell_type"] == kind) & (obs["condition"] == condition)]
    return model.adata.obs_names.get_indexer(names)


def _shares(x: Any) -> np.ndarray:
    dense = np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float64)
    return (dense / dense.sum(1, keepdims=True)).mean(0)


def _change(found: AnnData) -> np.ndarray:
    """(genes,) log change of the mean, the few counts of a gene made up for."""
    after, before = _shares(found.X), _shares(found.layers["factual"])
    return np.asarray(np.log(after + 1e-4) - np.log(before + 1e-4))


@pytest.mark.parametrize("output", ["mean", "counts", "carried"])
def test_a_kind_seen_on_both_sides_changes_as_its_cells_did(model: BetaSCVI, output: Any) -> None:
    adata = model.adata
    start, end = (_cells(model, "type_2", condition) for condition in ("ctrl", "stim"))
    x = adata.layers["counts"]
    true = np.log(_shares(x[end]) + 1e-4) - np.log(_shares(x[start]) + 1e-4)

    plain, better = (
        _change(
            bs.tl.counterfactual(
                model, adata, STIM, start, output=output, calibrate_by=by
            ).to_anndata()
        )
        for by in (None, "cell_type")
    )

    missed = np.abs(plain - true).mean()
    assert missed > 0.2
    assert np.abs(better - true).mean() < 0.5 * missed  # totals stay: that costs a factor


@pytest.mark.parametrize("output", ["mean", "carried"])
def test_a_kind_never_seen_at_the_target_comes_nearer_to_its_change(
    model: BetaSCVI, atlas: AnnData, is_new: np.ndarray, output: Any
) -> None:
    x = atlas.layers["counts"]
    is_start = (atlas.obs["cell_type"] == "type_0").to_numpy() & ~is_new
    true = np.log(_shares(x[is_new]) + 1e-4) - np.log(_shares(x[is_start]) + 1e-4)
    start = atlas[is_start].copy()
    start.obs["age"] = 0.0

    plain, better = (
        _change(
            bs.tl.counterfactual(model, start, STIM, output=output, calibrate_by=by).to_anndata()
        )
        for by in (None, "cell_type")
    )

    assert np.abs(better - true).mean() < 0.8 * np.abs(plain - true).mean()


def _gains(model: BetaSCVI, changes: dict[str, Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """(cells, genes) logs of what expectations of the model's cells are multiplied by."""
    encoded = encode(model, model.adata, None)
    targets, notes = calibrated(encoded, targets_of(model, changes, encoded.cells), "cell_type",
                                carries=False)  # fmt: skip
    gain = targets.arms[0].gain
    assert gain is not None
    return np.log(gain.factors[gain.of_cell]), notes


def test_a_new_kind_takes_the_mean_of_the_others_the_nearer_ones_first(model: BetaSCVI) -> None:
    gains, notes = _gains(model, STIM)
    obs, encoded = model.adata.obs, encode(model, model.adata, None)
    starts, r = {}, {}
    for kind in ("type_0", "type_1", "type_2", "type_3"):
        is_start = ((obs["cell_type"] == kind) & (obs["condition"] == "ctrl")).to_numpy()
        rows = np.flatnonzero(is_start) if kind == "type_0" else _cells(model, kind, "ctrl")
        starts[kind] = np.log1p(1e4 * _shares(encoded.factual(encoded.mean, rows).mean))
        r[kind] = gains[np.flatnonzero(is_start)[0]]
    seen = ["type_1", "type_2", "type_3"]
    weights = np.array([np.sum((starts[k] - starts["type_0"]) ** 2) ** -1.0 for k in seen])

    expected = (weights / weights.sum()) @ np.stack([r[k] for k in seen])
    np.testing.assert_allclose(r["type_0"], expected, atol=1e-3)
    assert weights.max() > 1.2 * weights.min()  # or a plain mean would pass
    assert notes == (
        "calibrated by cell_type, seen on both sides: type_1, type_2, type_3; a mean of them for "
        "type_0.",
    )


def test_a_gene_without_counts_is_left_as_it_is(model: BetaSCVI) -> None:
    gains, _ = _gains(model, STIM)

    assert np.abs(gains).max() > 0.3
    assert np.abs(gains[:, -1]).max() < 0.05


def test_cells_kept_aside_from_training_say_nothing(model: BetaSCVI) -> None:
    before, _ = _gains(model, STIM)
    counts = model.adata.layers["counts"]
    kept = counts.copy()
    try:
        aside = counts.tolil()
        aside[model.validation_indices, :] = 7
        model.adata.layers["counts"] = aside.tocsr()
        rows = np.sort(model.train_indices)
        after, _ = _gains(model, STIM)
    finally:
        model.adata.layers["counts"] = kept

    # a new kind's weights see all of the cells that are asked about
    rows = rows[(model.adata.obs["cell_type"].iloc[rows] != "type_0").to_numpy()]
    np.testing.assert_array_equal(after[rows], before[rows])


@pytest.mark.parametrize("batch", ["b0", "b1"])
def test_two_factors_at_once_are_compared_at_both_and_from_where_each_cell_starts(
    model: BetaSCVI, batch: str
) -> None:
    obs, x = model.adata.obs, model.adata.layers["counts"]
    trained = np.zeros(len(obs), dtype=bool)
    trained[model.train_indices] = True
    of_type = trained & (obs["cell_type"] == "type_2").to_numpy()
    start = of_type & ((obs["condition"] == "ctrl") & (obs["batch"] == batch)).to_numpy()
    end = of_type & ((obs["condition"] == "stim") & (obs["batch"] == "b1")).to_numpy()
    true = np.log(_shares(x[end]) + 1e-3) - np.log(_shares(x[start]) + 1e-3)

    plain, better = (
        bs.tl.counterfactual(
            model, model.adata, {**STIM, "batch": "b1"}, start, calibrate_by=by
        ).to_anndata()
        for by in (None, "cell_type")
    )

    off = [
        np.abs(np.log(_shares(f.X) + 1e-3) - np.log(_shares(f.layers["factual"]) + 1e-3) - true)
        for f in (plain, better)
    ]
    assert off[1].mean() < 0.8 * off[0].mean()


def test_what_a_batch_does_is_not_taken_for_the_change() -> None:
    """Nearly all stimulated cells are of one batch, nearly all others of the other one."""
    from betascvi.datasets import Levels, Sequencing, counterfactual_truth, simulated_atlas

    atlas = simulated_atlas(
        n_cells=2500, n_genes=60, seed=1, levels=Levels(n_cell_types=2, n_donors=2, n_batches=2),
        sequencing=Sequencing(counts_per_gene=5.0),
    )  # fmt: skip
    goes_together = ((atlas.obs["condition"] == "stim") == (atlas.obs["batch"] == "b1")).to_numpy()
    adata = atlas[goes_together | (np.random.default_rng(0).random(2500) < 0.15)].copy()
    BetaSCVI.setup_anndata(
        adata, layer="counts", batch_key="batch", categorical_covariate_keys=["condition"]
    )
    model = BetaSCVI(adata, n_hidden=32, n_latent=6)
    model.train(**QUICK | {"max_epochs": 40})
    start = (adata.obs["condition"] == "ctrl").to_numpy()
    truth = [counterfactual_truth(adata[start], changes) for changes in (STIM, {})]
    true = np.log(_shares(truth[0]) + 1e-4) - np.log(_shares(truth[1]) + 1e-4)

    plain, better = (
        _change(bs.tl.counterfactual(model, adata, STIM, start, calibrate_by=by).to_anndata())
        for by in (None, "cell_type")
    )

    assert np.abs(better - true).mean() < 1.05 * np.abs(plain - true).mean()


def test_a_zero_inflated_model_is_calibrated_on_what_it_expects_with_its_zeros(
    model: BetaSCVI,
) -> None:
    adata = model.adata.copy()
    BetaSCVI.setup_anndata(adata, layer="counts", categorical_covariate_keys=["condition"])
    inflated = BetaSCVI(adata, n_hidden=16, n_latent=4, gene_likelihood="zinb")
    inflated.train(**QUICK)
    start, end = (_cells(inflated, "type_2", condition) for condition in ("ctrl", "stim"))
    x = adata.layers["counts"]
    true = np.log(_shares(x[end]) + 1e-3) - np.log(_shares(x[start]) + 1e-3)

    off = []
    for by in (None, "cell_type"):
        drawn = bs.tl.counterfactual(
            inflated, adata, STIM, start, output="counts", calibrate_by=by
        ).to_anndata()
        change = np.log(_shares(drawn.X) + 1e-3) - np.log(_shares(drawn.layers["factual"]) + 1e-3)
        off.append(np.abs(change - true).mean())
    assert off[1] < 0.5 * off[0]


def test_kinds_are_the_same_whole_numbers_or_not(model: BetaSCVI) -> None:
    adata = model.adata
    codes = adata.obs["cell_type"].str.removeprefix("type_").astype(int)
    adata.obs["kind"] = codes
    others = adata.copy()
    others.obs["kind"] = pd.Categorical(codes.astype(float))

    found = [
        bs.tl.counterfactual(model, cells, STIM, calibrate_by="kind").to_anndata().X
        for cells in (adata, others)
    ]

    np.testing.assert_array_equal(found[0], found[1])


def test_cells_that_nothing_can_be_said_of_are_counted(model: BetaSCVI) -> None:
    adata = model.adata.copy()
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(object)
    adata.obs.iloc[5:8, adata.obs.columns.get_loc("cell_type")] = np.nan
    rare = model.adata
    rare.obs["by_batch"] = rare.obs["cell_type"].astype(str)
    is_few = (rare.obs["batch"] == "b0").to_numpy()
    rare.obs.loc[is_few, "by_batch"] = rare.obs_names[is_few]

    record = bs.tl.counterfactual(model, adata, STIM, calibrate_by="cell_type")
    with pytest.warns(UserWarning, match=r"\d+ of \d+ cells could not be calibrated: no by_batch"):
        partly = bs.tl.counterfactual(model, rare, {**STIM, "batch": "b1"}, calibrate_by="by_batch")

    is_control = (adata.obs["condition"].iloc[5:8] == "ctrl").any()
    assert ("cells without a value" in str(record)) == is_control
    assert "could not be calibrated" in str(partly)


def test_cells_at_the_target_stay_to_the_last_bit_and_every_total_stays(model: BetaSCVI) -> None:
    adata = model.adata
    is_stim = (adata.obs["condition"] == "stim").to_numpy()

    found = bs.tl.counterfactual(model, adata, STIM, calibrate_by="cell_type").to_anndata()

    np.testing.assert_array_equal(found.X[is_stim], found.layers["factual"][is_stim])
    np.testing.assert_allclose(found.X.sum(1), found.layers["factual"].sum(1), rtol=1e-4)


def test_statistics_and_mixtures_are_calibrated_too(model: BetaSCVI) -> None:
    adata = model.adata
    start = _cells(model, "type_1", "ctrl")
    by_type = bs.tl.GroupStatistics("cell_type")

    table = bs.tl.counterfactual(
        model, adata, STIM, start, output=by_type, calibrate_by="cell_type"
    ).to_frame()
    alone, mixed = (
        bs.tl.counterfactual(
            model, adata, {"condition": to}, start, calibrate_by="cell_type"
        ).to_anndata()
        for to in ("stim", {"stim": 1, "ctrl": 1})
    )  # fmt: skip

    np.testing.assert_allclose(table["mean_counterfactual"], 1e4 * _shares(alone.X), rtol=1e-3)
    np.testing.assert_allclose(mixed.X, (alone.X + mixed.layers["factual"]) / 2, rtol=1e-4)


def test_the_record_and_the_cells_say_by_what_they_were_calibrated(model: BetaSCVI) -> None:
    start = _cells(model, "type_1", "ctrl")

    record = bs.tl.counterfactual(model, model.adata, STIM, start, calibrate_by="cell_type")

    assert "calibrated by cell_type, seen on both sides: type_1." in str(record)
    assert record.to_anndata().uns["betascvi"]["calibrate_by"] == "cell_type"


def test_cells_that_are_all_at_the_target_have_nothing_to_calibrate(model: BetaSCVI) -> None:
    there = _cells(model, "type_1", "stim")

    record = bs.tl.counterfactual(model, model.adata, STIM, there, calibrate_by="cell_type")

    found = record.to_anndata()
    np.testing.assert_array_equal(found.X, found.layers["factual"])
    assert "no cell changes" in str(record)


def test_other_cells_are_not_taken_for_those_of_the_training(
    model: BetaSCVI, atlas: AnnData, tmp_path: Path
) -> None:
    model.save(tmp_path / "model")
    others = atlas.copy()
    others.obs["age"] = 0.0
    loaded = BetaSCVI.load(tmp_path / "model", adata=others)

    with (
        pytest.warns(UserWarning, match="the training cells are not at hand"),
        pytest.raises(ValueError, match="not those of the training"),
    ):
        bs.tl.counterfactual(loaded, others, STIM, calibrate_by="cell_type")
    again = BetaSCVI.load(tmp_path / "model", adata=model.adata)
    bs.tl.counterfactual(again, model.adata, STIM, calibrate_by="cell_type")


def test_the_mean_of_carried_counts_is_that_of_many_draws() -> None:
    rng = np.random.default_rng(0)
    theta, one, other = (
        rng.gamma(2.0, 2.0, 6),
        rng.gamma(2.0, 3.0, (4, 6)),
        rng.gamma(2.0, 3.0, (4, 6)),
    )
    counts = rng.poisson(one).astype(np.float32)
    arms = [Predictive(mean.astype(np.float32), theta.astype(np.float32)) for mean in (one, other)]

    drawn = np.mean([carry(counts, *arms, rng) for _ in range(20_000)], axis=0)

    np.testing.assert_allclose(carried_mean(counts, *arms), drawn, rtol=0.05, atol=0.05)


def test_what_there_is_nothing_to_compare_by_is_refused(
    model: BetaSCVI,
) -> None:
    adata = model.adata
    with pytest.raises(UnknownFactorError, match=r"'type' is no column of adata\.obs; there are"):
        bs.tl.counterfactual(model, adata, STIM, calibrate_by="type")
    stranger = adata.copy()
    stranger.obs["mine"] = "a"
    with pytest.raises(UnknownFactorError, match="no column of the training data's obs"):
        bs.tl.counterfactual(model, stranger, STIM, calibrate_by="mine")
    with pytest.raises(ValueError, match="'age' has none: it is a number or an angle"):
        bs.tl.counterfactual(model, adata, {"age": 1.0}, calibrate_by="cell_type")
    adata.obs["alone"] = adata.obs_names
    with pytest.raises(ValueError, match="no alone has 20 of them on each"):
        bs.tl.counterfactual(model, adata, STIM, calibrate_by="alone")
    adata.obs["empty"] = np.nan
    with pytest.raises(ValueError, match="has no value for any of the training cells"):
        bs.tl.counterfactual(model, adata, STIM, calibrate_by="empty")


def test_a_model_without_the_counts_of_its_training_is_refused(atlas: AnnData) -> None:
    adata = atlas[:300].copy()
    BetaSCVI.setup_anndata(adata, layer="counts", categorical_covariate_keys=["condition"])
    model = BetaSCVI(adata, n_hidden=8, n_latent=3)
    model.train(**QUICK | {"max_epochs": 1})
    model.adata.obsm["qz_m"], model.adata.obsm["qz_v"] = model.get_latent_representation(
        return_dist=True
    )
    model.minify_adata(use_latent_qzm_key="qz_m", use_latent_qzv_key="qz_v")

    with pytest.raises(ValueError, match="compares with the counts of the training cells"):
        bs.tl.counterfactual(model, model.adata, STIM, calibrate_by="cell_type")
