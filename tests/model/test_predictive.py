"""Counts drawn in pairs: each arm from its own distribution, and as alike as they can be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from betascvi.model._predictive import Predictive, carry, draw_pair

N = 20_000


def arm(mean: float, theta: float | None, dropout: float | None = None) -> Predictive:
    return Predictive(
        np.full((N, 1), mean, dtype=np.float32),
        None if theta is None else np.full((N, 1), theta, dtype=np.float32),
        None if dropout is None else np.full((N, 1), dropout),
    )


def distance_to(drawn: np.ndarray, mean: float, theta: float | None, dropout: float) -> float:
    """Largest gap of the distribution functions."""
    at = np.arange(200)
    if theta is None:
        expected = stats.poisson(mean).cdf(at)
    else:
        expected = stats.nbinom(theta, theta / (theta + mean)).cdf(at)
    expected = dropout + (1 - dropout) * expected
    return float(np.abs((drawn <= at).mean(0) - expected).max())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param((2.0, 1.5, None), (5.0, 1.5, None), id="more"),
        pytest.param((5.0, 1.5, None), (0.5, 1.5, None), id="less"),
        pytest.param((2.0, 1.5, None), (2.0, 0.4, None), id="another dispersion"),
        pytest.param((2.0, None, None), (3.0, None, None), id="Poisson"),
        pytest.param((2.0, 1.5, 0.2), (3.0, 1.5, 0.6), id="zero inflation"),
    ],
)
def test_each_arm_has_its_own_distribution(
    one: tuple[float, float | None, float | None], other: tuple[float, float | None, float | None]
) -> None:
    drawn = draw_pair(arm(*one), arm(*other), np.random.default_rng(0))

    gaps = [
        distance_to(counts, mean, theta, dropout or 0.0)
        for counts, (mean, theta, dropout) in zip(drawn, (one, other), strict=True)
    ]
    assert max(gaps) < 0.015  # 1.63 / sqrt(20,000) is the 1 % point of Kolmogorov's statistic


def test_equal_arms_draw_equal_counts() -> None:
    first, second = draw_pair(arm(3.0, 0.8, 0.1), arm(3.0, 0.8, 0.1), np.random.default_rng(1))

    np.testing.assert_array_equal(first, second)


def test_pairs_differ_less_than_separate_draws_do() -> None:
    rng = np.random.default_rng(2)

    first, second = draw_pair(arm(3.0, 1.0), arm(3.3, 1.0), rng)
    alone, _ = draw_pair(arm(3.3, 1.0), arm(3.3, 1.0), rng)

    assert (second - first).var() < 0.2 * (alone - first).var()


CARRIED = [
    pytest.param((2.0, 1.5), (5.0, 1.5), id="more"),
    pytest.param((5.0, 1.5), (0.5, 1.5), id="less"),
    pytest.param((2.0, 1.5), (2.0, 0.4), id="another dispersion"),
    pytest.param((2.0, None), (3.0, None), id="Poisson"),
]


@pytest.mark.parametrize(("one", "other"), CARRIED)
def test_counts_of_one_likelihood_carried_over_follow_the_other(
    one: tuple[float, float | None], other: tuple[float, float | None]
) -> None:
    rng = np.random.default_rng(3)
    observed, _ = draw_pair(arm(*one), arm(*one), rng)

    carried = carry(observed, arm(*one), arm(*other), rng)

    assert distance_to(carried, *other, 0.0) < 0.015


@pytest.mark.parametrize("theta", [0.7, None])
def test_counts_carried_to_where_they_are_stay_whatever_they_are(theta: float | None) -> None:
    observed = np.random.default_rng(4).integers(0, 60, size=(N, 1)).astype(np.float32)

    carried = carry(observed, arm(3.0, theta), arm(3.0, theta), np.random.default_rng(5))

    np.testing.assert_array_equal(carried, observed)


def test_a_cell_with_more_than_expected_keeps_having_more() -> None:
    rng = np.random.default_rng(6)
    many, none = np.full((N, 1), 30.0), np.zeros((N, 1))

    carried = [carry(x, arm(3.0, 1.0), arm(6.0, 1.0), rng).mean() for x in (many, none)]

    # the posterior mean of the scale is (theta + x) / (theta + mean); it adds to x its rate
    assert carried[0] == pytest.approx(30.0 + 3.0 * 31.0 / 4.0, rel=0.02)
    assert carried[1] == pytest.approx(3.0 / 4.0, rel=0.05)


def test_fractional_counts_stay_where_nothing_is_thinned() -> None:
    counts = np.array([[0.7, 1.6, 3.0]])
    same = Predictive(np.array([[1.0, 2.0, 3.0]]), np.ones(3))
    less = Predictive(np.array([[1.0, 1e-9, 3.0]]), np.ones(3))

    kept = carry(counts, same, same, np.random.default_rng(0))
    thinned = carry(counts, same, less, np.random.default_rng(0))

    np.testing.assert_allclose(kept, counts, rtol=1e-6)
    np.testing.assert_allclose(thinned, [[0.7, 0.0, 3.0]], rtol=1e-6)
