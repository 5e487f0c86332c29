"""Which cell has which level: the four designs of a simulated atlas."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

FACTORS = ("cell_type", "condition", "batch", "donor")
"""The categorical factors, in the order in which their levels are drawn."""

Codes = dict[str, np.ndarray]
LevelNames = Mapping[str, tuple[str, ...]]


def draw_codes(design: str, levels: LevelNames, n_cells: int, rng: np.random.Generator) -> Codes:
    """Level code of every cell for each factor, and ``phase_angle`` in [0, 2 pi)."""
    if design not in DESIGNS:
        raise ValueError(f"design is one of {sorted(DESIGNS)}, got {design!r}.")
    sizes = {name: len(names) for name, names in levels.items()}
    return DESIGNS[design](sizes, n_cells, rng)


def independent(sizes: Mapping[str, int], n_cells: int, rng: np.random.Generator) -> Codes:
    """Every factor balanced and independent of the others."""
    codes = {name: _spread(np.ones(size), n_cells, rng) for name, size in sizes.items()}
    return codes | {"phase_angle": rng.uniform(0, 2 * np.pi, n_cells)}


def correlated(sizes: Mapping[str, int], n_cells: int, rng: np.random.Generator) -> Codes:
    """Cell type tilts condition and phase, condition tilts batch, batch tilts donor.

    Every combination stays possible, so all tables of two factors are connected.
    """
    codes = {"cell_type": _spread(np.ones(sizes["cell_type"]), n_cells, rng)}
    for parent, child, tilt in (
        ("cell_type", "condition", 0.6),
        ("condition", "batch", 1.0),
        ("batch", "donor", 1.0),
    ):
        weights = np.exp(tilt * np.outer(_positions(sizes[parent]), _positions(sizes[child])))
        codes[child] = _spread_within(codes[parent], weights, rng)
    peaks = 2 * np.pi * codes["cell_type"] / sizes["cell_type"]
    return codes | {"phase_angle": np.mod(rng.vonmises(peaks, 1.0), 2 * np.pi)}


def nested(sizes: Mapping[str, int], n_cells: int, rng: np.random.Generator) -> Codes:
    """Each donor is in one batch only; all else as in the independent design."""
    if sizes["donor"] < sizes["batch"]:
        raise ValueError(
            f"the nested design puts each donor into one batch and got {sizes['donor']} donors "
            f"for {sizes['batch']} batches; ask for at least as many donors as batches."
        )
    codes = independent(sizes, n_cells, rng)
    weights = np.zeros((sizes["batch"], sizes["donor"]))
    for batch, donors in enumerate(np.array_split(np.arange(sizes["donor"]), sizes["batch"])):
        weights[batch, donors] = 1.0
    return codes | {"donor": _spread_within(codes["batch"], weights, rng)}


def confounded(sizes: Mapping[str, int], n_cells: int, rng: np.random.Generator) -> Codes:
    """The last condition is all of batch ``b1`` and is seen nowhere else.

    The table of condition and batch falls apart into two pieces: no data of this design can
    tell the effect of that condition from the effect of that batch.
    """
    codes = independent(sizes, n_cells, rng)
    weights = np.ones((sizes["batch"], sizes["condition"]))
    weights[:, -1] = 0.0
    weights[1] = np.eye(sizes["condition"])[-1]
    return codes | {"condition": _spread_within(codes["batch"], weights, rng)}


DESIGNS: Mapping[str, Callable[[Mapping[str, int], int, np.random.Generator], Codes]] = {
    "independent": independent,
    "correlated": correlated,
    "nested": nested,
    "confounded": confounded,
}


def _spread(weights: np.ndarray, n_cells: int, rng: np.random.Generator) -> np.ndarray:
    """Codes in random order whose numbers are within one of ``n_cells`` x share."""
    # systematic sampling: chance alone could leave a level empty in a small atlas
    points = (np.arange(n_cells) + rng.random()) / max(n_cells, 1)
    edges = np.cumsum(weights / weights.sum())[:-1]
    return rng.permutation(np.searchsorted(edges, points, side="right")).astype(np.int64)


def _spread_within(parent: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Codes of a child factor given its parent's; ``weights`` is (parent levels, child levels)."""
    codes = np.empty_like(parent)
    for level, row in enumerate(weights):
        cells = np.flatnonzero(parent == level)
        codes[cells] = _spread(row, len(cells), rng)
    return codes


def _positions(n_levels: int) -> np.ndarray:
    return np.linspace(-1.0, 1.0, n_levels)
