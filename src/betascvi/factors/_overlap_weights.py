"""How much each cell counts so that factors look independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from betascvi.factors._contingency import contingency, decides
from betascvi.factors._factor import CodedFactor

_MOST_COMBINATIONS = 100_000
_LOWEST, _HIGHEST = 0.2, 5.0


@dataclass(frozen=True, slots=True, eq=False)
class OverlapWeights:
    r""":math:`\prod_k p(c_k) / p(c_1, \dots, c_K)` of each combination of levels, clipped."""

    columns: tuple[int, ...]
    """Of the matrix of coded factors."""
    table: np.ndarray
    """One weight for each combination; one axis a factor."""


def overlap_weights(factors: Sequence[CodedFactor]) -> OverlapWeights:
    """Weights over the factors with levels, anchored or not, children of others left out.

    A factor that decides another one has no product of marginals to be weighted towards.
    """
    kept = [i for i, f in enumerate(factors) if f.kind == "categorical" and f.known.any()]
    kept = [c for c in kept if not any(_is_child(factors[c], factors[o]) for o in kept if o != c)]
    while np.prod([len(factors[c].levels) for c in kept], dtype=float) > _MOST_COMBINATIONS:
        kept.remove(max(kept, key=lambda c: len(factors[c].levels)))
    if len(kept) < 2:
        return OverlapWeights((), np.ones(1))
    known = np.all([factors[c].known for c in kept], axis=0)
    shape = tuple(len(factors[c].levels) for c in kept)
    counts = np.zeros(shape)
    np.add.at(counts, tuple(factors[c].values[known].astype(int) for c in kept), 1.0)
    joint = counts / max(counts.sum(), 1.0)
    product = np.ones(shape)
    for axis in range(len(shape)):
        marginal = joint.sum(axis=tuple(a for a in range(len(shape)) if a != axis))
        product *= marginal.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    weights = np.divide(product, joint, out=np.ones(shape), where=joint > 0)
    return OverlapWeights(tuple(kept), np.clip(weights, _LOWEST, _HIGHEST))


def _is_child(child: CodedFactor, parent: CodedFactor) -> bool:
    both = child.known & parent.known
    if not both.any():
        return False
    sizes = (len(child.levels), len(parent.levels))
    return decides(contingency(child.values[both], parent.values[both], sizes))
