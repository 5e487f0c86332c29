from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from betascvi.datasets._negative_binomial import draw_negative_binomial


@pytest.mark.parametrize(
    ("mean", "dispersion"),
    [(0.02, 0.5), (0.2, 3.0), (3.0, 1.0), (5.0, 1e4), (200.0, 3.0), (50.0, 0.1)],
)
def test_draws_follow_scipys_negative_binomial(mean, dispersion):
    rng = np.random.default_rng(7)
    draws = draw_negative_binomial(np.full((400, 250), mean), np.full(250, dispersion), rng)
    law = stats.nbinom(dispersion, dispersion / (dispersion + mean))
    edges = np.unique(law.ppf(np.linspace(0, 1, 21)[1:-1]))
    expected = np.diff(np.concatenate([[0.0], law.cdf(edges), [1.0]]))

    observed = np.bincount(
        np.searchsorted(edges, draws.toarray().ravel(), side="left"), minlength=len(expected)
    )

    assert stats.chisquare(observed, expected * draws.shape[0] * draws.shape[1]).pvalue > 1e-4


@given(seed=st.integers(0, 2**32 - 1), n_cells=st.integers(0, 5), n_genes=st.integers(1, 5))
def test_draws_are_a_sorted_matrix_of_positive_whole_numbers(seed, n_cells, n_genes):
    rng = np.random.default_rng(seed)
    rates = np.exp(3 * rng.standard_normal((n_cells, n_genes)))

    draws = draw_negative_binomial(rates, np.ones(n_genes), rng)

    assert draws.shape == (n_cells, n_genes)
    assert draws.has_canonical_format
    assert np.all(draws.data >= 1)
    assert np.all(draws.data == np.round(draws.data))


def test_genes_keep_their_own_mean_and_dispersion():
    rng = np.random.default_rng(0)
    rates = np.tile([0.5, 8.0, 8.0], (40_000, 1))
    dispersion = np.array([1.0, 2.0, 50.0])

    draws = draw_negative_binomial(rates, dispersion, rng).toarray()

    np.testing.assert_allclose(draws.mean(0), rates[0], rtol=0.03)
    np.testing.assert_allclose(draws.var(0), rates[0] + rates[0] ** 2 / dispersion, rtol=0.05)
