"""The beta-VAE: loss = -log p(x | z) + beta KL, free bits, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from betascvi.objectives import BetaVAE, Step
from betascvi.schedules import Linear


def make_step(loc: Tensor, scale: Tensor, progress: float = 1.0) -> Step:
    qz = Normal(loc, scale)
    pz = Normal(torch.zeros_like(loc), torch.ones_like(loc))
    reconstruction = torch.arange(1.0, len(loc) + 1.0, dtype=loc.dtype)
    return Step(reconstruction, qz, pz, loc, progress=progress)


@pytest.fixture
def step() -> Step:
    generator = torch.Generator().manual_seed(0)
    loc = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    return make_step(loc, torch.rand(7, 3, generator=generator, dtype=torch.float64) + 0.1)


@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0, 10.0])
def test_the_loss_is_the_reconstruction_plus_beta_times_the_kl(step: Step, beta: float) -> None:
    kl = kl_divergence(step.qz, step.pz).sum(-1)

    loss = BetaVAE(beta=beta)(step).total()

    assert loss.item() == pytest.approx((step.reconstruction + beta * kl).mean().item(), rel=1e-12)


def test_the_kl_is_reported_raw_with_its_weight_beside_it(step: Step) -> None:
    terms = BetaVAE(beta=4.0)(step)

    assert terms.penalties["kl"].weight == 4.0
    assert torch.allclose(
        terms.penalties["kl"].value, kl_divergence(step.qz, step.pz).sum(-1), rtol=1e-12
    )
    assert terms.reconstruction.value is step.reconstruction


def test_a_scheduled_beta_is_read_off_the_clock_of_the_step() -> None:
    objective = BetaVAE(beta=Linear(0.0, 8.0, end=0.5))
    step = make_step(torch.ones(2, 1), torch.ones(2, 1), progress=0.25)

    assert objective(step).penalties["kl"].weight == 4.0
    assert objective.weights == {"kl": Linear(0.0, 8.0, end=0.5)}


def test_below_the_free_bits_the_kl_has_a_gradient_of_exactly_zero() -> None:
    loc = torch.tensor([[0.1, 2.0], [-0.1, 1.5]], requires_grad=True)
    log_scale = torch.tensor([[0.05, -1.0], [-0.05, -1.0]], requires_grad=True)

    BetaVAE(beta=2.0, free_bits=0.1)(make_step(loc, log_scale.exp())).total().backward()

    assert loc.grad is not None
    assert log_scale.grad is not None
    assert (loc.grad[:, 0] == 0.0).all()
    assert (log_scale.grad[:, 0] == 0.0).all()
    assert (loc.grad[:, 1] != 0.0).all()
    assert (log_scale.grad[:, 1] != 0.0).all()


def test_free_bits_are_counted_on_the_mean_over_the_minibatch() -> None:
    # cells of 0 and 2 nats: one alone is below the floor, their mean of 1 nat is not
    loc = torch.tensor([[0.0], [2.0]])
    step = make_step(loc, torch.ones(2, 1))

    assert BetaVAE(free_bits=0.5)(step).penalties["kl"].value.item() == pytest.approx(1.0)
    assert BetaVAE(free_bits=1.5)(step).penalties["kl"].value.item() == pytest.approx(1.5)


def test_free_bits_of_zero_leave_the_loss_as_it_is(step: Step) -> None:
    assert BetaVAE(free_bits=0.0)(step).total() == BetaVAE()(step).total()


def test_no_axis_is_charged_less_than_its_free_bits(step: Step) -> None:
    kl = kl_divergence(step.qz, step.pz).mean(0)

    value = BetaVAE(free_bits=1.0)(step).penalties["kl"].value

    assert value.item() == pytest.approx(kl.clamp(min=1.0).sum().item(), rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"beta": -1.0}, "beta"),
        ({"beta": math.nan}, "beta"),
        ({"beta": "4"}, "beta"),
        ({"beta": Linear(-1.0, 1.0)}, "beta"),
        ({"free_bits": -0.1}, "free_bits"),
        ({"free_bits": math.inf}, "free_bits"),
        ({"free_bits": math.nan}, "free_bits"),
    ],
    ids=str,
)
def test_an_impossible_argument_is_refused_by_name(arguments: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        BetaVAE(**arguments)  # type: ignore[arg-type]
