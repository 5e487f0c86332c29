"""Which cells a probe is fitted on and which it is asked about."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int, Shaped


def deal_folds(
    levels: Int[np.ndarray, " cells"],
    n_folds: int,
    rng: np.random.Generator,
    groups: Shaped[np.ndarray, " cells"] | None = None,
) -> Int[np.ndarray, " cells"]:
    """Fold of each cell: levels spread evenly, a group (copies, a donor) never divided.

    A group of several levels is dealt by its rarest, lest all groups that have it share a fold.
    """
    if groups is None:
        return _deal(levels, n_folds, rng)
    group_of = np.unique(groups, return_inverse=True)[1]
    n_groups_with = np.bincount(np.unique(np.column_stack([levels, group_of]), axis=0)[:, 0])
    order = np.lexsort((n_groups_with[levels], group_of))
    rarest = order[np.unique(group_of[order], return_index=True)[1]]
    return _deal(levels[rarest], n_folds, rng)[group_of]


def _deal(levels: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    shuffled = rng.permutation(levels.size)
    by_level = shuffled[np.argsort(levels[shuffled], kind="stable")]
    folds = np.empty(levels.size, dtype=np.intp)
    # Dealt on across levels, so that folds stay of one size where levels are rare.
    folds[by_level] = np.arange(levels.size) % n_folds
    return folds


def at_most(rows: Int[np.ndarray, " rows"], most: int) -> Int[np.ndarray, " fewer"]:
    """All of the rows, or ``most`` of them, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.intp)]


def as_groups(groups: Any, n_cells: int) -> np.ndarray | None:
    """Group of each cell as an array, or None where every cell stands alone."""
    if groups is None:
        return None
    array = np.asarray(groups)
    if array.shape != (n_cells,):
        raise ValueError(
            f"groups holds one label a cell: ({n_cells},) expected, got {array.shape}."
        )
    return array
