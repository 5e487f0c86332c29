from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import norm

from betascvi._errors import UndefinedScoreError
from betascvi.metrics._information_identity import information_identity


def _posteriors(n_cells=300, n_axes=4, sd=0.4, seed=0):
    rng = np.random.default_rng([seed, 77])
    mean = rng.normal(size=(n_cells, n_axes)) * rng.uniform(0.3, 1.3, size=n_axes)
    variance = sd**2 * rng.uniform(0.5, 1.5, size=(n_cells, n_axes))
    return mean, variance


def _brute_force(mean, variance, n_draws):
    """Both terms from scipy's normal density, cell by cell, without any control variate."""
    rng = np.random.default_rng(1)
    information, gap = [], []
    for _ in range(n_draws):
        z = rng.normal(mean, np.sqrt(variance))
        pairs = norm.logpdf(z[:, None], mean, np.sqrt(variance)).sum(-1)
        log_q = logsumexp(pairs, axis=1) - math.log(len(mean))
        information.append((np.diag(pairs) - log_q).mean())
        gap.append((log_q - norm.logpdf(z).sum(-1)).mean())
    return float(np.mean(information)), float(np.mean(gap))


@pytest.mark.parametrize("sd", [0.05, 0.3, 0.9])
def test_both_terms_agree_with_brute_force(sd):
    mean, variance = _posteriors(sd=sd)

    split = information_identity(mean, variance, rng=np.random.default_rng(0))

    information, gap = _brute_force(mean, variance, n_draws=60)
    assert split.information == pytest.approx(information, abs=0.05)
    assert split.gap == pytest.approx(gap, abs=0.05)


@pytest.mark.parametrize("sd", [0.05, 0.3, 0.9])
def test_a_sample_of_cells_agrees_with_all_of_them_on_each_term(sd):
    mean, variance = _posteriors(n_cells=3000, n_axes=8, sd=sd)

    exact = information_identity(mean, variance, rng=np.random.default_rng(0))
    sampled = information_identity(mean, variance, rng=np.random.default_rng(1), n_queries=1500)

    assert exact.is_exact
    assert not sampled.is_exact
    assert sampled.information == pytest.approx(exact.information, abs=0.05)
    assert sampled.gap == pytest.approx(exact.gap, abs=0.05)


@given(seed=st.integers(0, 10_000), sd=st.floats(0.02, 1.5))
def test_terms_add_up_to_the_closed_form_rate_and_stay_in_range(seed, sd):
    mean, variance = _posteriors(n_cells=60, n_axes=3, sd=sd, seed=seed)

    split = information_identity(mean, variance, rng=np.random.default_rng(seed))

    rate = 0.5 * (variance + mean**2 - 1 - np.log(variance)).sum(1).mean()
    assert split.rate == pytest.approx(rate, abs=1e-9)
    assert split.information + split.gap == pytest.approx(rate, abs=1e-9)
    assert -5 * split.standard_error <= split.information
    assert split.information <= split.ceiling + 5 * split.standard_error + 1e-9
    assert split.unseen_information >= split.information - 5 * split.standard_error - 1e-9


def test_posteriors_that_do_not_overlap_read_log_n_and_no_overlap():
    mean, variance = _posteriors(n_cells=200, sd=1e-3)

    split = information_identity(mean, variance, rng=np.random.default_rng(0))

    assert split.information == pytest.approx(math.log(200), abs=1e-6)
    assert split.overlap < 0.02
    assert split.unseen_information > 10 * split.ceiling


def test_collapsed_posteriors_read_no_information_and_no_gap():
    split = information_identity(
        np.zeros((100, 3)), np.ones((100, 3)), rng=np.random.default_rng(0)
    )

    assert split.rate == pytest.approx(0.0, abs=1e-12)
    assert split.information == pytest.approx(0.0, abs=1e-9)
    assert split.overlap == pytest.approx(1.0, abs=0.5)


def test_codes_off_the_prior_are_booked_on_the_gap():
    split = information_identity(
        np.full((100, 2), 2.0), np.ones((100, 2)), rng=np.random.default_rng(0)
    )

    assert split.information == pytest.approx(0.0, abs=1e-9)
    assert split.gap == pytest.approx(4.0, abs=1e-9)


def test_the_order_of_cells_does_not_matter_beyond_the_error_of_the_draws():
    mean, variance = _posteriors()
    order = np.random.default_rng(3).permutation(len(mean))

    one = information_identity(mean, variance, rng=np.random.default_rng(0))
    other = information_identity(mean[order], variance[order], rng=np.random.default_rng(0))

    assert one.information == pytest.approx(other.information, abs=0.05)


@pytest.mark.parametrize(
    ("mean", "variance", "message"),
    [
        pytest.param(np.zeros((5, 2)), np.zeros((5, 2)), "variances positive", id="zero variance"),
        pytest.param(np.full((5, 2), np.nan), np.ones((5, 2)), "finite", id="missing mean"),
        pytest.param(np.zeros((5, 2)), np.ones((5, 3)), "one .cells, axes. shape", id="shapes"),
        pytest.param(np.zeros((1, 2)), np.ones((1, 2)), "two cells", id="one cell"),
    ],
)
def test_posteriors_that_are_none_are_refused(mean, variance, message):
    with pytest.raises(UndefinedScoreError, match=message):
        information_identity(mean, variance, rng=np.random.default_rng(0))
