"""IWAE on a linear-Gaussian toy, where the evidence is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from betascvi.objectives import IWAE, Draws, Step

LOADING = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.7, 0.2]], dtype=torch.float64)
NOISE = 0.7
X = torch.tensor([[0.5, -1.0, 0.3], [1.5, 0.2, 0.9]], dtype=torch.float64)


def misfit(z: Tensor, loading: Tensor = LOADING) -> Tensor:
    """-log p(x | z) of x = W z + noise."""
    return -Normal(z @ loading.T, NOISE).log_prob(X).sum(-1)


def evidence() -> Tensor:
    covariance = LOADING @ LOADING.T + NOISE**2 * torch.eye(3, dtype=torch.float64)
    return MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariance).log_prob(X)


def step_at(loc: Tensor, scale: Tensor, loading: Tensor = LOADING) -> Step:
    """A step whose posterior is given; draws are fresh at every call."""
    qz = Normal(loc, scale)
    z = qz.rsample()

    def resample(k: int) -> Draws:
        draws = qz.rsample((k,))
        return Draws(draws, misfit(draws, loading))

    prior = Normal(torch.zeros_like(loc), torch.ones_like(loc))
    return Step(misfit(z, loading), qz, prior, z, resample=resample)


def off_posterior() -> tuple[Tensor, Tensor]:
    """A guide that is wrong in place and width."""
    loc = torch.tensor([[0.1, -0.2], [0.6, 0.1]], dtype=torch.float64)
    return loc, torch.full_like(loc, 0.8)


def bound(n_samples: int, n_repeats: int) -> float:
    torch.manual_seed(0)
    step = step_at(*off_posterior())
    values = [-IWAE(n_samples)(step).total() for _ in range(n_repeats)]
    return torch.stack(values).mean().item()


def test_the_bound_approaches_the_exact_evidence() -> None:
    assert bound(500, 50) == pytest.approx(evidence().mean().item(), abs=0.05)


def test_the_bound_does_not_fall_as_samples_are_added() -> None:
    bounds = [bound(k, 4000 // k) for k in (2, 5, 20, 100)]

    assert bounds == sorted(bounds)
    assert bounds[-1] <= evidence().mean().item() + 0.02


def test_one_sample_gives_the_elbo_at_the_sample_of_the_step(step: Step) -> None:
    loss = IWAE(n_samples=1)(step).total()

    kl = (step.qz.log_prob(step.z) - step.pz.log_prob(step.z)).sum(-1)
    torch.testing.assert_close(loss, (step.reconstruction + kl).mean())


@pytest.mark.parametrize("n_samples", [1, 6])
def test_gradients_agree_with_those_of_the_bound_on_average(n_samples: int) -> None:
    n_repeats = 20_000
    loc, scale = (t.repeat(n_repeats, 1) for t in off_posterior())
    x = X.repeat(n_repeats, 1)

    def gradients(loss_of: Callable[[Step, Draws], Tensor]) -> list[Tensor]:
        torch.manual_seed(0)
        leaves = [loc[:2].clone(), scale[:2].clone(), LOADING.clone()]
        mean, sd, loading = (t.requires_grad_() for t in leaves)
        qz = Normal(mean.repeat(n_repeats, 1), sd.repeat(n_repeats, 1))

        def reconstruction(z: Tensor) -> Tensor:
            return -Normal(z @ loading.T, NOISE).log_prob(x).sum(-1)

        z = qz.rsample((n_samples,))
        draws = Draws(z, reconstruction(z))
        prior = Normal(torch.zeros_like(qz.loc), torch.ones_like(qz.loc))
        step = Step(draws.reconstruction[0], qz, prior, z[0], resample=lambda _k: draws)
        loss_of(step, draws).backward()
        return [t.grad for t in (mean, sd, loading)]  # type: ignore[misc]

    def plain(step: Step, draws: Draws) -> Tensor:
        z = draws.z
        log_w = (step.pz.log_prob(z) - step.qz.log_prob(z)).sum(-1) - draws.reconstruction
        return -(torch.logsumexp(log_w, 0) - math.log(n_samples)).mean()

    ours = gradients(lambda step, _draws: IWAE(n_samples)(step).total())

    torch.testing.assert_close(ours, gradients(plain), rtol=0.05, atol=0.01)


def test_the_encoders_gradient_is_less_noisy_than_that_of_the_plain_bound() -> None:
    torch.manual_seed(0)
    ours, plain = [], []
    for _ in range(300):
        leaves = [t.clone().requires_grad_() for t in off_posterior()]
        IWAE(50)(step_at(*leaves)).total().backward()
        ours.append(leaves[0].grad)
        leaves = [t.clone().requires_grad_() for t in off_posterior()]
        step = step_at(*leaves)
        draws = step.resample(50)  # type: ignore[misc]
        log_w = (step.pz.log_prob(draws.z) - step.qz.log_prob(draws.z)).sum(-1)
        torch.logsumexp(log_w - draws.reconstruction, 0).mean().backward()
        plain.append(leaves[0].grad)

    def noise(gradients: list[Tensor | None]) -> Tensor:
        return torch.stack([g for g in gradients if g is not None]).var(0).mean()

    assert noise(ours) < 0.5 * noise(plain)


def test_several_samples_need_a_step_that_can_draw_them(step: Step) -> None:
    with pytest.raises(ValueError, match=r"IWAE\(n_samples=3\).*further samples"):
        IWAE(n_samples=3)(step)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, True])
def test_a_number_of_samples_below_one_is_refused(n_samples: int) -> None:
    with pytest.raises(ValueError, match="n_samples is a whole number from 1"):
        IWAE(n_samples=n_samples)
