"""Mutual information gap: the published number, its three cases, its documented failures."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betascvi._errors import UndefinedScoreError
from betascvi.metrics import mig


@given(seed=st.integers(0, 2**32 - 1))
def test_it_is_the_gap_over_the_entropy_of_the_factor(
    reference: SimpleNamespace, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.integers(2, 9, size=(1, 4)).repeat(300, 0)
    levels = np.column_stack([rng.permutation(np.arange(300) % k) for k in levels[0]])
    z = levels @ rng.normal(size=(4, 6)) + rng.normal(size=(300, 6))

    assert float(mig(z, levels)) == pytest.approx(reference.mig(z, levels), abs=1e-9)


def test_a_perfect_code_scores_one(known_factors) -> None:
    assert float(mig(*known_factors)) == pytest.approx(1, abs=0.02)


def test_a_constant_code_scores_zero(known_factors) -> None:
    z, factors = known_factors

    assert float(mig(np.full_like(z, 0.1), factors)) == 0


def test_a_code_that_stores_every_factor_twice_scores_zero(known_factors) -> None:
    z, factors = known_factors

    assert float(mig(np.hstack([z, z]), factors)) == pytest.approx(0, abs=1e-9)


def test_noise_scores_next_to_nothing() -> None:
    rng = np.random.default_rng(0)

    score = mig(rng.normal(size=(2000, 10)), rng.integers(4, size=(2000, 3)))

    assert 0 <= float(score) < 0.01


def test_it_does_not_see_one_axis_that_holds_two_factors() -> None:
    levels = np.random.default_rng(0).integers(4, size=(3000, 2))
    z = np.column_stack([levels[:, 0] + 4 * levels[:, 1], np.zeros(3000)])

    assert float(mig(z, levels)) > 0.95


def test_a_perfect_continuous_code_with_little_noise_scores_two_thirds() -> None:
    rng = np.random.default_rng(0)
    factors = rng.uniform(size=(20_000, 4))
    noise = 0.1 * factors.std() * rng.normal(size=factors.shape)

    score = mig(factors + noise, factors)

    assert float(score) == pytest.approx(0.65, abs=0.03)


def test_neighbours_see_more_of_a_continuous_code_than_bins_do() -> None:
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(1500, 2))
    z = factors + 0.1 * rng.normal(size=factors.shape)

    assert float(mig(z, factors, estimator="ksg")) > float(mig(z, factors)) + 0.05


def test_neighbours_agree_with_the_closed_form_of_a_gaussian() -> None:
    rng = np.random.default_rng(0)
    factor = rng.normal(size=4000)
    z = np.column_stack([0.8 * factor + 0.6 * rng.normal(size=4000), rng.normal(size=4000)])

    score = mig(z, factor, estimator="ksg")

    assert score.evidence[0, 0] == pytest.approx(-0.5 * np.log(1 - 0.8**2), abs=0.05)


def test_the_ksg_form_stays_in_range_where_the_estimate_passes_the_entropy() -> None:
    factor = np.random.default_rng(0).normal(size=(500, 2))

    assert 0 <= float(mig(factor, factor, estimator="ksg")) <= 1


def test_parts_take_the_gap_apart(known_factors) -> None:
    score = mig(*known_factors)

    assert score.parts["best_axis"] - score.parts["runner_up"] == pytest.approx(float(score))


def test_an_unknown_estimator_is_refused(known_factors) -> None:
    with pytest.raises(ValueError, match="'histogram' or 'ksg', got 'kde'"):
        mig(*known_factors, estimator="kde")  # type: ignore[arg-type]  # that is the test


def test_neighbours_within_levels_of_one_cell_are_refused() -> None:
    z = np.random.default_rng(0).normal(size=(40, 2))

    with pytest.raises(UndefinedScoreError, match="no level of two cells"):
        mig(z, np.arange(40), estimator="ksg")
