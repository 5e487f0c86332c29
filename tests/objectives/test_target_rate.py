"""TargetRate: a controller that finds the weight at which the KL is as asked."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import Tensor

from betascvi.objectives import Step, TargetRate
from betascvi.objectives._target_rate import RateController
from betascvi.schedules import Linear


def held(objective: TargetRate, n_steps: int, noise: float = 0.02) -> tuple[Tensor, RateController]:
    """Rates of a plant that answers a weight slowly: rate -> 20 weight^-0.5 within 75 steps."""
    generator = torch.Generator().manual_seed(0)
    controller = objective.make_state(10)
    assert isinstance(controller, RateController)
    log_rate, rates = math.log(3.0), []
    for _ in range(n_steps):
        asked = math.log(20.0) - 0.5 * controller.weight().log().item()
        log_rate += (asked - log_rate) / 75.0
        jitter = noise * torch.randn((), generator=generator)
        rates.append(torch.tensor(log_rate).exp())
        controller.observe((torch.tensor(log_rate) + jitter).exp(), float(objective.rate))  # type: ignore[arg-type]
    return torch.stack(rates), controller


@pytest.mark.parametrize("rate", [5.0, 15.0, 40.0])
def test_a_slow_and_noisy_plant_is_held_within_two_percent(rate: float) -> None:
    rates, _ = held(TargetRate(rate=rate), n_steps=1500)

    assert rates[-300:].mean().item() == pytest.approx(rate, rel=0.02)
    assert (rates[-300:] / rate - 1.0).abs().max() < 0.04


def test_a_rate_out_of_reach_leaves_the_weight_at_its_bound() -> None:
    _, controller = held(TargetRate(rate=1e4, bounds=(0.1, 10.0)), n_steps=1000)

    assert controller.weight().item() == pytest.approx(0.1)
    assert controller.integrated.item() == pytest.approx(math.log(0.1))


def test_too_much_rate_raises_the_weight_and_too_little_lowers_it(step: Step) -> None:
    over, under = TargetRate(rate=0.1), TargetRate(rate=1e3)

    weights = {
        objective: objective(replace(step, state=objective.make_state(4))).penalties["kl"].weight
        for objective in (over, under)
    }

    assert weights[over] > 1.0 > weights[under]


def test_the_controller_stands_still_outside_training(step: Step) -> None:
    objective = TargetRate(rate=0.1)
    state = objective.make_state(4).eval()

    weights = [objective(replace(step, state=state)).penalties["kl"].weight for _ in range(3)]

    assert [float(w) for w in weights] == [1.0, 1.0, 1.0]


def test_the_controller_is_saved_with_the_state(step: Step) -> None:
    objective = TargetRate(rate=0.1)
    state = objective.make_state(4)
    objective(replace(step, state=state))

    again = objective.make_state(4)
    again.load_state_dict(state.state_dict())

    assert isinstance(again, RateController)
    assert again.weight() == state.weight() != 1.0  # type: ignore[operator]


def test_a_scheduled_rate_is_reported_as_it_moves(step: Step) -> None:
    terms = TargetRate(rate=Linear(1.0, 21.0, end=1.0))(replace(step, progress=0.5))

    assert terms.reports["rate_target"] == pytest.approx(11.0)


def test_a_rate_that_is_not_a_number_does_not_reach_the_weight() -> None:
    controller = TargetRate().make_state(1)
    assert isinstance(controller, RateController)

    controller.observe(torch.tensor(0.0), 15.0)

    assert math.isfinite(controller.weight().item())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"rate": 0.0}, "rate is nats per cell above 0", id="no rate"),
        pytest.param({"rate": Linear(0.0, 9.0)}, "rate is nats per cell above 0", id="from zero"),
        pytest.param({"bounds": (2.0, 1.0)}, "bounds are two rising", id="bounds crossed"),
        pytest.param({"beta": 1e6}, "beta starts within", id="beta outside"),
        pytest.param({"integral": 0.0}, "integral", id="no integral"),
        pytest.param({"free_bits": 0.1}, "TargetRate has no free_bits", id="free bits"),
    ],
)
def test_settings_without_meaning_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TargetRate(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rates", "is_held"),
    [([9.0] * 50 + [7.9, 8.1, 8.05], True), ([8.0] * 50 + [8.2, 8.3, 8.3], False)],
    ids=["held", "three percent off"],
)
def test_a_rate_that_is_not_held_within_two_percent_is_said(
    rates: list[float], is_held: bool
) -> None:
    history = {name: pd.DataFrame({name: rates}) for name in ("kl_train", "kl_weight")}

    said = TargetRate(rate=8.0).shortfall(history)

    assert (said is None) == is_held
