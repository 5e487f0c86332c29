"""Correction of an anchored batch: cells move by where their level stands, not by its anchor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from anndata import AnnData

import betascvi as bs
from betascvi import BetaSCVI
from betascvi._errors import UnknownFactorError
from betascvi.model._block_moves import BlockMove, block_moves
from betascvi.tl._realised_blocks import realised_block

QUICK: dict[str, Any] = {"accelerator": "cpu", "enable_progress_bar": False}


@pytest.fixture(scope="module")
def model() -> BetaSCVI:
    adata = bs.datasets.simulated_atlas(400, 60, seed=0)
    adata.obs["batch"] = adata.obs["batch"].astype(object)
    adata.obs.iloc[:30, adata.obs.columns.get_loc("batch")] = None
    age = np.random.default_rng(0).normal(50.0, 10.0, size=400)
    adata.obs["age"] = age
    keys = ["batch", "age"]
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=keys)
    fitted = BetaSCVI(adata, n_hidden=16, n_latent=4, anchors=keys)
    fitted.train(max_epochs=20, **QUICK)
    return fitted


def decoded(model: BetaSCVI, z: np.ndarray) -> np.ndarray:
    sizes = np.asarray(model.adata.layers["counts"].sum(1)).ravel()
    return model.decode(z, library_size=sizes)


def test_a_cell_moves_from_the_mean_of_its_level_to_that_of_the_target(model: BetaSCVI) -> None:
    found = bs.tl.correct_batch(model, model.adata, to="b1").to_anndata()

    z = np.asarray(model.get_latent_representation()).copy()
    axes, batch = model.blocks["batch"], model.adata.obs["batch"].to_numpy(dtype=object)
    trained = np.isin(np.arange(400), model.train_indices)
    means = {level: z[trained & (batch == level)][:, axes].mean(0) for level in ("b0", "b1", "b2")}
    for level in ("b0", "b2"):
        z[batch == level, axes] += means["b1"] - means[level]
    is_labelled = np.array([level is not None for level in batch])
    np.testing.assert_allclose(found.X[is_labelled], decoded(model, z)[is_labelled], rtol=1e-3)


def test_a_cell_without_a_label_leaves_from_the_nearest_level(model: BetaSCVI) -> None:
    found = bs.tl.correct_batch(model, model.adata, to="b1").to_anndata()

    z = np.asarray(model.get_latent_representation()).copy()
    axes, batch = model.blocks["batch"], model.adata.obs["batch"].to_numpy(dtype=object)
    trained = np.isin(np.arange(400), model.train_indices)
    means = np.stack(
        [z[trained & (batch == level)][:, axes].mean(0) for level in ("b0", "b1", "b2")]
    )
    own = z[:30, axes]
    nearest = ((own[:, None] - means) ** 2).sum(-1).argmin(1)
    z[:30, axes] = own - means[nearest] + means[1]
    np.testing.assert_allclose(found.X[:30], decoded(model, z)[:30], rtol=1e-3)


def test_expression_does_not_tell_a_corrected_batch_better_than_before(model: BetaSCVI) -> None:
    found = bs.tl.correct_batch(model, model.adata)

    assert found.expression is not None
    before, after, chance = found.expression
    assert after < before
    assert after < chance + 0.2


def test_other_cells_are_moved_by_what_the_training_cells_say(model: BetaSCVI) -> None:
    some = np.arange(40, 60)

    found = bs.tl.correct_batch(model, model.adata, to="b1", indices=some).to_anndata()

    whole = bs.tl.correct_batch(model, model.adata, to="b1").to_anndata()
    np.testing.assert_allclose(found.X, whole.X[some], rtol=1e-4)


def test_a_number_moves_along_the_line_of_its_cells(model: BetaSCVI) -> None:
    block = block_moves(model)["age"]
    rng = np.random.default_rng(0)
    age = rng.normal(50.0, 10.0, 300)
    z = np.zeros((300, 12))
    z[:, block.axes] = (0.3 * block.position(age)[:, 0] + 0.2 + rng.normal(0, 0.01, 300))[:, None]

    line = realised_block(block, z, age)

    moved = line.moved(z, age, np.full(300, 60.0))[:, block.axes][:, 0]
    expected = 0.3 * block.position(np.array([60.0]))[0, 0] + 0.2
    np.testing.assert_allclose(moved, expected, atol=0.05)


@pytest.mark.parametrize("learned", [0.0, 0.4])
def test_an_angle_moves_along_the_ellipse_its_cells_lie_on(learned: float) -> None:
    rng = np.random.default_rng(0)
    block = BlockMove("phase", "circular", slice(1, 3), (), np.zeros((1, 2)), np.ones(1))
    angles = rng.uniform(0, 2 * np.pi, 400)
    z = rng.normal(0, 0.05, (400, 4))
    z[:, 1] += 0.8 + learned * np.cos(angles)
    z[:, 2] += 0.5 * learned * np.sin(angles)
    known = np.where(np.arange(400) < 10, np.nan, angles)

    moved = realised_block(block, z, known).moved(z, known, np.full(400, np.pi / 2))

    expected = np.broadcast_to([0.8, 0.5 * learned], (400, 2))
    np.testing.assert_allclose(moved[:, 1:3], expected, atol=0.25)
    np.testing.assert_allclose(moved[:, 1:3].mean(0), expected[0], atol=0.02)
    np.testing.assert_array_equal(moved[:, [0, 3]], z[:, [0, 3]])


def test_a_level_without_cells_is_drawn_in_as_the_others_are() -> None:
    corners = np.array([[-1.0], [1.0], [3.0]])
    block = BlockMove("batch", "categorical", slice(0, 1), ("a", "b", "c"), corners, np.ones(3))
    z = np.array([[-0.25], [0.25], [0.25], [9.0]])

    found = realised_block(block, z, np.array([0.0, 1.0, 1.0, np.nan]))

    np.testing.assert_allclose(found.anchors[:, 0], [-0.25, 0.25, 0.75])


def test_a_block_whose_labels_are_nowhere_keeps_its_anchors() -> None:
    corners = np.array([[-1.0], [1.0]])
    block = BlockMove("batch", "categorical", slice(0, 1), ("a", "b"), corners, np.ones(2))

    found = realised_block(block, np.zeros((5, 1)), np.full(5, np.nan))

    np.testing.assert_array_equal(found.anchors, corners)


@pytest.mark.parametrize(
    ("to", "words"), [("free_mean", "'free mean'"), ("b_1", "did you mean 'b1'")]
)
def test_a_misspelt_target_is_offered_the_closest(model: BetaSCVI, to: str, words: str) -> None:
    with pytest.raises(UnknownFactorError, match=f"has no level.*{words}"):
        bs.tl.correct_batch(model, model.adata, to=to)


@pytest.mark.filterwarnings("ignore:30 of 400 cells have no batch")
def test_a_counterfactual_still_goes_by_the_anchors(model: BetaSCVI) -> None:
    adata: AnnData = model.adata
    found = bs.tl.counterfactual(model, adata, {"batch": "b1"}).to_anndata()

    z = np.asarray(model.get_latent_representation()).copy()
    block, batch = block_moves(model)["batch"], adata.obs["batch"].to_numpy(dtype=object)
    for code, level in enumerate(block.levels):
        z[batch == level, block.axes] += block.anchors[1] - block.anchors[code]
    is_labelled = np.array([level is not None for level in batch])
    np.testing.assert_allclose(found.X[is_labelled], decoded(model, z)[is_labelled], rtol=1e-3)
