"""A schedule that did not get where it meant to go says so, and the log says where it got."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from betascvi import BetaSCVI
from betascvi.objectives import BetaVAE
from betascvi.schedules import Linear, Sigmoid

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
