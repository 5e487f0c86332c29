"""The beta-TCVAE: three parts of the KL, each with its weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from betascvi.objectives import BetaTCVAE, Step
from betascvi.schedules import Linear

PARTS = ("index_code_mi", "total_correlation", "dimension_wise_kl")
estimators = pytest.mark.parametrize("estimator", ["mss", "mws"])


@estimators
def test_the_three_parts_sum_to_the_monte_carlo_kl(step: Step, estimator: str) -> None:
    penalties = BetaTCVAE(estimator=estimator)(step).penalties  # type: ignore[arg-type]

    total = sum(penalties[name].value for name in PARTS)

    sampled = (step.qz.log_prob(step.z) - step.pz.log_prob(step.z)).sum(-1)
    torch.testing.assert_close(total, sampled)


def test_with_all_weights_one_the_loss_is_the_sampled_elbo(step: Step) -> None:
    loss = BetaTCVAE(beta=1.0)(step).total()

    sampled = (step.qz.log_prob(step.z) - step.pz.log_prob(step.z)).sum(-1)
    torch.testing.assert_close(loss, (step.reconstruction + sampled).mean())


def test_each_part_has_a_weight_of_its_own_that_may_be_a_schedule(step: Step) -> None:
    objective = BetaTCVAE(beta=Linear(0.0, 8.0, end=1.0), alpha=2.0, gamma=0.5)

    penalties = objective(replace(step, progress=0.5)).penalties

    assert {name: penalties[name].weight for name in PARTS} == {
        "index_code_mi": 2.0,
        "total_correlation": 4.0,
        "dimension_wise_kl": 0.5,
    }


def test_axes_of_anchored_blocks_are_charged_their_own_kl_and_nothing_else(
    posterior: tuple[Tensor, Tensor], step_of: Callable[..., Step]
) -> None:
    step = step_of(
        *posterior, n_cells=9, blocks={"batch": slice(0, 1), "free": slice(1, 4)}
    )  # fmt: skip
    free = step_of(posterior[0][:, 1:], posterior[1][:, 1:], n_cells=9, z=step.z[:, 1:])

    penalties = BetaTCVAE()(step).penalties

    anchored = kl_divergence(step.qz, step.pz)[:, 0]
    torch.testing.assert_close(penalties["anchored_kl"].value, anchored)
    alone = BetaTCVAE()(free).penalties
    torch.testing.assert_close(
        {name: penalties[name].value for name in PARTS},
        {name: alone[name].value for name in PARTS},
    )


def test_a_minibatch_of_one_cell_is_refused_by_name(
    posterior: tuple[Tensor, Tensor], step_of: Callable[..., Step]
) -> None:
    lone = step_of(posterior[0][:1], posterior[1][:1], n_cells=100)

    with pytest.raises(ValueError, match=r"one cell.*at least two"):
        BetaTCVAE()(lone)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"beta": -1.0}, "beta", id="negative beta"),
        pytest.param({"alpha": Linear(-0.1, 1.0)}, "alpha", id="schedule below zero"),
        pytest.param({"gamma": float("nan")}, "gamma", id="no number"),
        pytest.param({"estimator": "exact"}, "estimator is 'mss' or 'mws'", id="estimator"),
        pytest.param({"free_bits": 0.1}, "BetaTCVAE has no free_bits", id="free bits"),
    ],
)
def test_settings_without_meaning_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BetaTCVAE(**arguments)  # type: ignore[arg-type]
