"""Faults from outside in the middle of a training: Ctrl-C, and a device that is too small."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from betascvi.data import ResidentCells
from betascvi.model import BetaSCVI
from betascvi.module import BetaVAEModule, DirectPass
from betascvi.objectives import BetaVAE
from betascvi.schedules import Linear


def interrupt_at(n: int, own: Callable[..., Any]) -> Callable[..., Any]:
    """The same method, but for a Ctrl-C at the n-th call."""
    calls = []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(n)
        if len(calls) == n:
            raise KeyboardInterrupt
        return own(*args, **kwargs)

    return interrupted


@pytest.mark.parametrize("by_graph", [True, False])
def test_an_interruption_within_a_chunk_leaves_a_model_that_can_be_trained_and_used(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], by_graph: bool
) -> None:
    model = make_model(objective=BetaVAE(free_bits=0.01) if by_graph else None)
    handler = signal.getsignal(signal.SIGINT)
    where, name = (BetaVAEModule, "loss") if by_graph else (DirectPass, "gradients")
    with (
        patch.object(where, name, interrupt_at(5, getattr(where, name))),
        pytest.raises((KeyboardInterrupt, SystemExit)),
    ):
        model.train(max_epochs=3, **{**quick, "batch_size": 16})

    signal.signal(signal.SIGINT, handler)  # Lightning ignores it from the first one on
    state = model.module.state_dict()
    assert all(torch.isfinite(v).all() for v in state.values() if v.is_floating_point())
    assert np.isfinite(model.get_latent_representation()).all()
    rows = np.concatenate([model.train_indices, model.validation_indices, model.test_indices])
    assert sorted(rows) == list(range(model.adata.n_obs))  # tools ask for held-out cells
    assert len(model.validation_indices)
    model.train(max_epochs=1, **{**quick, "batch_size": 16})


def test_counts_that_do_not_fit_on_the_device_stay_in_host_memory(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    model, hold, asked = make_model(), ResidentCells.from_manager, []

    def too_small(manager: Any, device: Any = "cpu") -> ResidentCells:
        asked.append(device)
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return hold(manager, device)

    with patch.object(ResidentCells, "from_manager", too_small), caplog.at_level(logging.WARNING):
        model.train(max_epochs=1, **quick)

    assert "stay in host memory" in caplog.text
    assert len(asked) == 2


def test_a_training_that_was_cut_short_is_no_first_one(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model(objective=BetaVAE(beta=Linear(0.0, 4.0, end=0.5)))
    handler = signal.getsignal(signal.SIGINT)
    with (
        patch.object(DirectPass, "gradients", interrupt_at(2, DirectPass.gradients)),
        pytest.raises((KeyboardInterrupt, SystemExit)),
    ):
        model.train(max_epochs=4, **quick)
    signal.signal(signal.SIGINT, handler)

    model.train(max_epochs=4, **quick)

    weights = model.history["kl_weight"].to_numpy().ravel()
    assert weights[0] < weights[1] < 4.0  # the warm-up is run
    assert len(weights) == 4
    with caplog.at_level(logging.INFO, logger="betascvi"):
        model.train(max_epochs=1, **quick)
    assert model.history["kl_weight"].iloc[-1, 0] == 4.0
    assert "weights stay where their schedules ended" in caplog.text


def test_a_refused_argument_leaves_a_trained_model_trained(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model()
    model.train(max_epochs=1, **quick)
    model.history_ = None

    with pytest.raises(ValueError, match="which no training plan takes"):
        model.train(max_epochs=1, **quick, plan_kwargs={"learning_rate": 1e-3})

    assert model.is_trained_
