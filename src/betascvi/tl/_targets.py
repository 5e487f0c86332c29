"""What cells are to be turned into: one setting of the factors, or a mixture of some."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from betascvi.model import BetaSCVI
from betascvi.model._cells import Cells
from betascvi.model._handles import Handle, handle_on, handles_of

MOST_ARMS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Gain:
    """What the expectations of cells are multiplied by, gene by gene; their totals stay."""

    factors: np.ndarray
    """(kinds, genes)"""
    of_cell: np.ndarray
    """(cells,) which row each cell takes."""

    def times(self, mean: np.ndarray, rows: slice | np.ndarray) -> np.ndarray:
        """(cells, genes) of a chunk of cells."""
        raised = mean * self.factors[self.of_cell[rows]]
        return np.asarray(raised * (mean.sum(1) / raised.sum(1))[:, None])


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """One setting of the changed factors, and its share in the mixture."""

    weight: float
    codes: Mapping[str, np.ndarray]
    """Factor -> (cells,) code, number or angle that each cell is given."""
    gain: Gain | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """All that is asked for, in codes and in words."""

    handles: Mapping[str, Handle]
    arms: tuple[Arm, ...]
    words: Mapping[str, np.ndarray]
    """Factor -> (cells,) the level, number, angle or mixture asked for."""

    def placed(
        self, z: np.ndarray, cells: Cells, arm: Arm, rows: slice | np.ndarray
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Positions and covariates of a chunk of cells (``z`` is theirs) in one arm."""
        setting = {name: values[rows] for name, values in cells.covariates.items()}
        for name, codes in arm.codes.items():
            handle = self.handles[name]
            if handle.covariate is not None:
                setting[name] = codes[rows].astype(setting[name].dtype)
            if handle.block is not None:
                z = handle.block.moved(z, cells.labels[name][rows], codes[rows])
        return z, setting

    @property
    def main(self) -> Arm:
        """The arm with the largest share."""
        return max(self.arms, key=lambda arm: arm.weight)


def targets_of(model: BetaSCVI, changes: Mapping[str, Any], cells: Cells) -> Targets:
    """Resolve ``{"condition": "stim", "dose": {"low": 1, "high": 3}}`` for these cells."""
    if not isinstance(changes, Mapping) or not changes:
        raise ValueError(
            f"changes names factors and their targets, such as {{'condition': 'stim'}}; got "
            f"{changes!r}. There are handles on {list(handles_of(model)) or 'nothing'}."
        )
    handles = {name: handle_on(model, name) for name in changes}
    shares, words = {}, {}
    for name, target in changes.items():
        shares[name] = _shares(handles[name], target, len(cells.indices))
        words[name] = _words(handles[name], target, shares[name])
    n_arms = int(np.prod([len(of_factor) for of_factor in shares.values()]))
    if n_arms > MOST_ARMS:
        raise ValueError(
            f"the mixtures asked for have {n_arms} combinations; {MOST_ARMS} are decoded at most."
        )
    arms = []
    for combination in itertools.product(*shares.values()):
        codes = dict(zip(shares, (codes for _, codes in combination), strict=True))
        weight = float(np.prod([weight for weight, _ in combination]))
        arms.append(Arm(weight, _with_parents(model, handles, codes)))
    known = handles_of(model)
    if len(arms) == 1:  # what goes along is said, too
        along = {n: known[n].levels for n in arms[0].codes if n not in words}
        words |= {n: np.array(along[n], dtype=object)[arms[0].codes[n]] for n in along}
    return Targets({n: known[n] for n in arms[0].codes}, tuple(arms), words)


def _shares(handle: Handle, target: Any, n_cells: int) -> list[tuple[float, np.ndarray]]:
    if not isinstance(target, Mapping):
        return [(1.0, _code(handle, target, n_cells))]
    for level in target:
        _code(handle, level, n_cells)  # of a level without weight, too
    try:
        weights = np.array(list(target.values()) or [0.0], dtype=float)
    except (TypeError, ValueError):
        weights = np.full(1, np.nan)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError(
            f"a mixture maps levels of {handle.name!r} to weights from 0 up, not all of them 0; "
            f"got {target!r}."
        )
    weights = weights / weights.sum()
    kept = [(w, level) for w, level in zip(weights, target, strict=True) if w > 0]
    return [(float(w), _code(handle, level, n_cells)) for w, level in kept]


def _code(handle: Handle, value: Any, n_cells: int) -> np.ndarray:
    codes = handle.code(value, n_cells)
    return np.mod(codes, 2 * np.pi) if handle.kind == "circular" else codes


def _words(handle: Handle, target: Any, shares: list[tuple[float, np.ndarray]]) -> np.ndarray:
    n_cells = len(shares[0][1])
    if not isinstance(target, Mapping):
        codes = shares[0][1]
        return np.array(handle.levels, dtype=object)[codes] if handle.levels else codes
    levels = [level for level, weight in target.items() if weight > 0]
    if len(shares) == 1:  # the others have no weight
        return _words(handle, levels[0], shares)
    mixture = " + ".join(f"{w:.2g} {name}" for (w, _), name in zip(shares, levels, strict=True))
    return np.full(n_cells, mixture, dtype=object)


def _with_parents(
    model: BetaSCVI, handles: Mapping[str, Handle], codes: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """A nested factor takes its parent along; a parent set to something else contradicts it."""
    known, out = handles_of(model), dict(codes)
    for name, values in codes.items():
        block = handles[name].block
        if block is None or block.parent is None or not block.parent_of:
            continue
        parents = np.array(block.parent_of)[values]
        if block.parent in codes and (codes[block.parent] != parents).any():
            raise ValueError(
                f"the settings contradict each other: {name!r} is nested in {block.parent!r}, and "
                f"the level asked for belongs to another {block.parent!r} than the one asked for. "
                f"Leave {block.parent!r} out: it goes along."
            )
        if block.parent in known:
            out[block.parent] = parents
    return out
