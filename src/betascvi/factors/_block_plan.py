"""A block as numbers: where its anchors stand, how likely each is, which axes are its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from betascvi._errors import FactorError, UnknownFactorError
from betascvi.factors._anchor import Anchor
from betascvi.factors._anchor_positions import (
    angle_atoms,
    block_width,
    level_positions,
    quantile_atoms,
)
from betascvi.factors._contingency import contingency, decides
from betascvi.factors._factor import CodedFactor, Kind

logger = logging.getLogger(__name__)

_N_BINS = 4

Parents = Mapping[str, Mapping[str, Sequence[int]]]
"""Child -> parent -> parent level of each of the child's levels."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockPlan:
    """One block, before any network is built."""

    anchor: Anchor
    kind: Kind
    axes: slice
    column: int
    """Of the matrix of coded factors."""
    levels: tuple[str, ...]
    atoms: np.ndarray
    """(atoms, axes): anchors of the levels, or points a number or angle may stand at."""
    share: np.ndarray
    """(atoms,) of the labelled cells."""
    scale: tuple[float, float] = (0.0, 1.0)
    """Mean and standard deviation by which a number is standardised."""
    edges: tuple[float, ...] = ()
    """Of the bins that stand for levels where a number or an angle has none."""
    parent_column: int | None = None
    parent_of: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(atoms,) parent level of each level of a nested factor."""

    @property
    def name(self) -> str:
        """Of the factor and of its block."""
        return self.anchor.name

    @property
    def n_groups(self) -> int:
        """Levels, or bins, that the free block must not tell apart."""
        return len(self.levels) if self.kind == "categorical" else len(self.edges) + 1


def plan_blocks(
    anchors: Sequence[Anchor], factors: Sequence[CodedFactor], parents: Parents
) -> tuple[BlockPlan, ...]:
    """Lay the blocks out one after the other, in the order the anchors were given in.

    ``parents`` is what the cells of the training said of nesting, since new cells may be unlabelled.
    """
    registered = [factor.name for factor in factors]
    plans: list[BlockPlan] = []
    start = 0
    for anchor in anchors:
        for asked in (anchor.name, anchor.within):
            if asked is not None and asked not in registered:
                raise UnknownFactorError(
                    f"anchor {asked!r} is not a registered factor; registered are "
                    f"{registered}: name it in setup_anndata(factor_keys=[...])."
                )
        plan = _plan(anchor, start, factors, parents)
        plans.append(plan)
        start = plan.axes.stop
    return tuple(plans)


def _plan(
    anchor: Anchor, start: int, factors: Sequence[CodedFactor], parents: Parents
) -> BlockPlan:
    if anchor.within is not None:
        return _nested(anchor, start, factors, parents)
    column, factor = _find(factors, anchor.name)
    known = factor.values[factor.known]
    if factor.kind == "categorical":
        atoms = level_positions(len(factor.levels), factor.name)
        share = _shares(known, len(factor.levels))
        axes = slice(start, start + atoms.shape[1])
        return BlockPlan(anchor, factor.kind, axes, column, factor.levels, atoms, share)
    known = known if known.size else np.linspace(0.0, 1.0, 9)
    edges = tuple(float(e) for e in np.quantile(known, np.arange(1, _N_BINS) / _N_BINS))
    if factor.kind == "circular":
        points, share = angle_atoms(known)
        axes = slice(start, start + 2)
        return BlockPlan(anchor, factor.kind, axes, column, (), points, share, edges=edges)
    mean, sd = float(known.mean()), float(known.std()) or 1.0
    atoms = quantile_atoms((known - mean) / sd)
    even = np.full(len(atoms), 1.0 / len(atoms))
    axes = slice(start, start + 1)
    return BlockPlan(anchor, factor.kind, axes, column, (), atoms, even, (mean, sd), edges)


def _nested(
    anchor: Anchor, start: int, factors: Sequence[CodedFactor], parents: Parents
) -> BlockPlan:
    column, child = _find(factors, anchor.name)
    parent_column, parent = _find(factors, anchor.within or "")
    known = parents.get(child.name, {}).get(parent.name)
    if known is None and {child.kind, parent.kind} != {"categorical"}:
        raise FactorError(
            f"Anchor({child.name!r}, within={parent.name!r}): one has no levels, so nothing is "
            "nested. Leave within= out."
        )
    if known is None:
        logger.warning(
            "Anchor(%r, within=%r): a level of %r occurs in several levels of %r, so it is not "
            "nested; anchored by its own levels, as without within=.",
            child.name, parent.name, child.name, parent.name,
        )  # fmt: skip
        return _plan(replace(anchor, within=None), start, factors, parents)
    parent_of = np.asarray(known, dtype=np.int64)
    n_siblings = int(np.bincount(parent_of).max())
    width = block_width(n_siblings)
    atoms = np.zeros((len(child.levels), width))
    for level in np.unique(parent_of):
        mine = np.flatnonzero(parent_of == level)
        points = level_positions(len(mine), f"{child.name} within {parent.name}")
        atoms[mine, : points.shape[1]] = points if len(mine) > 1 else 0.0
    share = _shares(child.values[child.known], len(child.levels))
    return BlockPlan(
        anchor, child.kind, slice(start, start + width), column, child.levels,
        atoms, share, parent_column=parent_column, parent_of=parent_of,
    )  # fmt: skip


def parents_of_levels(child: CodedFactor, parent: CodedFactor) -> list[int] | None:
    """Parent level of each child level; None where a child has two, or where one has none."""
    if child.kind != "categorical" or parent.kind != "categorical":
        return None
    both = child.known & parent.known
    table = contingency(
        child.values[both], parent.values[both], (len(child.levels), len(parent.levels))
    )
    if not decides(table) or (table.sum(1) == 0).any():
        return None
    return [int(level) for level in table.argmax(1)]


def _find(factors: Sequence[CodedFactor], name: str) -> tuple[int, CodedFactor]:
    return next((i, factor) for i, factor in enumerate(factors) if factor.name == name)


def _shares(codes: np.ndarray, n_levels: int) -> np.ndarray:
    counts = np.bincount(codes.astype(int), minlength=n_levels) + 1.0
    return np.asarray(counts / counts.sum())
