"""The capacity form: the KL is pulled to C."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.distributions import kl_divergence

from betascvi.objectives import BetaVAE, CapacityVAE, Step
from betascvi.schedules import Linear


@pytest.mark.parametrize("gamma", [0.5, 1.0, 7.0])
def test_capacity_zero_is_the_beta_vae(step: Step, gamma: float) -> None:
    loss = CapacityVAE(gamma=gamma, capacity=0.0)(step).total()

    torch.testing.assert_close(loss, BetaVAE(beta=gamma)(step).total())


def test_a_kl_below_the_capacity_is_charged_for_what_is_missing(step: Step) -> None:
    rate = kl_divergence(step.qz, step.pz).sum(-1).mean()

    terms = CapacityVAE(gamma=10.0, capacity=rate.item() + 3.0)(step)

    assert terms.penalties["capacity_gap"].value.item() == pytest.approx(3.0)
    assert terms.penalties["capacity_gap"].weight == 10.0


def test_the_capacity_follows_its_schedule_into_the_reports(step: Step) -> None:
    terms = CapacityVAE(capacity=Linear(0.0, 20.0, end=1.0))(replace(step, progress=0.25))

    assert terms.reports["capacity"] == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"gamma": -1.0}, "gamma", id="negative gamma"),
        pytest.param({"capacity": Linear(-1.0, 5.0)}, "capacity", id="negative capacity"),
        pytest.param({"free_bits": 0.1}, "CapacityVAE has no free_bits", id="free bits"),
    ],
)
def test_settings_without_meaning_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CapacityVAE(**arguments)  # type: ignore[arg-type]


def test_gradients_pull_the_kl_up_below_the_capacity_and_down_above_it(step: Step) -> None:
    loc = step.qz.loc.clone().requires_grad_()
    moved = replace(step, qz=torch.distributions.Normal(loc, step.qz.scale))

    CapacityVAE(capacity=1e3)(moved).total().backward()

    assert loc.grad is not None
    assert (loc.grad * loc < 0.0).all()
