"""Modularity: the published number, dead axes apart."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betascvi._errors import UndefinedScoreError
from betascvi.metrics import modularity


@given(seed=st.integers(0, 2**32 - 1))
def test_it_is_the_published_mean_over_axes(reference: SimpleNamespace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.integers(5, size=(400, 3))
    z = levels @ rng.normal(size=(3, 5)) + rng.normal(size=(400, 5))

    ours = modularity(z, levels)

    np.testing.assert_allclose(
        ours.details["per_axis"], reference.modularity_of_axes(z, levels), atol=1e-9
    )
    assert float(ours) == pytest.approx(ours.details["per_axis"].mean())


def test_a_perfect_code_scores_one(known_factors) -> None:
    assert float(modularity(*known_factors)) == pytest.approx(1, abs=0.01)


def test_an_axis_that_holds_two_factors_equally_scores_zero() -> None:
    levels = np.random.default_rng(0).integers(4, size=(4000, 2))
    z = (levels[:, 0] + 4 * levels[:, 1])[:, None]

    assert float(modularity(z, levels)) == pytest.approx(0, abs=0.01)


def test_copies_of_axes_change_nothing(known_factors) -> None:
    z, factors = known_factors

    assert float(modularity(np.hstack([z, z]), factors)) == pytest.approx(
        float(modularity(z, factors))
    )


def test_dead_axes_leave_the_mean_and_are_counted(known_factors) -> None:
    z, factors = known_factors
    with_dead = np.column_stack([z, np.full(len(z), 0.1), np.full(len(z), 1e6)])

    score = modularity(with_dead, factors)

    assert float(score) == float(modularity(z, factors))
    assert score.parts["n_dead_axes"] == 2
    assert score.parts["with_dead_axes"] == pytest.approx(float(score) * 4 / 6)


def test_an_embedding_of_dead_axes_scores_zero(known_factors) -> None:
    z, factors = known_factors

    assert float(modularity(np.full_like(z, 0.1), factors)) == 0


@pytest.mark.parametrize(
    ("n_levels", "documented"),
    [pytest.param([4] * 5, 0.4, id="alike"), pytest.param([2, 3, 4, 5], 0.7, id="unlike")],
)
def test_noise_scores_far_from_zero_as_documented(n_levels: list[int], documented: float) -> None:
    rng = np.random.default_rng(0)
    factors = np.column_stack([rng.integers(k, size=3000) for k in n_levels])

    score = modularity(rng.normal(size=(3000, 60)), factors)

    assert float(score) == pytest.approx(documented, abs=0.08)


def test_one_factor_is_refused(known_factors) -> None:
    z, factors = known_factors

    with pytest.raises(UndefinedScoreError, match="modularity compares factors"):
        modularity(z, factors[:, :1])
