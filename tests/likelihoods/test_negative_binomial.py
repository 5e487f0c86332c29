"""The negative binomial against fifty digits, scipy and scvi-tools, and its own identities."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from betascvi import likelihoods

COUNTS = (0, 1, 2, 3, 7, 50, 1000, 100_000)
THETAS = (1e-4, 1e-2, 0.3, 1.0, 5.0, 100.0, 1e4, 1e6, 1e8)
MEANS = (1e-8, 1e-4, 0.1, 1.0, 30.0, 1e3, 1e6)
GRID = np.array(list(itertools.product(COUNTS, THETAS, MEANS)))


def _evaluate(grid, dtype):
    """Value and derivatives by log mu and log theta, one point of the grid per cell."""
    x, theta, mu = torch.tensor(grid).split(1, dim=1)
    log_mu, log_theta = (t.log().to(dtype).requires_grad_() for t in (mu, theta))
    nll = likelihoods.negative_binomial(
        likelihoods.SparseRows.from_dense(x), log_mu, torch.zeros_like(log_mu), log_theta, "exp"
    )
    nll.sum().backward()
    return nll.detach(), log_mu, log_theta


def _exactly(x, log_mu, log_theta):
    """The log-likelihood in fifty digits at the very arguments that floating point was given."""
    x, mu, theta = mpmath.mpf(x), mpmath.exp(log_mu), mpmath.exp(log_theta)
    return (
        mpmath.loggamma(x + theta)
        - mpmath.loggamma(theta)
        - mpmath.loggamma(x + 1)
        + theta * mpmath.log(theta / (theta + mu))
        + x * mpmath.log(mu / (theta + mu))
    )


def _exact_slopes(x, log_mu, log_theta):
    x, mu, theta = mpmath.mpf(x), mpmath.exp(log_mu), mpmath.exp(log_theta)
    by_mu = theta * (x - mu) / (theta + mu)
    by_theta = theta * (
        mpmath.digamma(x + theta)
        - mpmath.digamma(theta)
        - mpmath.log1p(mu / theta)
        + (mu - x) / (theta + mu)
    )
    return by_mu, by_theta


def _fifty_digits(function, log_mu, log_theta):
    points = zip(GRID[:, 0], log_mu.flatten().tolist(), log_theta.flatten().tolist(), strict=True)
    with mpmath.workdps(50):
        return np.array([function(*map(mpmath.mpf, point)) for point in points])


def _relative_error(mine, exact):
    with mpmath.workdps(50):
        return np.array(
            [
                float(abs(mpmath.mpf(m) - e) / abs(e))
                for m, e in zip(mine.flatten().tolist(), exact, strict=True)
            ]
        )


def test_double_precision_equals_fifty_digits_over_all_ranges():
    nll, log_mu, log_theta = _evaluate(GRID, torch.float64)

    exact = -_fifty_digits(_exactly, log_mu, log_theta)

    assert _relative_error(nll, exact).max() < 1e-10


def test_single_precision_equals_fifty_digits_within_1e_5_over_all_ranges():
    nll, log_mu, log_theta = _evaluate(GRID, torch.float32)

    exact = -_fifty_digits(_exactly, log_mu, log_theta)

    assert _relative_error(nll, exact).max() < 1e-5


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-10), (torch.float32, 1e-5)],
    ids=["double", "single"],
)
def test_slopes_equal_fifty_digits_over_all_ranges(dtype, tolerance):
    _, log_mu, log_theta = _evaluate(GRID, dtype)

    slopes = -_fifty_digits(_exact_slopes, log_mu, log_theta)

    # Each slope is a sum of terms of either sign, and is judged by their sizes.
    x, theta, mu = GRID.T
    terms = np.stack(
        [
            (x + mu) * theta / (theta + mu),
            x * (x - 1) / (x + theta) + mu * (x + mu) / (mu + theta),
        ],
        axis=1,
    )
    mine = torch.cat([log_mu.grad, log_theta.grad], 1).double().numpy()
    assert (np.abs(mine - slopes.astype(float)) / terms).max() < tolerance


def test_single_precision_is_finite_over_all_ranges():
    nll, log_mu, log_theta = _evaluate(GRID, torch.float32)

    assert all(torch.isfinite(t).all() for t in (nll, log_mu.grad, log_theta.grad))


def test_scipy_agrees_wherever_its_own_parameter_can_be_written_down():
    x, theta, mu = GRID[GRID[:, 2] > 1e-9 * GRID[:, 1]].T  # its p = theta / (theta + mu) is not 1

    nll, *_ = _evaluate(np.stack([x, theta, mu], 1), torch.float64)

    scipy = -stats.nbinom.logpmf(x, theta, theta / (theta + mu))
    np.testing.assert_allclose(nll.numpy(), scipy, rtol=1e-5)


@pytest.mark.parametrize("name", ["NegativeBinomial", "ZeroInflatedNegativeBinomial", "Poisson"])
def test_scvi_tools_agrees_at_moderate_values(minibatch, name):
    distributions = pytest.importorskip("scvi.distributions")
    batch = minibatch(0, 0.2)
    mu = torch.softmax(batch.logits, -1) * batch.log_library.exp()
    rest = {"theta": batch.log_dispersion.exp(), "zi_logits": batch.dropout_logits}
    theirs = {
        "NegativeBinomial": lambda: distributions.NegativeBinomial(mu=mu, theta=rest["theta"]),
        "ZeroInflatedNegativeBinomial": lambda: distributions.ZeroInflatedNegativeBinomial(
            mu=mu, **rest
        ),
        "Poisson": lambda: distributions.Poisson(rate=mu),
    }
    kind = {
        "NegativeBinomial": "negative_binomial",
        "ZeroInflatedNegativeBinomial": "zero_inflated_negative_binomial",
        "Poisson": "poisson",
    }

    mine = batch.evaluate(kind[name])["nll"]

    expected = -theirs[name]().log_prob(batch.x).sum(-1)
    torch.testing.assert_close(mine, expected, rtol=2e-6, atol=0.0)


@given(log_mu=st.floats(-6.0, 2.5), log_theta=st.floats(-1.0, 12.0))
def test_probabilities_of_all_counts_sum_to_one(log_mu, log_theta):
    x = torch.arange(3000.0, dtype=torch.float64)[:, None]
    log_rate = torch.full_like(x, log_mu)
    rows = likelihoods.SparseRows.from_dense(x)
    theta = torch.tensor([log_theta], dtype=torch.float64)

    nll = likelihoods.negative_binomial(rows, log_rate, torch.zeros_like(x), theta, "exp")

    assert float(torch.exp(-nll).sum()) == pytest.approx(1.0, abs=1e-9)


def test_a_large_theta_gives_the_poisson(minibatch):
    batch = minibatch(1, 0.5).to(torch.float64)
    arguments = (batch.rows, batch.logits, batch.log_library)

    nearly = likelihoods.negative_binomial(*arguments, torch.full((60,), 60.0).double())

    torch.testing.assert_close(nearly, likelihoods.poisson(*arguments), rtol=1e-13, atol=0.0)


def test_a_dispersion_per_cell_and_gene_equals_one_per_gene_repeated(minibatch):
    batch = minibatch(2, 0.2)
    once = batch.log_dispersion.clone().requires_grad_()
    everywhere = batch.log_dispersion.expand_as(batch.logits).clone().requires_grad_()

    def value(log_dispersion):
        nll = likelihoods.negative_binomial(
            batch.rows, batch.logits, batch.log_library, log_dispersion
        )
        (nll * batch.weight).sum().backward()
        return nll.detach()

    torch.testing.assert_close(value(once), value(everywhere), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(everywhere.grad.sum(0), once.grad, rtol=1e-5, atol=1e-6)


def test_zero_inflation_that_never_happens_gives_the_plain_likelihood(minibatch):
    batch = minibatch(3, 0.2)
    arguments = (batch.rows, batch.logits, batch.log_library, batch.log_dispersion)

    never = likelihoods.zero_inflated_negative_binomial(
        *arguments, torch.full_like(batch.logits, -50.0)
    )

    plain = likelihoods.negative_binomial(*arguments)
    torch.testing.assert_close(never, plain, rtol=1e-6, atol=0.0)


def test_logits_that_leave_single_precision_are_evaluated_in_log_space(minibatch):
    batch = minibatch(4, 0.2)
    batch.logits[:, ::2] -= 200.0  # exp underflows, and counts lie there

    nll = batch.evaluate("negative_binomial")["nll"]

    exact = batch.to(torch.float64).evaluate("negative_binomial")["nll"]
    torch.testing.assert_close(nll.double(), exact, rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("shift", [-60.0, 60.0, 500.0], ids=lambda shift: f"{shift:g}")
def test_a_softmax_does_not_mind_a_constant_in_its_logits(minibatch, shift):
    batch = minibatch(5, 0.2)
    arguments = (batch.log_library, batch.log_dispersion)
    plain = likelihoods.negative_binomial(batch.rows, batch.logits, *arguments)

    moved = likelihoods.negative_binomial(batch.rows, batch.logits + shift, *arguments)

    torch.testing.assert_close(moved, plain, rtol=3e-5, atol=0.0)
