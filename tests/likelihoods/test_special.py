"""Differences of gamma functions against fifty digits."""

from __future__ import annotations

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from betascvi.likelihoods._special import (
    log1p_minus,
    log_rising_factorial,
    softplus,
    softplus_minus_sigmoid,
)


def _double(number):
    return torch.tensor([number], dtype=torch.float64)


@given(x=st.one_of(st.integers(1, 10**5), st.floats(0.01, 1e5)), log_theta=st.floats(-60.0, 40.0))
def test_rising_factorials_keep_their_digits_for_every_theta(x, log_theta):
    value, slope = log_rising_factorial(_double(float(x)), _double(log_theta))

    with mpmath.workdps(60):
        theta = mpmath.exp(mpmath.mpf(log_theta))
        exact = mpmath.loggamma(x + theta) - mpmath.loggamma(theta) - x * max(log_theta, 0)
        exact_slope = theta * (mpmath.digamma(x + theta) - mpmath.digamma(theta)) - x
    assert float(value) == pytest.approx(float(exact), rel=1e-12, abs=1e-12 * (x + abs(log_theta)))
    assert float(slope) == pytest.approx(float(exact_slope), rel=1e-7, abs=1e-30)


def test_the_rising_factorial_of_one_has_no_slope_at_all():
    log_theta = torch.linspace(-30.0, 40.0, 71, dtype=torch.float64)

    _, slope = log_rising_factorial(torch.ones_like(log_theta), log_theta)

    assert not slope.any()


@given(y=st.floats(1e-150, 1e8))
def test_log1p_minus_its_argument_keeps_its_digits(y):
    with mpmath.workdps(400):
        exact = float(mpmath.log1p(mpmath.mpf(y)) - mpmath.mpf(y))

    assert float(log1p_minus(_double(y))) == pytest.approx(exact, rel=1e-13)


@given(u=st.floats(-300.0, 300.0))
def test_softplus_and_its_excess_over_a_sigmoid_keep_their_digits(u):
    with mpmath.workdps(400):
        r = mpmath.exp(mpmath.mpf(u))
        exact, excess = mpmath.log1p(r), mpmath.log1p(r) - r / (1 + r)

    assert float(softplus(_double(u))) == pytest.approx(float(exact), rel=1e-13)
    assert float(softplus_minus_sigmoid(_double(u))) == pytest.approx(float(excess), rel=1e-12)
