"""Separated attribute predictability: the published gaps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.svm import LinearSVC

from betascvi.metrics import sap


@given(seed=st.integers(0, 2**32 - 1))
def test_continuous_scores_are_squared_correlations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(200, 3))
    z = factors @ rng.normal(size=(3, 4)) + rng.normal(size=(200, 4))

    score = sap(z, factors)

    expected = np.corrcoef(z.T, factors.T)[:4, 4:] ** 2
    gaps = np.diff(np.sort(expected, axis=0)[-2:], axis=0)
    np.testing.assert_allclose(score.evidence, expected, atol=1e-9)
    assert float(score) == pytest.approx(gaps.mean(), abs=1e-9)


@pytest.mark.parametrize("kind", ["perfect", "noisy", "mixed"])
def test_discrete_scores_are_those_of_the_published_machine(kind: str) -> None:
    rng = np.random.default_rng(1)
    levels = np.column_stack([rng.integers(k, size=2000) for k in (2, 3)])
    mixing = np.eye(2) if kind != "mixed" else rng.normal(size=(2, 4))
    z = levels @ mixing + {"perfect": 0.0, "noisy": 0.6, "mixed": 0.3}[kind] * rng.normal(
        size=(2000, mixing.shape[1])
    )

    ours = sap(z, levels).evidence

    machine = LinearSVC(C=0.01, class_weight="balanced")
    expected = [
        [np.mean(machine.fit(x[:, None], c).predict(x[:, None]) == c) for c in levels.T]
        for x in z.T
    ]
    np.testing.assert_allclose(ours, expected, atol=0.02)


def test_a_perfect_continuous_code_scores_one() -> None:
    factors = np.random.default_rng(0).normal(size=(3000, 3))

    assert float(sap(factors, factors)) == pytest.approx(1, abs=0.01)


def test_a_constant_code_scores_zero(known_factors) -> None:
    z, factors = known_factors

    assert float(sap(np.full_like(z, 0.1), factors)) == 0
    assert float(sap(np.full_like(z, 0.1), factors, discrete=False)) == 0


@pytest.mark.parametrize("discrete", [True, False])
def test_a_code_that_stores_every_factor_twice_scores_zero(known_factors, discrete: bool) -> None:
    z, factors = known_factors

    assert float(sap(np.hstack([z, z]), factors, discrete)) == pytest.approx(0, abs=1e-9)


def test_a_perfect_code_of_many_levels_scores_less_than_half_as_documented() -> None:
    factors = np.random.default_rng(0).integers(8, size=(1500, 2))

    assert float(sap(factors * 1.0, factors)) < 0.5


def test_an_angle_counts_through_cosine_and_sine() -> None:
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, size=500)
    z = np.column_stack([np.cos(angle - 1), rng.normal(size=500)])
    circle = np.column_stack([np.cos(angle), np.sin(angle)])

    score = sap(z, angle, circular=True)

    expected = [LinearRegression().fit(circle, x).score(circle, x) for x in z.T]
    np.testing.assert_allclose(score.evidence[:, 0], expected, atol=1e-9)


def test_balanced_accuracy_does_not_reward_guessing_the_common_level() -> None:
    rng = np.random.default_rng(0)
    rare = (rng.random(2000) < 0.05).astype(int)
    z = np.column_stack([np.zeros(2000), rng.normal(size=2000)])

    plain, balanced = sap(z, rare), sap(z, rare, balanced=True)

    assert plain.evidence.max() > 0.9
    np.testing.assert_allclose(balanced.evidence[:, 0], 0.5, atol=0.1)


def test_balanced_weighs_a_crowded_bin_like_an_empty_one() -> None:
    rng = np.random.default_rng(0)
    factor = np.concatenate([rng.normal(size=2000) * 0.01, np.linspace(-3, 3, 100)])
    noise = np.where(np.abs(factor) < 0.1, 3 * rng.normal(size=2100), 0)
    z = np.column_stack([factor + noise, rng.normal(size=2100)])

    assert float(sap(z, factor, balanced=True)) > float(sap(z, factor)) + 0.2


def test_a_level_with_one_cell_does_no_harm() -> None:
    rng = np.random.default_rng(0)
    level = np.r_[rng.integers(2, size=99), 2]

    assert np.isfinite(sap(rng.normal(size=(100, 2)), level).evidence).all()
