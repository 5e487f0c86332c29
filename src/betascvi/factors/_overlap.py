"""What a set of factors can and cannot tell apart, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import numpy as np

from betascvi._errors import FactorError
from betascvi.factors._contingency import (
    chance_information,
    contingency,
    cramers_v,
    entropy,
    mutual_information,
)
from betascvi.factors._factor import CodedFactor
from betascvi.factors._relation import Relation, relate

if TYPE_CHECKING:
    import pandas as pd

N_BINS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two factors on the cells whose two labels are known."""

    first: str
    second: str
    n_cells: int
    information: float
    """Plug-in mutual information, nats (continuous factors in equal-width bins)."""
    chance: float
    """What independent factors would show by chance on as many cells, nats."""
    cramers_v: float
    explained: tuple[float, float]
    """Information over the entropy of the first, and of the second factor."""
    table: np.ndarray
    """(levels of first, levels of second) counts of cells."""
    relation: Relation

    @property
    def words(self) -> str:
        """What the pair allows, as a sentence."""
        return self.relation.words


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """Pairwise arithmetic of factors; ``print`` it for the sentences."""

    factors: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    """Names of the levels (of the bins, where a factor is not categorical)."""
    n_known: Mapping[str, int]
    pairs: tuple[Pair, ...]
    ceilings: Mapping[str, float]
    """1 - max_l I(c_k; c_l) / H(c_k): the gap score that a perfect code of factor k can reach."""

    @property
    def nested(self) -> tuple[tuple[str, str], ...]:
        """(child, parent) pairs: every level of the child lies in one level of the parent."""
        return tuple(
            (pair.relation.child, pair.relation.parent)
            for pair in self.pairs
            if pair.relation.kind == "nested" and pair.relation.child and pair.relation.parent
        )

    @property
    def unidentifiable(self) -> tuple[Pair, ...]:
        """Pairs whose effects no model can tell apart; nested ones unless declared so."""
        return tuple(pair for pair in self.pairs if not pair.relation.is_identifiable)

    def pair(self, first: str, second: str) -> Pair:
        """The pair of these two factors, whichever order they were given in."""
        wanted = {first, second}
        for pair in self.pairs:
            if {pair.first, pair.second} == wanted:
                return pair
        raise FactorError(f"no pair of {first!r} and {second!r}; factors are {self.factors}.")

    def limited_by(self, factor: str) -> str | None:
        """The other factor that lowers the ceiling of this one most; ``None`` if none does."""
        worst = max(self._explained_by(factor), key=lambda item: item[1], default=("", 0.0))
        return worst[0] if worst[1] > 0 else None

    def matrix(self, what: Literal["cramers_v", "explained"] = "cramers_v") -> np.ndarray:
        """(factors, factors): Cramer's V, or the share of the row's entropy the column explains."""
        place = {name: i for i, name in enumerate(self.factors)}
        square = np.eye(len(self.factors))
        for pair in self.pairs:
            i, j = place[pair.first], place[pair.second]
            both = (pair.cramers_v, pair.cramers_v) if what == "cramers_v" else pair.explained
            square[i, j], square[j, i] = both
        return square

    def to_frame(self) -> pd.DataFrame:
        """One row for each pair."""
        import pandas as pd

        return pd.DataFrame(
            {
                "first": pair.first,
                "second": pair.second,
                "n_cells": pair.n_cells,
                "mutual_information": pair.information,
                "by_chance": pair.chance,
                "cramers_v": pair.cramers_v,
                "share_of_first": pair.explained[0],
                "share_of_second": pair.explained[1],
                "relation": pair.relation.kind,
                "n_parts": pair.relation.n_parts,
                "identifiable": pair.relation.is_identifiable,
                "words": pair.words,
            }
            for pair in self.pairs
        )

    def __str__(self) -> str:
        lines = [
            f"{name}: {self.n_known[name]} labelled cells, ceiling {self.ceilings[name]:.3f}"
            + (f" (limited by {limit})" if (limit := self.limited_by(name)) else "")
            for name in self.factors
        ]
        return "\n".join([*lines, *(pair.words for pair in self.pairs)])

    def _explained_by(self, factor: str) -> list[tuple[str, float]]:
        found = [(p.second, p.explained[0]) for p in self.pairs if p.first == factor]
        return found + [(p.first, p.explained[1]) for p in self.pairs if p.second == factor]


def overlap_of(factors: Sequence[CodedFactor], n_bins: int = N_BINS) -> Overlap:
    r"""Count factors against each other.

    .. math::

        \text{ceiling}_k = 1 - \max_{l \ne k} \frac{I(c_k; c_l)}{H(c_k)}

    Parameters
    ----------
    factors
        Coded factors of the same cells; a cell whose label is missing is left out of the
        pairs that need it.
    n_bins
        Continuous and circular factors are cut into this many bins of equal width.

    Returns
    -------
    The record of pairs, sentences and ceilings.

    Notes
    -----
    The plug-in information is biased upwards by about ``Pair.chance``; the ceiling inherits
    that, so with few cells and many levels it reads low even where factors are independent.
    """
    names = tuple(factor.name for factor in factors)
    if len(factors) < 2:
        raise FactorError(f"overlap needs at least two factors, got {list(names)}; name another.")
    coded = {factor.name: _as_codes(factor, n_bins) for factor in factors}
    pairs = tuple(_count(a, b, coded) for a, b in combinations(factors, 2))
    shares = [(p.first, p.explained[0]) for p in pairs] + [
        (p.second, p.explained[1]) for p in pairs
    ]
    ceilings = {name: 1.0 - max(share for key, share in shares if key == name) for name in names}
    return Overlap(
        factors=names,
        levels=MappingProxyType({name: coded[name][1] for name in names}),
        n_known=MappingProxyType({factor.name: int(factor.known.sum()) for factor in factors}),
        pairs=pairs,
        ceilings=MappingProxyType(ceilings),
    )


def bin_codes(values: np.ndarray, n_bins: int = N_BINS, *, circular: bool = False) -> np.ndarray:
    """Equal-width bins between the smallest and the largest known value; -1 where missing.

    Angles are cut over the whole circle.
    """
    known = np.isfinite(values)
    codes = np.full(values.shape, -1, dtype=np.int64)
    if not known.any():
        return codes
    inside = values[known]
    low, high = _ends(inside, circular=circular)
    width = high - low
    scaled = (inside - low) / width * n_bins if width > 0 else np.zeros(inside.shape)
    codes[known] = np.clip(scaled.astype(np.int64), 0, n_bins - 1)
    return codes


def _ends(known: np.ndarray, *, circular: bool) -> tuple[float, float]:
    return (0.0, 2 * np.pi) if circular else (float(known.min()), float(known.max()))


def _as_codes(factor: CodedFactor, n_bins: int) -> tuple[np.ndarray, tuple[str, ...]]:
    if factor.kind == "categorical":
        return factor.values, factor.levels
    codes = bin_codes(factor.values, n_bins, circular=factor.kind == "circular")
    low, high = _ends(factor.values[factor.known], circular=factor.kind == "circular")
    edges = np.linspace(low, high, n_bins + 1)
    return codes, tuple(f"{a:.3g}-{b:.3g}" for a, b in pairwise(edges))


def _count(
    first: CodedFactor,
    second: CodedFactor,
    coded: Mapping[str, tuple[np.ndarray, tuple[str, ...]]],
) -> Pair:
    (codes, levels), (other_codes, other_levels) = coded[first.name], coded[second.name]
    table = contingency(codes, other_codes, (len(levels), len(other_levels)))
    information = mutual_information(table)
    entropies = entropy(table.sum(1)), entropy(table.sum(0))
    shares = [min(1.0, information / h) if h > 0 else 0.0 for h in entropies]
    return Pair(
        first=first.name,
        second=second.name,
        n_cells=int(table.sum()),
        information=information,
        chance=chance_information(table),
        cramers_v=cramers_v(table),
        explained=(shares[0], shares[1]),
        table=table,
        relation=relate(first, second, table),
    )
