"""The one-axis regression behind condition_prediction."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from betascvi.metrics._binned_logistic import named_levels


def binned(seed: int, n_levels: int, n_bins: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = np.sort(rng.normal(size=n_bins))
    chance = np.exp(-np.abs(centres[:, None] - rng.normal(size=n_levels)))
    return centres, rng.poisson(20 * chance)


@pytest.mark.parametrize("n_levels", [2, 3, 8])
@pytest.mark.parametrize("seed", range(3))
def test_the_fit_is_scikit_learns_balanced_one(seed: int, n_levels: int) -> None:
    centres, counts = binned(seed, n_levels)
    bins, levels = np.nonzero(counts)
    per_level = counts.sum(axis=0)
    weights = counts[bins, levels] * (counts.sum() / (n_levels * per_level[levels]))
    reference = LogisticRegression(tol=1e-10, max_iter=10_000).fit(
        centres[bins, None], levels, sample_weight=weights
    )
    named, _ = named_levels(centres, counts)
    assert (named == reference.predict(centres[:, None])).mean() > 0.97


def test_a_start_from_another_fit_changes_nothing() -> None:
    centres, counts = binned(0, 5)
    cold, weights = named_levels(centres, counts)
    warm, _ = named_levels(centres, counts, 3 * weights)
    np.testing.assert_array_equal(cold, warm)


def test_levels_told_apart_without_error_keep_finite_weights() -> None:
    centres = np.linspace(-1, 1, 20)
    counts = np.column_stack([centres < 0, centres >= 0]) * 1000
    named, weights = named_levels(centres, counts)
    np.testing.assert_array_equal(named, centres >= 0)
    assert np.isfinite(weights).all()


def test_a_level_without_cells_is_never_named() -> None:
    centres, counts = binned(1, 4)
    counts[:, 2] = 0
    named, _ = named_levels(centres, counts)
    assert set(named) <= {0, 1, 3}


def test_one_level_alone_is_named_everywhere() -> None:
    named, weights = named_levels(np.arange(3.0), np.array([[0, 4], [0, 1], [0, 0]]))
    np.testing.assert_array_equal(named, 1)
    assert weights is None
