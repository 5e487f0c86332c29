"""Looks at recent minibatches, and swaps compared on them, in a model of a few cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scvi import REGISTRY_KEYS

from betascvi import BetaSCVI
from betascvi.datasets import simulated_atlas
from betascvi.module._anchored_loss import coded_factors
from betascvi.module._look import EVERY, Look, Recent, shown
from betascvi.module._swap import swap_movement

N_CELLS = 200


@pytest.fixture(scope="module")
def model() -> BetaSCVI:
    """Trained for a moment; ask it, never change it."""
    adata = simulated_atlas(N_CELLS, 40, seed=0)
    adata.layers["counts"] = adata.X.copy()
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["condition", "batch"])
    model = BetaSCVI(adata, n_hidden=16, n_latent=4, anchors=["condition"])
    model.train(3, batch_size=64, train_size=1.0, accelerator="cpu", enable_progress_bar=False)
    return model


def minibatch(model: BetaSCVI, rows: slice) -> dict[str, torch.Tensor]:
    loader = model._make_data_loader(model.adata, np.arange(N_CELLS)[rows], batch_size=N_CELLS)
    return dict(next(iter(loader)))


def movement(model: BetaSCVI) -> torch.Tensor:
    module, tensors = model.module, minibatch(model, slice(0, 100))
    factors = coded_factors(tensors, module.anchored)
    inference = module.inference(**module._get_inference_input(tensors))
    look = Look(shown(module, tensors).loc, factors)
    torch.manual_seed(0)
    return swap_movement(module, look, tensors, inference, factors)


def test_a_look_comes_first_and_then_every_few_minibatches_with_the_newest_cells_last(
    model: BetaSCVI,
) -> None:
    recent, module = Recent(), model.module
    starts = range(0, 9 * 20, 20)
    looks = []
    for start in starts:
        tensors = minibatch(model, slice(start, start + 20))
        looks.append(recent.look(module, tensors, coded_factors(tensors, module.anchored)))

    sizes = [0 if look is None else len(look.mean) for look in looks]
    newest = shown(module, minibatch(model, slice(160, 180))).loc
    assert sizes == [20, 0, 0, 0, 20 * EVERY, 0, 0, 0, 20 * EVERY]
    assert looks[-1] is not None
    assert len(looks[-1].factors) == 20 * EVERY
    torch.testing.assert_close(looks[-1].mean[-20:], newest)


def test_what_is_looked_at_is_what_users_are_shown_and_training_goes_on_as_it_was(
    model: BetaSCVI,
) -> None:
    module = model.module
    module.train()
    module.z_encoder.mean_encoder.eval()  # one layer held, as query mapping holds some
    before = {name: value.clone() for name, value in module.state_dict().items()}

    mean = shown(module, minibatch(model, slice(None))).loc

    modes = {name: layer.training for name, layer in module.named_modules()}
    after = module.state_dict()
    assert not modes.pop("z_encoder.mean_encoder")
    assert all(modes.values())
    assert mean.requires_grad
    assert all(torch.equal(after[name], value) for name, value in before.items())
    module.eval()
    expected = model.get_latent_representation(return_dist=True)[0]
    live = [axis for axis in range(5) if axis not in model.dead_axes_]
    np.testing.assert_allclose(mean.detach().numpy()[:, live], expected[:, live], atol=1e-5)


def test_a_swap_moves_nothing_where_the_decoder_does_not_read_the_block(model: BetaSCVI) -> None:
    first = next(p for p in model.module.decoder.parameters() if p.dim() == 2)
    held = first.detach().clone()
    model.module.eval()

    moved = movement(model)
    with torch.no_grad():
        first[:, model.blocks["condition"]] = 0.0
        unread = movement(model)
        first.copy_(held)

    assert not unread.any()
    assert moved.mean() > 1e-6


def test_a_swap_reaches_the_encoder_and_not_the_decoder(model: BetaSCVI) -> None:
    model.module.zero_grad()

    movement(model).sum().backward()

    assert model.module.z_encoder.mean_encoder.weight.grad is not None
    assert all(p.grad is None for p in model.module.decoder.parameters())


def test_counts_stay_counts_in_the_minibatch_that_was_swapped(model: BetaSCVI) -> None:
    tensors = minibatch(model, slice(0, 100))
    before = tensors[REGISTRY_KEYS.X_KEY].clone()

    movement(model)

    assert torch.equal(minibatch(model, slice(0, 100))[REGISTRY_KEYS.X_KEY], before)
