"""The boosted probe against scikit-learn's gradient boosting, and its traps."""

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from betascvi.metrics._boosting import BoostedProbe, residual_gains
from betascvi.metrics._inputs import as_columns


def shares(gains: np.ndarray) -> np.ndarray:
    return gains / gains.sum()


def test_importances_of_a_number_are_gradient_boostings() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 4))
    target = z[:, 0] + 0.5 * z[:, 1] * z[:, 0] + 0.3 * rng.normal(size=600)

    ours = BoostedProbe(z, 0).gains(as_columns(target, 600)[0])

    expected = GradientBoostingRegressor(random_state=0).fit(z, target).feature_importances_
    np.testing.assert_allclose(shares(ours), expected, atol=0.02)


def test_a_copied_axis_shares_evenly_with_its_original() -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(2, size=500)
    one = level + 0.3 * rng.normal(size=500)
    z = np.column_stack([one, rng.normal(size=500), one])

    ours = shares(BoostedProbe(z, 0).gains(as_columns(level, 500)[0]))

    assert ours[0] == pytest.approx(ours[2], rel=0.3)


def test_factors_of_any_number_of_levels_may_follow_each_other() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 5))
    columns = as_columns([rng.integers(k, size=300) for k in (2, 7, 3, 9, 2)], 300)
    probe = BoostedProbe(z, 0)

    once = [probe.gains(column) for column in columns]
    again = [probe.gains(column) for column in columns[::-1]][::-1]

    np.testing.assert_array_equal(once, again)


def test_held_out_guesses_of_two_levels_many_levels_and_a_number_are_right() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(800, 2))
    columns = as_columns([z[:, 0] > 0, np.digitize(z[:, 1], [-1, 0, 1]), z[:, 0]], 800)
    probe = BoostedProbe(z, 0)
    fitted, asked = np.arange(600), np.arange(600, 800)

    right = [np.mean(probe.predict(c, fitted, asked)[:, 0] == c.values[asked]) for c in columns[:2]]
    error = probe.predict(columns[2], fitted, asked)[:, 0] - columns[2].values[asked]

    assert min(right) > 0.97
    assert np.mean(error**2) < 0.02


def test_a_level_that_the_fitted_cells_lack_is_never_guessed() -> None:
    rng = np.random.default_rng(0)
    level = np.r_[rng.integers(2, size=200), np.full(50, 2)]
    column = as_columns(level, 250)[0]

    guess = BoostedProbe(rng.normal(size=(250, 3)), 0).predict(
        column, np.arange(200), np.arange(200, 250)
    )

    assert set(guess[:, 0]) <= {0, 1}


def test_a_model_without_splits_has_no_gain() -> None:
    level = np.arange(100) % 2
    probe = BoostedProbe(np.zeros((100, 3)), 0)

    np.testing.assert_array_equal(probe.gains(as_columns(level, 100)[0]), np.zeros(3))
    np.testing.assert_array_equal(residual_gains("no trees", 3), np.zeros(3))
