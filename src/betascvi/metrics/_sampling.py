"""Draws of cells that agree on one factor: what the Higgins and FactorVAE scores feed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from betascvi._errors import UndefinedScoreError
from betascvi.metrics._inputs import Column, Flags, as_columns, as_embedding

# Embedding rows drawn at a time, so that memory does not grow with the number of draws.
_ROWS_AT_ONCE = 65_536


@runtime_checkable
class FactorSampler(Protocol):
    """A simulator with settable factors, seen through an encoder."""

    def sample_factors(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw (n, factors) values, every factor on its own."""
        ...

    def embed(self, factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Make one cell for each row of factors and encode it: (n, axes)."""
        ...


class Draws(Protocol):
    """What the two scores ask for."""

    n_factors: int

    def pairs(
        self, factor: Int[np.ndarray, " draws"], size: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Two (draws, size, axes) arrays; each pair of cells agrees on its draw's factor."""
        ...

    def batches(
        self, factor: Int[np.ndarray, " draws"], size: int, rng: np.random.Generator
    ) -> np.ndarray:
        """One (draws, size, axes) array; all cells of a draw share one value of its factor."""
        ...

    def anything(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw (n, axes) without a condition."""
        ...


class CellDraws:
    """Draws from labelled cells: partners share the level of one factor.

    It is the published procedure where the factors are independent in the data; where they
    are not, partners agree on the correlated factors too often.
    """

    def __init__(self, z: Float[np.ndarray, "cells axes"], levels: Sequence[np.ndarray]) -> None:
        self._z = z
        self.n_factors = len(levels)
        self._levels = levels
        self._members = [np.argsort(level, kind="stable") for level in levels]
        self._sizes = [np.bincount(level) for level in levels]
        self._starts = [np.concatenate([[0], np.cumsum(size)[:-1]]) for size in self._sizes]

    def pairs(
        self, factor: Int[np.ndarray, " draws"], size: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cells at random, and for each another one at random of its level."""
        first = rng.integers(len(self._z), size=(factor.size, size))
        return self._z[first], self._z[self._partners(first, factor, rng)]

    def batches(
        self, factor: Int[np.ndarray, " draws"], size: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Cells of the level that one cell, drawn at random, has."""
        first = np.repeat(rng.integers(len(self._z), size=(factor.size, 1)), size, axis=1)
        return self._z[self._partners(first, factor, rng)]

    def anything(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Cells at random, with replacement."""
        return self._z[rng.integers(len(self._z), size=n)]

    def _partners(
        self, first: np.ndarray, factor: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        partners = np.empty_like(first)
        uniform = rng.random(first.shape)
        for j in range(self.n_factors):
            mine = factor == j
            level = self._levels[j][first[mine]]
            within = (uniform[mine] * self._sizes[j][level]).astype(np.intp)
            partners[mine] = self._members[j][self._starts[j][level] + within]
        return partners


class SimulatorDraws:
    """Draws from a simulator: one factor set, all others drawn anew."""

    def __init__(self, sampler: FactorSampler, rng: np.random.Generator) -> None:
        self._sampler = sampler
        self.n_factors = int(np.asarray(sampler.sample_factors(2, rng)).shape[1])

    def pairs(
        self, factor: Int[np.ndarray, " draws"], size: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Two draws of all factors; the second takes the first one's value of ``factor``."""
        one, other = (self._factors(factor.size, size, rng) for _ in range(2))
        chosen = np.arange(self.n_factors) == factor[:, None, None]
        other = np.where(chosen, one, other)
        return self._embed(one, rng), self._embed(other, rng)

    def batches(
        self, factor: Int[np.ndarray, " draws"], size: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Draws of all factors; the first cell's value of ``factor`` goes to all."""
        factors = self._factors(factor.size, size, rng)
        chosen = np.arange(self.n_factors) == factor[:, None, None]
        return self._embed(np.where(chosen, factors[:, :1], factors), rng)

    def anything(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """All factors drawn, nothing set."""
        return as_embedding(self._sampler.embed(self._sampler.sample_factors(n, rng), rng))

    def _factors(self, n_draws: int, size: int, rng: np.random.Generator) -> np.ndarray:
        flat = np.asarray(self._sampler.sample_factors(n_draws * size, rng))
        return flat.reshape(n_draws, size, self.n_factors)

    def _embed(self, factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        z = as_embedding(self._sampler.embed(factors.reshape(-1, self.n_factors), rng))
        return z.reshape(*factors.shape[:2], -1)


def make_draws(
    z: Any, factors: Any, columns_of: tuple[Flags, Flags, int], rng: np.random.Generator, name: str
) -> Draws:
    """Draws from a simulator, or from labelled cells (``columns_of``: see ``as_columns``)."""
    discrete, circular, n_bins = columns_of
    if isinstance(z, FactorSampler):
        draws = SimulatorDraws(z, rng)
        if draws.n_factors < 2:
            raise UndefinedScoreError(f"{name} compares factors; the simulator has one only.")
        return draws
    if factors is None:
        raise ValueError(
            f"{name} needs labels, {name}(z, factors), or in place of z a simulator that has "
            "sample_factors(n, rng) and embed(factors, rng)."
        )
    z = as_embedding(z)
    columns = as_columns(factors, len(z), discrete, circular, min_factors=2, asked_by=name)
    is_known = _known_in_all(columns, len(z))
    levels = [_levels_of(column, is_known, n_bins) for column in columns]
    return CellDraws(z[is_known], levels)


def _known_in_all(columns: Sequence[Column], n_cells: int) -> np.ndarray:
    is_known = np.ones(n_cells, dtype=bool)
    for column in columns:
        if column.known is not None:
            is_known &= column.known
    if not is_known.any():
        raise ValueError("no cell has a label for every factor; score fewer factors at once.")
    return is_known


def _levels_of(column: Column, is_known: np.ndarray, n_bins: int) -> np.ndarray:
    levels = column.present_levels(n_bins)
    levels = levels[is_known if column.known is None else is_known[column.known]]
    if np.ptp(levels) == 0:
        raise UndefinedScoreError(
            f"factor {column.name!r} has a single level on the {len(levels)} cells that have a label "
            "of every factor; leave it out, or score fewer factors at once."
        )
    return np.unique(levels, return_inverse=True)[1]


def draw_chunks(n_draws: int, size: int) -> list[int]:
    """Numbers of draws that together are ``n_draws`` and fit in memory each."""
    most = max(1, _ROWS_AT_ONCE // size)
    return [most] * (n_draws // most) + ([n_draws % most] if n_draws % most else [])
