"""Moments of genes, against data whose parameters are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse

from betascvi.data import gene_moments

THETA = np.array([0.3, 1.0, 3.0, 10.0])
SHARE = np.array([0.1, 0.2, 0.3, 0.4])


def counts(n_cells: int, size: np.ndarray, seed: int = 0) -> np.ndarray:
    """Negative-binomial counts with known shares and dispersions."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(THETA, size[:, None] * SHARE / THETA, size=(n_cells, 4))
    return rng.poisson(rate).astype(np.int32)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csr_array])
def test_known_dispersions_are_found_whatever_the_size_of_cells(form: Any) -> None:
    size = np.random.default_rng(1).uniform(50, 400, size=15_000)
    x = counts(15_000, size)

    found = gene_moments(form(x), size)

    np.testing.assert_allclose(found.mean, SHARE, rtol=0.03)
    np.testing.assert_allclose(np.exp(found.log_dispersion), THETA, rtol=0.15)


def test_without_a_size_factor_means_are_per_cell_and_sizes_are_totals() -> None:
    x = counts(500, np.full(500, 100.0))

    found = gene_moments(x)

    totals = x.sum(1, keepdims=True)
    mu = totals * x.sum(0) / x.sum()
    theta = (mu**2).sum(0) / ((x - mu) ** 2 - mu).sum(0)
    np.testing.assert_allclose(found.mean, x.mean(0))
    np.testing.assert_allclose(np.exp(found.log_dispersion), theta.clip(None, np.exp(5)))


def test_many_cells_are_read_at_even_spaces() -> None:
    x = counts(50_000, np.full(50_000, 100.0))

    found = gene_moments(sparse.csr_matrix(x))

    np.testing.assert_allclose(found.mean, x[::3].mean(0))


def test_small_integers_do_not_overflow_and_silent_genes_have_finite_dispersions() -> None:
    x = np.full((10, 3), 200, dtype=np.uint8)
    x[:, 2] = 0

    found = gene_moments(x)

    np.testing.assert_allclose(found.mean, [200, 200, 0])
    np.testing.assert_allclose(found.log_dispersion, [5.0, 5.0, 0.0])
