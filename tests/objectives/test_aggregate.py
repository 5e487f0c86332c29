"""log q(z) from a minibatch: exact where it can be, right weights where it cannot."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal

from betascvi.objectives._aggregate import AggregateDensity, aggregate_density, minibatch_weights

Posterior = tuple[Tensor, Tensor]


def by_hand(q: Normal, z: Tensor, log_weights: Tensor) -> AggregateDensity:
    """The same, one posterior at a time, through torch's own distributions and autograd."""
    log_q = q.log_prob(z[:, None])  # (sample, posterior, axis)
    joint = torch.logsumexp(log_q.sum(-1) + log_weights, 1)
    marginals = torch.logsumexp(log_q + log_weights[..., None], 1).sum(-1)
    return AggregateDensity(q.log_prob(z).sum(-1), joint, marginals)


def draws(posterior: Posterior) -> tuple[Normal, Tensor]:
    torch.manual_seed(0)
    q = Normal(*posterior)
    return q, q.sample()


def test_a_minibatch_of_all_cells_gives_the_exact_density(posterior: Posterior) -> None:
    q, z = draws(posterior)

    density = aggregate_density(q, z, n_cells=9)

    exact = by_hand(q, z, torch.full((9, 9), -math.log(9.0), dtype=torch.float64))
    torch.testing.assert_close(tuple(density), tuple(exact), rtol=0, atol=1e-10)


def test_the_weight_of_a_samples_own_cell_stands_on_the_diagonal(posterior: Posterior) -> None:
    q, z = draws(posterior)
    weights = torch.full((9, 9), 999 / (1000 * 8), dtype=torch.float64).fill_diagonal_(1 / 1000)

    density = aggregate_density(q, z, n_cells=1000)

    torch.testing.assert_close(tuple(density), tuple(by_hand(q, z, weights.log())))


@given(n_minibatch=st.integers(2, 500), n_cells=st.integers(1, 10**7))
def test_stratified_weights_of_a_sample_sum_to_one(n_minibatch: int, n_cells: int) -> None:
    own, other = minibatch_weights(n_minibatch, n_cells, "mss")

    assert own + (n_minibatch - 1) * other == pytest.approx(1.0, rel=1e-12)
    assert own == pytest.approx(1.0 / max(n_cells, n_minibatch))


def test_the_weighted_estimator_is_the_published_one(posterior: Posterior) -> None:
    q, z = draws(posterior)
    weights = torch.full((9, 9), 1 / (1000 * 9), dtype=torch.float64)

    density = aggregate_density(q, z, n_cells=1000, estimator="mws")

    torch.testing.assert_close(tuple(density), tuple(by_hand(q, z, weights.log())))


def test_gradients_are_those_of_autograd_through_every_density(posterior: Posterior) -> None:
    weights = torch.full((9, 9), 999 / (1000 * 8), dtype=torch.float64).fill_diagonal_(1 / 1000)
    z = draws(posterior)[1]
    both = []
    for estimate in (
        lambda q, z: aggregate_density(q, z, 1000),
        lambda q, z: by_hand(q, z, weights.log()),
    ):
        inputs = [t.clone().requires_grad_() for t in (*posterior, z)]
        density = estimate(Normal(*inputs[:2]), inputs[2])
        (density.joint.square() - 3.0 * density.marginals).sum().backward()
        both.append([t.grad for t in inputs])

    torch.testing.assert_close(both[0], both[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n_minibatch", "tolerance"), [(128, 1.0), (1024, 0.2)])
def test_total_correlation_of_a_factorised_posterior_is_nearly_zero(
    n_minibatch: int, tolerance: float
) -> None:
    torch.manual_seed(0)
    loc = math.sqrt(0.75) * torch.randn(8, n_minibatch, 10)
    posteriors = [Normal(mean, torch.full_like(mean, 0.5)) for mean in loc]

    densities = [aggregate_density(q, q.sample(), n_cells=20_000) for q in posteriors]

    total = torch.stack([(d.joint - d.marginals).mean() for d in densities]).mean()
    assert abs(total) <= tolerance


def test_single_precision_survives_narrow_posteriors_far_apart() -> None:
    loc = 50.0 * torch.arange(16.0)[:, None].expand(-1, 3)
    q = Normal(loc, torch.full_like(loc, 1e-4))

    density = aggregate_density(q, loc, n_cells=16)

    alone = q.log_prob(loc).sum(-1) - math.log(16.0)
    torch.testing.assert_close(density.joint, alone, rtol=1e-6, atol=1e-4)
    assert torch.isfinite(density.marginals).all()


def test_one_cell_of_many_is_refused_because_there_is_no_other(posterior: Posterior) -> None:
    q = Normal(posterior[0][:1], posterior[1][:1])

    with pytest.raises(ValueError, match=r"at least two.*batch_size"):
        aggregate_density(q, q.loc, n_cells=1000)


def test_one_cell_that_is_all_there_is_has_the_density_of_its_posterior(
    posterior: Posterior,
) -> None:
    q = Normal(posterior[0][:1], posterior[1][:1])

    density = aggregate_density(q, q.loc, n_cells=1)

    torch.testing.assert_close(density.joint, density.posterior)
    torch.testing.assert_close(density.marginals, density.posterior)
