"""Explicitness beside scikit-learn's logistic regression and ROC area."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from betascvi.metrics import explicitness


@pytest.mark.parametrize("n_levels", [2, 5])
def test_it_is_the_area_of_a_logistic_regression(n_levels: int) -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(n_levels, size=4000)
    z = np.eye(n_levels)[level] @ rng.normal(size=(n_levels, 4)) + rng.normal(size=(4000, 4))

    ours = explicitness(z, level)

    fit, test = np.arange(2000), np.arange(2000, 4000)
    scaled = (z - z[fit].mean(axis=0)) / z[fit].std(axis=0)
    p = LogisticRegression().fit(scaled[fit], level[fit]).predict_proba(scaled[test])
    expected = np.mean([roc_auc_score(level[test] == k, p[:, k]) for k in range(n_levels)])
    assert float(ours) == pytest.approx(expected, abs=0.012)


def test_a_perfect_code_scores_one() -> None:
    level = np.random.default_rng(0).integers(4, size=(600, 2))

    assert float(explicitness(np.hstack([np.eye(4)[c] for c in level.T]), level)) == 1


@pytest.mark.parametrize("value", [0.1, 0.0])
def test_a_constant_code_scores_a_half(known_factors, value: float) -> None:
    z, factors = known_factors

    assert float(explicitness(np.full_like(z, value), factors)) == 0.5


def test_noise_scores_a_half() -> None:
    rng = np.random.default_rng(0)

    score = explicitness(rng.normal(size=(1500, 5)), rng.integers(3, size=(1500, 2)))

    assert float(score) == pytest.approx(0.5, abs=0.03)
    assert score.parts["above_chance"] == pytest.approx(2 * float(score) - 1)


def test_a_rotation_of_the_embedding_changes_nothing(known_factors) -> None:
    z, factors = known_factors
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    z = z + 0.3 * np.random.default_rng(1).normal(size=z.shape)

    before, after = explicitness(z, factors), explicitness(z @ rotation, factors)

    assert float(after) == pytest.approx(float(before), abs=0.01)


def test_a_dead_axis_does_no_harm(known_factors) -> None:
    z, factors = known_factors

    with_dead = explicitness(np.column_stack([z, np.full(len(z), 7.0)]), factors)

    assert float(with_dead) == float(explicitness(z, factors))


def test_copies_of_a_cell_stay_on_one_side_of_every_fold() -> None:
    rng = np.random.default_rng(0)
    cells = np.repeat(np.arange(60), 8)
    z, level = rng.normal(size=(60, 20))[cells], rng.integers(2, size=60)[cells]

    assert float(explicitness(z, level)) > 0.75
    assert float(explicitness(z, level, groups=cells)) < 0.65


def test_a_level_with_one_cell_is_left_out_where_a_fold_lacks_it() -> None:
    rng = np.random.default_rng(0)
    level = np.r_[np.arange(99) % 2, 2]

    assert 0 <= float(explicitness(rng.normal(size=(100, 2)), level)) <= 1
