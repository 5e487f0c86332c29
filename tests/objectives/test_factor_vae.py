"""FactorVAE: what its critic learns, and what the loss is without it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from betascvi.objectives import BetaVAE, FactorVAE, Step
from betascvi.objectives._critic import Critic, critic_loss, permuted_axes


def test_permuting_axes_keeps_every_axis_and_breaks_their_dependence() -> None:
    generator = torch.Generator().manual_seed(0)
    axis = torch.randn(4000, generator=generator)
    z = torch.stack([axis, axis, -axis], 1)

    permuted = permuted_axes(z, generator)

    torch.testing.assert_close(permuted.sort(0).values, z.sort(0).values)
    correlation = torch.corrcoef(permuted.T) - torch.eye(3)
    assert correlation.abs().max() < 0.06


def test_a_trained_critic_estimates_the_total_correlation_of_a_gaussian() -> None:
    torch.manual_seed(0)
    correlation = torch.tensor([[1.0, 0.7, 0.0], [0.7, 1.0, 0.3], [0.0, 0.3, 1.0]])
    root = torch.linalg.cholesky(correlation)
    critic = Critic(3, n_hidden=64, n_layers=2)
    optimizer = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.9))

    for _ in range(600):
        optimizer.zero_grad()
        critic_loss(critic, torch.randn(256, 3) @ root.T).value.backward()
        optimizer.step()

    with torch.no_grad():
        estimate = critic(torch.randn(20_000, 3) @ root.T).mean().item()
    closed_form = -0.5 * math.log(torch.linalg.det(correlation).item())
    assert estimate == pytest.approx(closed_form, abs=0.07)


def test_a_critic_of_independent_axes_is_right_half_of_the_time() -> None:
    torch.manual_seed(0)
    critic = Critic(4, n_hidden=16, n_layers=1)

    loss = critic_loss(critic, torch.randn(20_000, 4))

    assert loss.accuracy.item() == pytest.approx(0.5, abs=0.02)
    assert loss.value.item() == pytest.approx(math.log(2.0), abs=0.05)


def test_without_a_critic_the_loss_is_the_rest(step: Step) -> None:
    terms = FactorVAE(gamma=35.0)(step)

    assert list(terms.penalties) == ["kl"]
    torch.testing.assert_close(terms.total(), BetaVAE()(step).total())


def test_with_a_critic_its_log_odds_are_charged_gamma_times(step: Step) -> None:
    objective = FactorVAE(gamma=35.0, critic_hidden=8, critic_layers=1)
    critic = objective.make_critic(4).double()

    terms = objective(replace(step, critic=critic))

    assert terms.penalties["total_correlation"].weight == 35.0
    torch.testing.assert_close(terms.penalties["total_correlation"].value, critic(step.z))


def test_asking_for_the_total_correlation_without_a_critic_says_where_to_get_it(
    step: Step,
) -> None:
    with pytest.raises(ValueError, match=r"only while training.*metrics\.total_correlation"):
        FactorVAE().total_correlation(step)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"gamma": -1.0}, "gamma", id="negative gamma"),
        pytest.param({"beta": -1.0}, "beta", id="negative beta"),
        pytest.param({"critic_hidden": 0}, "critic_hidden", id="no width"),
        pytest.param({"critic_layers": 1.5}, "critic_layers", id="half a layer"),
        pytest.param({"free_bits": math.inf}, "free_bits", id="infinite free bits"),
    ],
)
def test_settings_without_meaning_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FactorVAE(**arguments)  # type: ignore[arg-type]
