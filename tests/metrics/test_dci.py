"""Disentanglement, completeness and informativeness beside gradient boosting."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier

from betascvi._errors import UndefinedScoreError
from betascvi.metrics import dci
from betascvi.metrics._dci import _concentration


def case(kind: str, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    levels = np.column_stack([rng.integers(k, size=n) for k in (2, 3, 4)])
    scaled = levels / levels.std(axis=0)
    z = {
        "perfect": scaled,
        "noisy": np.column_stack([scaled + rng.normal(size=scaled.shape), rng.normal(size=n)]),
        "mixed": scaled @ rng.normal(size=(3, 5)) + 0.2 * rng.normal(size=(n, 5)),
        "copied": np.repeat(scaled + 0.3 * rng.normal(size=scaled.shape), 2, axis=1),
        "noise": rng.normal(size=(n, 4)),
    }[kind]
    return z, levels


@pytest.mark.parametrize("kind", ["perfect", "noisy", "mixed", "copied", "noise"])
def test_figures_are_those_of_gradient_boosting(reference: SimpleNamespace, kind: str) -> None:
    z, levels = case(kind)

    ours = dci(z, levels, informativeness=False)

    importance = np.column_stack(
        [
            GradientBoostingClassifier(random_state=0).fit(z, c).feature_importances_
            for c in levels.T
        ]
    )
    expected = reference.disentanglement_and_completeness(importance)
    assert (float(ours), ours.parts["completeness"]) == pytest.approx(expected, abs=0.05)


def test_the_arithmetic_is_the_published_one(reference: SimpleNamespace) -> None:
    z, levels = case("mixed")

    score = dci(z, levels, informativeness=False)

    expected = reference.disentanglement_and_completeness(score.evidence)
    assert (float(score), score.parts["completeness"]) == pytest.approx(expected, abs=1e-6)


def test_a_perfect_code_scores_one(known_factors) -> None:
    score = dci(*known_factors)

    assert (
        min(score.parts[p] for p in ("disentanglement", "completeness", "informativeness")) > 0.99
    )


def test_a_perfect_continuous_code_scores_one() -> None:
    factors = np.random.default_rng(0).uniform(size=(800, 3))

    score = dci(factors, factors)

    assert float(score) > 0.98
    assert score.parts["informativeness"] > 0.98


def test_a_constant_code_scores_zero_and_guesses_the_common_level(known_factors) -> None:
    z, factors = known_factors

    score = dci(np.full_like(z, 0.1), factors)

    assert float(score) == 0
    assert score.parts["n_dead_axes"] == 4
    assert score.details["informativeness"] == pytest.approx([1 / 2, 1 / 3, 1 / 4, 1 / 5], abs=0.03)


def test_a_factor_stored_twice_costs_completeness_and_not_disentanglement(known_factors) -> None:
    z, factors = known_factors

    score = dci(np.hstack([z, z]), factors, informativeness=False)

    assert float(score) > 0.99
    assert score.parts["completeness"] == pytest.approx(1 - np.log(2) / np.log(8), abs=0.05)


def test_an_axis_that_holds_two_factors_costs_disentanglement() -> None:
    levels = np.random.default_rng(0).integers(3, size=(900, 2))
    z = np.column_stack([levels[:, 0] + 3 * levels[:, 1], np.zeros(900)])

    score = dci(z, levels, informativeness=False)

    assert float(score) < 0.01
    assert score.parts["completeness"] > 0.99


def test_disentanglement_of_the_factors_averages_to_the_headline() -> None:
    score = dci(*case("mixed"), informativeness=False)

    assert score.per_factor.mean() == pytest.approx(float(score))


def test_an_angle_is_found_on_its_two_axes() -> None:
    rng = np.random.default_rng(0)
    angle, level = rng.uniform(0, 2 * np.pi, size=900), rng.integers(3, size=900)
    z = np.column_stack([np.cos(angle), np.sin(angle), level])

    score = dci(z, [angle, level], circular=[True, False])

    assert float(score) > 0.95
    np.testing.assert_allclose(score.evidence[:, 0], [0.5, 0.5, 0], atol=0.05)
    assert score.parts["informativeness"] > 0.95


def test_copies_of_a_cell_do_not_inform_about_each_other() -> None:
    rng = np.random.default_rng(0)
    cells = np.repeat(np.arange(80), 6)
    z, levels = rng.normal(size=(80, 3))[cells], rng.integers(2, size=(80, 2))[cells]

    torn = dci(z, levels).parts["informativeness"]
    whole = dci(z, levels, groups=cells).parts["informativeness"]

    assert torn > 0.95
    assert whole < 0.7


def test_factors_with_unlike_missing_labels_are_scored_each_on_its_cells() -> None:
    z, levels = case("noisy")
    factors = levels.astype(float)
    factors[:50, 0] = np.nan

    with_gaps = dci(z, factors, discrete=True)
    known = dci(z[50:], levels[50:])

    assert with_gaps.evidence[:, 0] == pytest.approx(known.evidence[:, 0])


def test_the_same_seed_gives_the_same_numbers() -> None:
    one, other = (dci(*case("copied"), seed=5) for _ in range(2))

    np.testing.assert_array_equal(one.evidence, other.evidence)
    assert dict(one.parts) == dict(other.parts)


def test_one_factor_is_refused() -> None:
    z, levels = case("noisy")

    with pytest.raises(UndefinedScoreError, match="dci compares factors"):
        dci(z, levels[:, :1])


def test_one_axis_is_refused() -> None:
    z, levels = case("noisy")

    with pytest.raises(UndefinedScoreError, match="dci compares axes"):
        dci(z[:, :1], levels)


def test_concentration_runs_from_even_to_single() -> None:
    weights = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])

    np.testing.assert_allclose(_concentration(weights), [0, 1, 0], atol=1e-12)
