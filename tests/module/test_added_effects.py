"""Blocks that shift the logits of every cell alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from betascvi import Anchor, BetaSCVI, tl
from betascvi.datasets import simulated_atlas
from betascvi.module._added_effects import AddedEffects
from betascvi.module._additive_settings import Shape


@pytest.fixture
def model() -> BetaSCVI:
    adata = simulated_atlas(300, 40, seed=0)
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["condition", "batch"])
    torch.manual_seed(0)
    model = BetaSCVI(
        adata, n_hidden=16, n_latent=4, anchors=[Anchor("condition", effect="added"), "batch"]
    )
    model.train(max_epochs=2, enable_progress_bar=False, accelerator="cpu")
    return model


def changes_of_log_expression(model: BetaSCVI) -> np.ndarray:
    """(control cells, genes), each cell's own mean taken out: a softmax does not see the level."""
    found = tl.counterfactual(model, model.adata, {"condition": "stim"}, output="mean").to_anndata()
    of_control = (model.adata.obs["condition"] == "ctrl").to_numpy()
    change = np.log(found.X) - np.log(found.layers["factual"])
    return (change - change.mean(1, keepdims=True))[of_control]


def test_an_added_block_changes_every_cell_alike(model: BetaSCVI) -> None:
    change = changes_of_log_expression(model)

    assert np.abs(change).max() > 0.01
    np.testing.assert_allclose(change, np.broadcast_to(change[0], change.shape), atol=1e-5)


def test_a_joint_block_changes_kinds_of_cells_in_their_own_way(model: BetaSCVI) -> None:
    torch.manual_seed(0)
    joint = BetaSCVI(model.adata, n_hidden=16, n_latent=4, anchors=["condition", "batch"])
    joint.train(max_epochs=2, enable_progress_bar=False, accelerator="cpu")

    change = changes_of_log_expression(joint)

    assert change.std(0).max() > 1e-3


def test_a_linear_block_shifts_in_proportion_to_the_free_axes() -> None:
    shape = Shape(
        n_axes=4, n_genes=5, n_levels=[], n_numbers=1, has_dispersion=False, has_dropout=False,
        n_hidden=8, added=(0, 1), linear=(1,), free=(2, 3),
    )  # fmt: skip
    effects, z = AddedEffects(shape), torch.randn(6, 5)
    for parameter in effects.parameters():
        torch.nn.init.normal_(parameter)

    by_hand = z[:, :2] @ effects.shifts + z[:, 1:2] * (z[:, 2:4] @ effects.slopes)

    torch.testing.assert_close(effects(z), by_hand)
    torch.testing.assert_close(effects.left_to_network(z), z[:, 2:])


def test_a_model_with_a_linear_block_trains_and_predicts(model: BetaSCVI) -> None:
    anchors = [Anchor("condition", effect="linear"), "batch"]
    linear = BetaSCVI(model.adata, n_hidden=16, n_latent=4, anchors=anchors)
    linear.train(max_epochs=2, enable_progress_bar=False, accelerator="cpu")

    assert changes_of_log_expression(linear).std(0).max() > 1e-4
    at_the_end = float(linear.module.decoder.prior_cost().detach())
    slopes = linear.module.decoder.effects.slopes.detach()
    assert at_the_end == pytest.approx(float((slopes / 0.1).square().sum() / 2))
    # from slopes of zero on: the mean over an epoch lags behind
    assert 0.0 < linear.history["slopes_train"].to_numpy()[-1, 0] < 2.0 * at_the_end


def test_the_network_does_not_see_an_added_block(model: BetaSCVI) -> None:
    network = model.module.decoder.px_decoder.fc_layers[0][0]

    assert network.in_features == model.module.n_latent - 1


def test_added_effects_learn_at_their_own_rate(model: BetaSCVI) -> None:
    groups = model.trainer.optimizers[0].param_groups

    assert [len(group["params"]) for group in groups[1:]] == [1]
    assert groups[1]["params"][0] is model.module.decoder.effects.shifts
    assert groups[1]["lr"] == 1e-2


def test_a_saved_model_adds_as_before(model: BetaSCVI, tmp_path) -> None:
    model.save(str(tmp_path / "model"), save_anndata=True)
    loaded = BetaSCVI.load(str(tmp_path / "model"))

    np.testing.assert_allclose(
        changes_of_log_expression(loaded), changes_of_log_expression(model), atol=1e-6
    )


def test_the_additive_decoder_has_no_added_blocks(model: BetaSCVI) -> None:
    with pytest.raises(ValueError, match="every axis adds its own rates already"):
        BetaSCVI(model.adata, anchors=[Anchor("condition", effect="added")], decoder="additive")


def test_an_unknown_effect_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"effect is one of \['joint', 'linear', 'added'\], got 'adde'"
    ):
        Anchor("condition", effect="adde")
