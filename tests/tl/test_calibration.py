"""What a model misses of kinds seen on both sides is added where it predicts, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
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

    return simulated_atlas(
        n_cells=1500, n_genes=80, seed=1, levels=Levels(n_cell_types=4, n_donors=2),
        sequencing=Sequencing(counts_per_gene=5.0),
    )  # fmt: skip


@pytest.fixture(scope="module")
def is_new(atlas: AnnData) -> np.ndarray:
    return ((atlas.obs["cell_type"] == "type_0") & (atlas.obs["condition"] == "stim")).to_numpy()


@pytest.fixture(scope="module")
def model(atlas: AnnData, is_new: np.ndarray) -> BetaSCVI:
    """Has never seen type_0 stimulated, and has hardly learned what stimulation does."""
    training = atlas[~is_new].copy()
    training.obs["age"] = np.random.default_rng(0).normal(size=training.n_obs)
    BetaSCVI.setup_anndata(
        training, layer="counts", categorical_covariate_keys=["condition"],
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
    assert np.abs(better - true).mean() < 0.3 * missed


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


def test_gains_of_a_new_kind_lie_between_those_of_the_kinds_that_were_seen(model: BetaSCVI) -> None:
    adata = model.adata
    encoded = encode(model, adata, None)
    targets, note = calibrated(encoded, targets_of(model, STIM, encoded.cells), "cell_type",
                               carries=False)  # fmt: skip
    gain = targets.arms[0].gain
    assert gain is not None
    of = {}
    for kind in ("type_0", "type_1", "type_2", "type_3"):
        rows = (adata.obs["cell_type"] == kind) & (adata.obs["condition"] == "ctrl")
        of[kind] = gain.factors[np.unique(gain.of_cell[rows])[0]]
    seen = np.stack([of[kind] for kind in ("type_1", "type_2", "type_3")])

    assert "seen on both sides: type_1, type_2, type_3" in note
    assert (of["type_0"] >= seen.min(0) * 0.999).all()
    assert (of["type_0"] <= seen.max(0) * 1.001).all()


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


def test_the_record_says_by_what_it_was_calibrated(model: BetaSCVI) -> None:
    start = _cells(model, "type_1", "ctrl")

    record = bs.tl.counterfactual(model, model.adata, STIM, start, calibrate_by="cell_type")

    assert "calibrated by cell_type, seen on both sides: type_1." in str(record)


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
