from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats
from scipy.optimize import minimize

from betascvi.metrics._gene_means import fit_gene_means


@pytest.fixture
def counts():
    rng = np.random.default_rng(0)
    size = rng.lognormal(6.0, 0.5, size=250)
    profile = rng.dirichlet(np.full(12, 2.0))
    mean = size[:, None] * profile
    return rng.negative_binomial(1.5, 1.5 / (1.5 + mean)), size


def test_negative_binomial_loss_is_scipy_s(counts):
    x, size = counts
    one_group = np.zeros(len(x), dtype=int)
    null = fit_gene_means(x, size, one_group)

    loss = null.negative_log_likelihood(sparse.csr_matrix(x), size, one_group)

    mean = size[:, None] * null.profile
    reference = -stats.nbinom.logpmf(x, null.dispersion, null.dispersion / (null.dispersion + mean))
    np.testing.assert_allclose(loss, reference.sum(1), rtol=1e-10)


def test_poisson_and_gaussian_losses_are_scipy_s(counts):
    x, size = counts
    one_group = np.zeros(len(x), dtype=int)
    poisson = fit_gene_means(x, size, one_group, "poisson")
    normal = fit_gene_means(x, size, one_group, "normal")

    np.testing.assert_allclose(
        poisson.negative_log_likelihood(x, size, one_group),
        -stats.poisson.logpmf(x, size[:, None] * poisson.profile).sum(1),
        rtol=1e-10,
    )
    np.testing.assert_allclose(
        normal.negative_log_likelihood(x, size, one_group),
        -stats.norm.logpdf(x, size[:, None] * normal.profile, normal.dispersion).sum(1),
        rtol=1e-10,
    )


def test_fit_is_the_maximum_of_the_likelihood(counts):
    x, size = counts
    gene = x[:, :1]
    one_group = np.zeros(len(x), dtype=int)
    null = fit_gene_means(gene, size, one_group)

    def loss(log_parameters):
        rate, dispersion = np.exp(log_parameters)
        mean = size * rate
        return -stats.nbinom.logpmf(gene[:, 0], dispersion, dispersion / (dispersion + mean)).mean()

    start = np.log([gene.sum() / size.sum(), 4.0])
    best = minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-10}).fun
    found = null.negative_log_likelihood(gene, size, one_group).mean()
    assert found == pytest.approx(best, abs=1e-3)


def test_each_batch_has_means_of_its_own_drawn_towards_the_others(counts):
    x, size = counts
    batch = np.arange(len(x)) % 2
    shifted = np.where(batch[:, None] == 1, 3 * x, x)

    null = fit_gene_means(shifted, size, batch)

    ratio = null.profile[1] / null.profile[0]
    assert np.all((ratio > 2.0) & (ratio < 3.6))
    apart = null.negative_log_likelihood(shifted, size, batch).mean()
    together = np.zeros_like(batch)
    pooled = fit_gene_means(shifted, size, together)
    assert apart < pooled.negative_log_likelihood(shifted, size, together).mean() - 1.0


def test_genes_without_counts_cost_nothing(counts):
    x, size = counts
    one_group = np.zeros(len(x), dtype=int)
    silent = np.concatenate([x, np.zeros((len(x), 3), dtype=int)], axis=1)

    with_silent = fit_gene_means(silent, size, one_group)
    without = fit_gene_means(x, size, one_group)

    np.testing.assert_allclose(
        with_silent.negative_log_likelihood(silent, size, one_group),
        without.negative_log_likelihood(x, size, one_group),
        atol=1e-6,
    )


def test_a_batch_without_cells_has_the_means_of_all(counts):
    x, size = counts
    batch = np.arange(len(x)) % 2
    null = fit_gene_means(x, size, batch, n_groups=4)

    again = fit_gene_means(x, size, batch)
    overall = fit_gene_means(x, size, np.zeros(len(x), dtype=int))
    np.testing.assert_array_equal(null.profile[:2], again.profile)
    np.testing.assert_allclose(null.profile[3], overall.profile[0], rtol=0.05)
    assert np.isfinite(null.negative_log_likelihood(x, size, np.full(len(x), 3))).all()
