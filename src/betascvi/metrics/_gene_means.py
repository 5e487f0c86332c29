"""The null model: every cell is its library size times the gene means (of its batch)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.special import gammaln

Family = Literal["nb", "poisson", "normal"]

_SHRINKAGE = 10.0  # cells' worth of the overall profile in the profile of each group
_LOG_DISPERSION = float(np.log(1e-4)), float(np.log(1e5))
_GOLDEN = float((np.sqrt(5.0) - 1.0) / 2.0)
_N_STEPS = 18  # 20.7 log units shrink to 0.004
_N_ROUNDS = 3
_SIZES_PER_GROUP = 24
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class GeneMeans:
    """A likelihood without a latent: what a decoder that ignores z can do at best."""

    family: Family
    profile: Float[np.ndarray, "groups genes"]
    """Expected value of each gene per unit of size."""
    dispersion: Float[np.ndarray, " genes"]
    """Inverse dispersion of the negative binomial; standard deviation of the Gaussian."""

    def negative_log_likelihood(
        self,
        x: Any,
        size: Float[np.ndarray, " cells"],
        groups: Int[np.ndarray, " cells"],
    ) -> Float[np.ndarray, " cells"]:
        """-log p(x) in nats, summed over genes, of each cell."""
        mean = size[:, None] * self.profile[groups]
        if self.family == "normal":
            return _gaussian(_dense(x), mean, self.dispersion).sum(1)
        rows = sparse.coo_matrix(x)
        at = rows.row, rows.col
        dispersion = self.dispersion if self.family == "nb" else None
        dense = mean if dispersion is None else dispersion * np.log1p(mean / dispersion)
        stored = _at_counts(
            rows.data, mean[at], None if dispersion is None else dispersion[rows.col]
        )
        return dense.sum(1) + np.bincount(rows.row, stored, minlength=len(size))


def fit_gene_means(
    x: Any,
    size: Float[np.ndarray, " cells"],
    groups: Int[np.ndarray, " cells"],
    family: Family = "nb",
    n_groups: int | None = None,
) -> GeneMeans:
    """Fit the null model by maximum likelihood, genes apart.

    Parameters
    ----------
    x
        (cells, genes) counts, dense or sparse; real values for ``"normal"``.
    size
        Library size or size factor of each cell; ones where there is none.
    groups
        Code of the batch of each cell, from 0: each has its own means, drawn towards the
        overall ones by ten cells' worth of them. Zeros for one profile.
    family
        ``"nb"`` (also the null of a zero-inflated model), ``"poisson"`` or ``"normal"``.
    n_groups
        Batches there are; one that none of these cells is of has the overall means. ``None``:
        up to the largest code.
    """
    n_groups = int(np.max(groups)) + 1 if n_groups is None else n_groups
    cells = _Cells.of(x, np.asarray(size, np.float64), np.asarray(groups), n_groups)
    profile = cells.profile(np.ones(1), np.ones(1))
    if family == "normal":
        left = _dense(x) - cells.size[:, None] * profile[cells.groups]
        return GeneMeans(family, profile, np.sqrt((left**2).mean(0)) + 1e-6)
    dispersion = np.ones(profile.shape[1])
    for _ in range(_N_ROUNDS if family == "nb" else 0):
        dispersion = cells.dispersion(profile)
        # cells with a large mean say less about it: the weights of the NB's score
        at_entries = 1.0 / (1.0 + cells.at_entries(profile) / dispersion[cells.genes])
        at_levels = 1.0 / (1.0 + cells.at_levels(profile) / dispersion)
        profile = cells.profile(at_entries, at_levels)
    return GeneMeans(family, profile, dispersion)


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """Non-zero entries one by one; zeros only through the few sizes that stand for all."""

    x: np.ndarray
    genes: np.ndarray
    rows: np.ndarray
    size: np.ndarray
    groups: np.ndarray
    level_size: np.ndarray
    level_group: np.ndarray
    level_count: np.ndarray
    n_genes: int
    n_groups: int

    @classmethod
    def of(cls, x: Any, size: np.ndarray, groups: np.ndarray, n_groups: int) -> _Cells:
        entries = sparse.coo_matrix(x)
        order = np.lexsort((size, groups))
        n_in_group = np.bincount(groups)
        first = np.concatenate([[0], np.cumsum(n_in_group)[:-1]])
        rank = np.empty(len(size), dtype=np.int64)
        rank[order] = np.arange(len(size)) - first[groups[order]]
        key = groups * _SIZES_PER_GROUP + rank * _SIZES_PER_GROUP // n_in_group[groups]
        keys, level, count = np.unique(key, return_inverse=True, return_counts=True)
        return cls(
            entries.data.astype(np.float64), entries.col, entries.row, size, groups,
            np.bincount(level, size) / count, keys // _SIZES_PER_GROUP, count, entries.shape[1],
            n_groups,
        )  # fmt: skip

    def at_entries(self, profile: np.ndarray) -> np.ndarray:
        return self.size[self.rows] * profile[self.groups[self.rows], self.genes]

    def at_levels(self, profile: np.ndarray) -> np.ndarray:
        return self.level_size[:, None] * profile[self.level_group]

    def profile(self, at_entries: np.ndarray, at_levels: np.ndarray) -> np.ndarray:
        """Weighted counts over weighted sizes, (groups, genes), drawn towards all groups'."""
        n_groups = self.n_groups
        place = self.groups[self.rows] * self.n_genes + self.genes
        counts = np.bincount(place, at_entries * self.x, n_groups * self.n_genes)
        counts = counts.reshape(n_groups, self.n_genes)
        weighted = (self.level_count * self.level_size)[:, None] * at_levels
        weighted = np.broadcast_to(weighted, (len(self.level_size), self.n_genes))
        sizes = np.zeros((n_groups, self.n_genes))
        np.add.at(sizes, self.level_group, weighted)
        overall = counts.sum(0) / sizes.sum(0)
        prior = _SHRINKAGE * sizes.sum(0) / len(self.size)
        return (counts + prior * overall) / (sizes + prior) + _TINY

    def dispersion(self, profile: np.ndarray) -> np.ndarray:
        """Golden-section search on the logarithm, all genes at once."""
        at_entries, at_levels = self.at_entries(profile), self.at_levels(profile)
        # few counts differ within a gene: the gamma functions are worked out once for each
        key = self.genes * (self.x.max(initial=0.0) + 1.0) + self.x
        _, first, n_alike = np.unique(key, return_index=True, return_counts=True)
        genes, x = self.genes[first], self.x[first]

        def loss(log_dispersion: np.ndarray) -> np.ndarray:
            dispersion = np.exp(log_dispersion)
            zeros = self.level_count @ (dispersion * np.log1p(at_levels / dispersion))
            stored = self.x * np.log1p(dispersion[self.genes] / at_entries)
            gammas = gammaln(x + dispersion[genes]) - gammaln(dispersion[genes])
            return (
                zeros
                + np.bincount(self.genes, stored, self.n_genes)
                - np.bincount(genes, n_alike * gammas, self.n_genes)
            )

        return np.exp(_minimise(loss, self.n_genes))


def _minimise(loss: Callable[[np.ndarray], np.ndarray], n: int) -> np.ndarray:
    low, high = (np.full(n, bound) for bound in _LOG_DISPERSION)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(_N_STEPS):
        is_left = at_left < at_right
        low, high = np.where(is_left, low, left), np.where(is_left, right, high)
        new = np.where(is_left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        at_new = loss(new)
        left, right = np.where(is_left, new, right), np.where(is_left, left, new)
        at_left, at_right = (
            np.where(is_left, at_new, at_right),
            np.where(is_left, at_left, at_new),
        )
    return (low + high) / 2


def _at_counts(x: np.ndarray, mean: np.ndarray, dispersion: np.ndarray | None) -> np.ndarray:
    """What non-zero counts add to the part that every entry has."""
    x = x.astype(np.float64)
    if dispersion is None:
        return gammaln(x + 1) - x * np.log(mean)
    gammas = gammaln(x + dispersion) - gammaln(dispersion) - gammaln(x + 1)
    return x * np.log1p(dispersion / mean) - gammas


def _gaussian(x: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    return 0.5 * ((x - mean) / sd) ** 2 + np.log(sd) + 0.5 * np.log(2 * np.pi)


def _dense(x: Any) -> np.ndarray:
    return np.asarray(x.todense() if sparse.issparse(x) else x, dtype=np.float64)
