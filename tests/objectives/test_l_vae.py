"""L-VAE: the stationary point of its sigmas, its caps, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from betascvi.objectives import LVAE, LossTerms, Step

StepOf = Callable[..., Step]


def settled(objective: LVAE, step: Step) -> LossTerms:
    """The terms once the sigmas have settled, the network's losses held."""
    state = objective.make_state(step.z.shape[-1]).double()
    frozen = replace(step, state=state)
    optimizer = torch.optim.LBFGS(
        state.parameters(), max_iter=500, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(frozen).total()
        loss.backward()
        return loss

    optimizer.step(closure)
    return objective(frozen)


def trained(objective: LVAE, step: Step, n_steps: int, state: nn.Module | None = None) -> nn.Module:
    """The sigmas after some steps as a training plan takes them."""
    state = objective.make_state(step.z.shape[-1]).double() if state is None else state
    optimizer = torch.optim.Adam(state.parameters(), lr=0.03, betas=(0.9, 0.9))
    for _ in range(n_steps):
        optimizer.zero_grad()
        objective(replace(step, state=state)).total().backward()
        optimizer.step()
    return state


@pytest.fixture
def live_step(step_of: StepOf) -> Step:
    """Axes of 2, 0.5 and 0 nats: means (+-m) at width s."""
    shift = torch.tensor([1.5, 0.6, 0.0], dtype=torch.float64)
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(4)[:, None]
    scale = torch.tensor([0.35, 0.7, 1.0], dtype=torch.float64).expand(8, 3)
    return step_of(sign * shift, scale)


@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.01])
def test_beta_hat_settles_at_the_root_of_scaled_reconstruction_over_kl(
    live_step: Step, scale: float, epsilon: float
) -> None:
    terms = settled(LVAE(scale=scale, epsilon=epsilon), live_step)

    kl = terms.penalties["kl"].value.mean()
    law = (scale * live_step.reconstruction.mean() / (kl + epsilon)).sqrt().item()
    assert terms.reports["beta_hat"].item() == pytest.approx(law, rel=1e-3)
    assert terms.reports["realised_beta"].item() == pytest.approx(law / scale, rel=1e-3)
    assert terms.reports["sigma0"].item() ** 4 == pytest.approx(
        scale * live_step.reconstruction.mean().item(), rel=1e-3
    )


def test_with_the_network_held_rescaling_the_loss_moves_beta_hat_by_its_root(
    live_step: Step,
) -> None:
    objective = LVAE(scale=4.0)

    plain = settled(objective, live_step)
    rescaled = settled(
        objective, replace(live_step, reconstruction=25.0 * live_step.reconstruction)
    )

    ratio = rescaled.reports["beta_hat"] / plain.reports["beta_hat"]
    assert ratio.item() == pytest.approx(5.0, rel=0.01)


def test_every_axis_settles_at_the_root_of_its_own_kl(live_step: Step) -> None:
    objective = LVAE(per_axis=True, epsilon=0.01)

    terms = settled(objective, live_step)

    for axis in (1, 2, 3):
        term = terms.penalties[f"kl_axis_{axis}"]
        expected = (term.value.mean() + 0.01) ** -0.5
        assert torch.as_tensor(term.weight).item() == pytest.approx(expected.item(), rel=1e-3)


def test_epsilon_caps_the_weight_of_an_axis_that_carries_nothing(live_step: Step) -> None:
    terms = settled(LVAE(per_axis=True, epsilon=0.04), live_step)

    assert torch.as_tensor(terms.penalties["kl_axis_3"].weight).item() == pytest.approx(
        5.0, rel=1e-3
    )


def test_without_epsilon_the_weight_of_a_dead_kl_grows_without_end(step_of: StepOf) -> None:
    zero = torch.zeros(4, 2, dtype=torch.float64)
    dead = step_of(zero, zero + 1.0)
    objective = LVAE(epsilon=0.0)

    weights = [
        torch.as_tensor(
            objective(replace(dead, state=trained(objective, dead, n))).penalties["kl"].weight
        )
        for n in (100, 300, 600)
    ]

    assert 2.0 < weights[0] < 0.5 * weights[1] < 0.25 * weights[2]


def test_without_the_sum_of_squares_sigmas_grow_without_end(live_step: Step) -> None:
    objective = LVAE(sum_of_squares=False)

    sigmas = [
        objective(replace(live_step, state=trained(objective, live_step, n))).reports["sigma0"]
        for n in (100, 200, 300)
    ]

    assert 1.0 < sigmas[0] < 0.8 * sigmas[1] < 0.8 * 0.8 * sigmas[2]


def test_a_negative_reconstruction_loss_shrinks_sigma0_to_its_bound(live_step: Step) -> None:
    negative = replace(live_step, reconstruction=-live_step.reconstruction)
    objective = LVAE(bounds=(0.5, 20.0))

    state = trained(objective, negative, n_steps=200)

    sigma0 = objective(replace(negative, state=state)).reports["sigma0"].item()
    assert sigma0 == pytest.approx(0.5, rel=1e-6)


def test_a_sigma_comes_back_from_its_bound_when_the_loss_turns(live_step: Step) -> None:
    objective = LVAE(scale=1.0, bounds=(0.5, 20.0))
    negative = replace(live_step, reconstruction=-live_step.reconstruction)
    state = trained(objective, negative, n_steps=200)

    state = trained(objective, live_step, n_steps=400, state=state)

    sigma0 = objective(replace(live_step, state=state)).reports["sigma0"].item()
    assert sigma0**4 == pytest.approx(live_step.reconstruction.mean().item(), rel=1e-2)


def test_the_loss_is_the_published_one_at_scale_one_and_epsilon_zero(live_step: Step) -> None:
    objective = LVAE(scale=1.0, epsilon=0.0, sigma_init=2.0)
    state = objective.make_state(3).double()

    terms = objective(replace(live_step, state=state))

    kl = terms.penalties["kl"].value.mean()
    published = live_step.reconstruction.mean() / 4 + kl / 4 + 4.0 + 4.0
    assert terms.total().item() == pytest.approx(published.item(), rel=1e-6)


def test_a_step_without_what_it_learns_is_refused(live_step: Step) -> None:
    with pytest.raises(ValueError, match="make_state"):
        LVAE()(live_step)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"scale": 0.0}, "scale is a number above 0", id="scale zero"),
        pytest.param({"sigma_init": -1.0}, "sigma_init", id="negative sigma"),
        pytest.param({"bounds": (2.0, 1.0)}, "bounds are two rising", id="bounds crossed"),
        pytest.param({"bounds": (0.0, 1.0)}, "bounds are two rising", id="bound of zero"),
        pytest.param({"bounds": (2.0, 3.0)}, "sigma_init lies within", id="init outside"),
        pytest.param({"epsilon": -0.1}, "epsilon is nats from 0", id="negative epsilon"),
        pytest.param({"epsilon": math.nan}, "epsilon is nats from 0", id="epsilon nan"),
        pytest.param({"free_bits": 0.1}, "LVAE has no free_bits", id="free bits"),
    ],
)
def test_settings_without_meaning_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LVAE(**arguments)  # type: ignore[arg-type]


def test_bounds_given_as_a_list_are_kept_as_frozen_data() -> None:
    objective = LVAE(bounds=[0.5, 2.0])  # type: ignore[arg-type]

    assert objective == LVAE(bounds=(0.5, 2.0))
    assert hash(objective) == hash(LVAE(bounds=(0.5, 2.0)))


def test_sigmas_take_no_gradient_from_reports(live_step: Step) -> None:
    state = LVAE().make_state(3).double()

    reports = LVAE()(replace(live_step, state=state)).reports

    assert not any(value.requires_grad for value in reports.values())
    assert all(isinstance(value, Tensor) and value.dim() == 0 for value in reports.values())


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_network_learns_at_the_pace_of_a_reconstruction_that_weighs_one(
    live_step: Step, scale: float
) -> None:
    terms = settled(LVAE(scale=scale), live_step)

    reconstruction, kl = (
        torch.as_tensor(terms.pace * term.weight).item()
        for term in (terms.reconstruction, terms.penalties["kl"])
    )
    assert reconstruction == pytest.approx(1.0)
    assert kl == pytest.approx(terms.reports["realised_beta"].item())


def test_the_scale_left_open_is_larger_with_one_sigma_an_axis() -> None:
    joint, by_axis = LVAE(), LVAE(per_axis=True)

    assert (joint.scale, by_axis.scale) == (30.0, 100.0)
    assert joint == LVAE(scale=30.0)
    assert LVAE(scale=7.0, per_axis=True).a == 7.0
