"""Odd sizes of minibatches, and the two paths a training can take."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from betascvi import BetaSCVI


@pytest.mark.filterwarnings("ignore:Last batch will have a small size")
@pytest.mark.parametrize("layers", [1, 2])
def test_a_last_minibatch_of_one_cell_trains(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any], layers: int
) -> None:
    model = make_model(81, n_layers=layers)

    model.train(**quick | path, max_epochs=2, train_size=1.0)

    assert np.isfinite(model.get_latent_representation()).all()


@pytest.mark.filterwarnings("ignore:Last batch will have a small size")
def test_batch_norm_is_back_in_training_mode_after_a_lone_cell(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model(81)
    before = {k: v.clone() for k, v in model.module.state_dict().items() if "running_mean" in k}

    model.train(**quick | path, max_epochs=2, train_size=1.0)

    after = model.module.state_dict()
    assert all(not torch.equal(after[name], value) for name, value in before.items())
    assert not model.module.training


@pytest.mark.filterwarnings("ignore:Last batch will have a small size")
def test_a_single_cell_can_be_trained_on(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model(1)

    model.train(**quick | path, max_epochs=1, train_size=1.0)

    assert model.get_latent_representation().shape == (1, 3)


def test_a_second_training_is_in_training_mode_again(
    make_model: Callable[..., BetaSCVI],
    path: dict[str, Any],
    quick: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make_model()
    model.train(**quick | path, max_epochs=1)
    seen: list[bool] = []
    loss = model.module.loss
    monkeypatch.setattr(
        type(model.module),
        "loss",
        lambda self, *args, **kwargs: (
            seen.append(self.training and self.z_encoder.training), loss(*args, **kwargs)
        )[1],
    )  # fmt: skip

    model.train(**quick | path, max_epochs=1, train_size=1.0)

    assert set(seen) == {True}


def test_a_second_training_continues_from_the_weights_and_the_history_of_the_first(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model()
    model.train(**quick | path, max_epochs=3, plan_kwargs={"lr": 1e-2})
    first = float(model.history["elbo_train"].iloc[0, 0])

    model.train(**quick | path, max_epochs=3, plan_kwargs={"lr": 1e-2})

    elbo = model.history["elbo_train"].iloc[:, 0]
    assert len(elbo) == 6
    assert float(elbo.iloc[3]) < first


def test_both_paths_come_to_the_same_loss(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    """Not the same minibatches, the same sum over all cells: one minibatch an epoch."""
    histories = []
    for arguments in ({}, {"gradient_clip_val": 1e9}):
        torch.manual_seed(0)
        model = make_model(dropout_rate=0.0)
        torch.manual_seed(1)
        model.train(
            **quick | {"batch_size": 200} | arguments, max_epochs=12, train_size=1.0,
            plan_kwargs={"lr": 1e-2},
        )  # fmt: skip
        histories.append(model.history["elbo_train"].iloc[:, 0].astype(float).to_numpy())

    np.testing.assert_allclose(histories[1], histories[0], rtol=0.01)
    fallen = histories[0][0] / histories[0][-1] - 1
    assert fallen > 0.03, f"so flat a curve would hide a difference of paths: {histories[0]}"


def test_the_slow_path_says_why_it_is_taken(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model()

    with caplog.at_level(logging.INFO, logger="betascvi"):
        model.train(**quick, max_epochs=1, gradient_clip_val=1.0)

    assert "gradient_clip_val= was given" in caplog.text


def test_the_split_is_the_one_scvi_tools_makes(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model()

    model.train(**quick | path, max_epochs=1, train_size=0.7, validation_size=0.2)

    sizes = [len(i) for i in (model.train_indices, model.validation_indices, model.test_indices)]
    assert sizes == [84, 24, 12]
    everything = np.concatenate([model.train_indices, model.validation_indices, model.test_indices])
    assert sorted(everything) == list(range(120))


def test_cells_named_by_the_user_are_held_out(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    held_out = np.arange(0, 120, 4)
    train = np.setdiff1d(np.arange(120), held_out)
    model = make_model()

    model.train(
        **quick | path,
        max_epochs=1,
        datasplitter_kwargs={"external_indexing": [train, held_out, np.array([], dtype=int)]},
    )

    assert set(model.validation_indices) == set(held_out)


def test_two_trainings_from_one_seed_are_the_same(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    from scvi import settings

    latents = []
    for _ in range(2):
        settings.seed = 3
        model = make_model()
        model.train(**quick | path, max_epochs=2)
        latents.append(model.get_latent_representation())

    np.testing.assert_array_equal(latents[0], latents[1])
