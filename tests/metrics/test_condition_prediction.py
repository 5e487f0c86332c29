"""Linear classifiers of single axes: scikit-learn's accuracy at a cost that does not grow."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from betascvi.metrics import condition_prediction


@pytest.mark.parametrize("n_levels", [2, 4])
@pytest.mark.parametrize("shape", ["normal", "skewed", "few values"])
def test_accuracies_are_those_of_a_logistic_regression(n_levels: int, shape: str) -> None:
    rng = np.random.default_rng(0)
    level = rng.choice(n_levels, p=np.arange(1, n_levels + 1) * 2 / (n_levels**2 + n_levels),
                       size=2000)  # fmt: skip
    x = level + rng.normal(size=2000)
    x = {"normal": x, "skewed": np.exp(x), "few values": np.round(x)}[shape]

    ours = condition_prediction(x[:, None], level)

    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    reader = LogisticRegression(class_weight="balanced")
    named = cross_val_predict(reader, (x / x.std())[:, None], level, cv=folds)
    assert float(ours) == pytest.approx(balanced_accuracy_score(level, named), abs=0.02)


def test_a_perfect_code_scores_one_on_its_axis_and_chance_elsewhere(known_factors) -> None:
    score = condition_prediction(*known_factors)

    np.testing.assert_allclose(np.diag(score.evidence), 1)
    np.testing.assert_allclose(score.details["chance"], [1 / 2, 1 / 3, 1 / 4, 1 / 5])
    off_diagonal = (score.evidence - score.details["chance"])[~np.eye(4, dtype=bool)]
    assert np.abs(off_diagonal).max() < 0.1


def test_a_constant_code_scores_chance(known_factors) -> None:
    z, factors = known_factors

    score = condition_prediction(np.full_like(z, 0.1), factors)

    assert float(score) == pytest.approx(score.parts["chance"])


def test_copies_of_axes_change_nothing(known_factors) -> None:
    z, factors = known_factors

    once, twice = condition_prediction(z, factors), condition_prediction(np.hstack([z, z]), factors)

    np.testing.assert_array_equal(twice.evidence, np.vstack([once.evidence] * 2))


def test_an_angle_is_read_in_arcs() -> None:
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, size=1000)

    score = condition_prediction(angle[:, None], angle, circular=True, n_bins=4)

    assert float(score) > 0.95
    assert score.parts["chance"] == 0.25


def test_a_level_of_one_cell_is_counted_as_missed() -> None:
    level = np.r_[np.arange(100) % 2, 2]

    score = condition_prediction(level[:, None].astype(float), level)

    assert float(score) == pytest.approx(2 / 3)


def test_one_level_left_in_the_fitted_cells_is_what_is_guessed() -> None:
    level, donors = np.repeat([0, 1], 50), np.repeat([0, 1], 50)

    score = condition_prediction(level[:, None].astype(float), level, n_folds=2, groups=donors)

    assert float(score) == 0
