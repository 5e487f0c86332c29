"""A schedule that did not get where it meant to go says so, and the log says where it got."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from betascvi import BetaSCVI
from betascvi.objectives import LVAE, BetaVAE, TargetRate
from betascvi.schedules import Linear, Sigmoid, Staged

STOPS_AT_ONCE: dict[str, Any] = {
    "max_epochs": 40,
    "early_stopping": True,
    "early_stopping_patience": 1,
    "early_stopping_min_delta": 1e6,
}


def test_early_stopping_that_cuts_a_schedule_short_warns_with_the_weight_it_got_to(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model(objective=BetaVAE(beta=Linear(0.0, 4.0, end=1.0)))

    with pytest.warns(UserWarning, match=r"before the schedule of 'kl' was done.*not 4"):
        model.train(**quick | path | STOPS_AT_ONCE)

    assert len(model.history["elbo_validation"]) < 10
    assert model.training_summary_.weights["kl"] < 1.0


def test_early_stopping_after_the_schedule_is_done_says_nothing(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model(objective=BetaVAE(beta=Linear(0.0, 4.0, end=0.01)))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.train(**quick | STOPS_AT_ONCE)

    assert [str(w.message) for w in caught if "schedule" in str(w.message)] == []


@pytest.mark.parametrize(
    "schedule", [Linear(0.0, 4.0, end=2.0), Sigmoid(0.0, 4.0, centre=0.99)], ids=repr
)
def test_a_schedule_that_cannot_finish_warns_before_the_training(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], schedule: Linear | Sigmoid
) -> None:
    model = make_model(objective=BetaVAE(beta=schedule))

    with pytest.warns(UserWarning, match="short of 4") as caught:
        model.train(**quick, max_epochs=1)

    assert len([w for w in caught if "schedule" in str(w.message)]) == 1


def test_one_line_of_log_says_what_the_training_came_to(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    model = make_model(objective=BetaVAE(beta=2.0))

    with caplog.at_level(logging.INFO, logger="betascvi"):
        model.train(**quick, max_epochs=1)

    lines = [record.getMessage() for record in caplog.records if "realised" in record.getMessage()]
    assert len(lines) == 1
    assert "kl 2" in lines[0]
    assert "of 3 axes active" in lines[0]
    assert "bits" in lines[0]
    assert "ELBO" in lines[0]


def test_the_summary_counts_the_axes_that_carry_something(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    import numpy as np

    model = make_model()
    model.train(**quick, max_epochs=2)

    mean, variance = model.get_latent_representation(indices=model.train_indices, return_dist=True)
    kl = 0.5 * (variance + mean**2 - 1.0 - np.log(variance)).mean(0)
    assert model.training_summary_.n_axes == 3
    assert model.training_summary_.kl_bits == pytest.approx(kl.sum() / np.log(2), rel=0.3)
    assert model.training_summary_.elbo == pytest.approx(
        -float(model.history["elbo_train"].iloc[-1, 0]), rel=0.1
    )


@pytest.mark.parametrize(
    "schedule",
    [
        Staged(((0.0, 0.0), (1.0, 4.0))),
        Staged(((0.0, 0.0), (0.99, 4.0))),
        Linear(0.0, 4.0, end=1.0),
    ],
    ids=repr,
)
def test_a_schedule_that_no_minibatch_comes_to_the_end_of_says_so(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], schedule: Linear | Staged
) -> None:
    model = make_model(objective=BetaVAE(beta=schedule))

    with pytest.warns(UserWarning, match=r"last minibatch .* schedule of 'kl' .* not 4"):
        model.train(**quick | {"max_epochs": 2})


def test_a_rate_that_was_not_reached_is_said(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model(objective=TargetRate(500.0))

    with pytest.warns(
        UserWarning, match=r"the rate is .* nats, 500 were asked for; .* still moves"
    ):
        model.train(**quick | {"max_epochs": 2})

    assert model.training_summary_.weights["kl"] < 1.0
    assert model.training_summary_.weights["rate_target"] == 500.0


def test_sigmas_that_explode_are_named_after_training(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model(objective=LVAE(sum_of_squares=False))

    with pytest.warns(UserWarning, match="sigma_explodes: a sigma grows"):
        model.train(**quick | {"max_epochs": 30, "plan_kwargs": {"state_lr": 0.1}})


def test_sigmas_of_a_trained_model_are_within_their_bounds(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model(objective=LVAE(bounds=(0.9, 1.1)))

    model.train(**quick | {"max_epochs": 5, "plan_kwargs": {"state_lr": 0.05}})

    sigmas = [float(p.detach().exp().sqrt()) for p in model.module.objective_state.parameters()]
    assert all(0.9 <= sigma <= 1.1 + 1e-6 for sigma in sigmas)
