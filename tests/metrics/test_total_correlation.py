"""Total correlation: the closed form of a Gaussian."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from betascvi._errors import UndefinedScoreError
from betascvi.metrics import total_correlation


@given(seed=st.integers(0, 2**32 - 1))
def test_it_is_the_entropy_that_the_covariance_costs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)) + 0.1 * rng.normal(size=(300, 4))
    covariance = np.cov(z, rowvar=False)

    expected = (
        sum(multivariate_normal(cov=v).entropy() for v in np.diag(covariance))
        - multivariate_normal(cov=covariance).entropy()
    )

    assert float(total_correlation(z)) == pytest.approx(expected, abs=1e-8)


def test_independent_axes_score_next_to_nothing() -> None:
    z = np.random.default_rng(0).normal(size=(20_000, 5))

    assert float(total_correlation(z)) == pytest.approx(5 * 4 / 4 / 20_000, abs=1e-3)


def test_rank_scores_do_not_move_with_monotone_changes_of_an_axis() -> None:
    z = np.random.default_rng(0).normal(size=(500, 3)) @ np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]])

    warped = np.column_stack([np.exp(z[:, 0]), z[:, 1] ** 3, z[:, 2]])

    assert float(total_correlation(warped, marginals="ranks")) == pytest.approx(
        float(total_correlation(z, marginals="ranks"))
    )


def test_dead_axes_are_left_out_and_counted() -> None:
    z = np.random.default_rng(0).normal(size=(500, 3))
    z[:, 1] += z[:, 0]

    score = total_correlation(np.column_stack([z, np.full(500, 0.1)]))

    assert float(score) == pytest.approx(float(total_correlation(z)))
    assert score.parts["n_dead_axes"] == 1


def test_an_embedding_of_dead_axes_scores_zero() -> None:
    assert float(total_correlation(np.full((50, 3), 0.1))) == 0


def test_a_copied_axis_is_refused_as_infinite() -> None:
    x = np.random.default_rng(0).normal(size=(100, 1))

    with pytest.raises(UndefinedScoreError, match="exact linear combination"):
        total_correlation(np.hstack([x, 2 * x]))


def test_unknown_marginals_are_refused() -> None:
    with pytest.raises(ValueError, match="'gaussian' or 'ranks', got 'kde'"):
        total_correlation(np.eye(3), marginals="kde")  # type: ignore[arg-type]  # that is the test


def test_a_single_cell_is_refused() -> None:
    with pytest.raises(UndefinedScoreError, match="holds one"):
        total_correlation(np.eye(3)[:1])
