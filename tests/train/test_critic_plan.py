"""The critic: trained beside the model, by its own optimiser, and never saved with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from betascvi import BetaSCVI
from betascvi.objectives import BetaTCVAE, BetaVAE, FactorVAE
from betascvi.objectives._critic import Critic
from betascvi.train import CriticPlan, ObjectivePlan
from betascvi.train._critic_plan import CriticTraining

MakeModel = Callable[..., BetaSCVI]
SMALL = FactorVAE(gamma=3.0, critic_hidden=8, critic_layers=1)


@pytest.fixture
def model(make_model: MakeModel, quick: dict[str, Any], path: dict[str, Any]) -> BetaSCVI:
    model = make_model(objective=SMALL)
    model.train(**quick | path, max_epochs=3, train_size=0.8, check_val_every_n_epoch=1)
    return model


def test_an_objective_with_a_critic_is_trained_by_the_plan_that_has_one(model: BetaSCVI) -> None:
    assert isinstance(model.trainer.lightning_module, CriticPlan)


def test_an_objective_without_a_critic_keeps_the_plain_plan(
    make_model: MakeModel, quick: dict[str, Any]
) -> None:
    model = make_model(objective=BetaVAE())

    model.train(**quick, max_epochs=1)

    assert type(model.trainer.lightning_module) is ObjectivePlan


def test_a_critic_without_an_objective_that_makes_one_is_refused(make_model: MakeModel) -> None:
    with pytest.raises(ValueError, match=r"BetaVAE.*makes no critic"):
        CriticPlan(make_model(objective=BetaVAE()).module)


def test_its_loss_and_accuracy_are_in_the_history(model: BetaSCVI) -> None:
    accuracy = model.history["critic_accuracy"].iloc[:, 0].astype(float)
    loss = model.history["critic_loss"].iloc[:, 0].astype(float)

    assert len(accuracy) == len(loss) == 3
    assert accuracy.between(0.0, 1.0).all()
    assert loss.iloc[-1] == pytest.approx(math.log(2.0), abs=0.3)


def test_the_total_correlation_is_reported_for_both_sets_of_cells(model: BetaSCVI) -> None:
    names = {"total_correlation_train", "total_correlation_validation", "total_correlation_weight"}

    assert names <= set(model.history)


def test_the_saved_model_has_no_critic(model: BetaSCVI, tmp_path: Path) -> None:
    model.save(tmp_path / "model")

    saved = torch.load(tmp_path / "model" / "model.pt", weights_only=False)
    assert not [name for name in saved["model_state_dict"] if "critic" in name]
    assert not [name for name in dict(model.module.named_modules()) if "critic" in name]


def test_a_critic_learns_from_the_samples_it_was_shown_and_from_those_only_once() -> None:
    torch.manual_seed(0)
    critic = Critic(2, n_hidden=8, n_layers=1)
    training = CriticTraining(critic, lr=1e-2)
    before = [p.clone() for p in critic.parameters()]

    training.step()
    untouched = [torch.equal(p, b) for p, b in zip(critic.parameters(), before, strict=True)]
    critic(torch.randn(16, 2, requires_grad=True))
    training.step()
    after = [p.clone() for p in critic.parameters()]
    training.step()

    assert all(untouched)
    assert not any(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert all(torch.equal(p, a) for p, a in zip(critic.parameters(), after, strict=True))


def test_an_evaluation_shows_a_critic_nothing() -> None:
    critic = Critic(2, n_hidden=8, n_layers=1)
    training = CriticTraining(critic, lr=1e-2)
    before = [p.clone() for p in critic.parameters()]

    with torch.no_grad():
        critic(torch.randn(16, 2))
    training.step()

    assert all(torch.equal(p, b) for p, b in zip(critic.parameters(), before, strict=True))


def test_the_models_loss_leaves_no_gradient_on_the_critic() -> None:
    critic = Critic(2, n_hidden=8, n_layers=1)
    CriticTraining(critic, lr=1e-2)
    z = torch.randn(16, 2, requires_grad=True)

    critic(z).mean().backward()

    assert z.grad is not None
    assert all(p.grad is None for p in critic.parameters())


def test_a_critic_finds_what_two_axes_share() -> None:
    torch.manual_seed(0)
    critic = Critic(2, n_hidden=32, n_layers=2)
    training = CriticTraining(critic, lr=3e-3)

    for _ in range(300):
        axis = torch.randn(128, 1)
        critic(torch.cat([axis, axis + 0.3 * torch.randn(128, 1)], 1).requires_grad_())
        training.step()

    assert training.read_and_reset()["accuracy"].item() > 0.65
    assert training.read_and_reset() == {}


@pytest.mark.filterwarnings("ignore:Last batch will have a small size")
@pytest.mark.parametrize("objective", [BetaTCVAE(), SMALL], ids=["beta-TCVAE", "FactorVAE"])
def test_a_cell_left_over_at_the_end_of_an_epoch_trains(
    make_model: MakeModel, quick: dict[str, Any], path: dict[str, Any], objective: Any
) -> None:
    model = make_model(81, objective=objective)

    model.train(**quick | path, max_epochs=2, train_size=1.0)

    assert math.isfinite(float(model.history["train_loss"].iloc[-1, 0]))


def test_minibatches_of_one_cell_are_refused_where_cells_are_compared(
    make_model: MakeModel, quick: dict[str, Any], path: dict[str, Any]
) -> None:
    model = make_model(30, objective=BetaTCVAE())

    with pytest.raises(ValueError, match=r"one cell.*at least two.*batch_size"):
        model.train(**quick | path | {"batch_size": 1}, max_epochs=1, train_size=1.0)


def test_elbo_and_evidence_are_read_from_a_model_trained_against_a_critic(model: BetaSCVI) -> None:
    assert math.isfinite(float(model.get_elbo()))
    assert math.isfinite(float(model.get_marginal_ll(n_mc_samples=10)))
