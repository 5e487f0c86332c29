"""The positions a traversal goes through: along an axis, between anchors, round a circle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import numpy as np

from betascvi._errors import UnknownFactorError
from betascvi.model import BetaSCVI
from betascvi.model._block_moves import BlockMove, block_moves

_BETWEEN_ANCHORS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """Where to go, and how a cell gets there."""

    name: str
    """Of the axis, or of the factor of the block."""
    kind: Literal["line", "levels", "circle"]
    steps: np.ndarray
    """(steps,) prior standard deviations; places between levels 0, 1, 2...; or radians."""
    labels: tuple[str, ...]
    """What to write at each step; empty between two levels."""
    at: Callable[[np.ndarray, int], np.ndarray]
    """Positions (cells, axes) and a step -> positions at that step."""


def path_along(model: BetaSCVI, axis: int | str, span: tuple[float, float], n_steps: int) -> Path:
    """The path an axis (by number or name) or a block (by the name of its factor) stands for."""
    moves = block_moves(model)
    if isinstance(axis, str) and axis in moves:
        return _of_block(moves[axis], span, n_steps)
    names = model.axis_names
    if isinstance(axis, str):
        if axis not in names:
            close = get_close_matches(axis, [*moves, *names], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise UnknownFactorError(
                f"no axis {axis!r}; blocks are {list(moves) or 'none'}, axes {names}{hint}"
            )
        position = names.index(axis)
    else:
        position = int(axis)
        if not 0 <= position < len(names):
            raise UnknownFactorError(f"no axis {axis}; the axes go from 0 to {len(names) - 1}.")
    for move in moves.values():  # an axis of a block is nothing by itself
        if move.axes.start <= position < move.axes.stop:
            return _of_block(move, span, n_steps)
    return _along(names[position], position, span, n_steps)


def _along(name: str, position: int, span: tuple[float, float], n_steps: int) -> Path:
    steps = np.linspace(*span, n_steps)

    def at(z: np.ndarray, step: int) -> np.ndarray:
        out = z.copy()
        out[:, position] = steps[step]
        return out

    return Path(name, "line", steps, tuple(_signed(s) for s in steps), at)


def _signed(step: float) -> str:
    return "0" if abs(step) < 1e-9 else f"{step:+.2g}"


def _in_pi(angle: float) -> str:
    share = f"{angle / np.pi:.2f}".rstrip("0").rstrip(".")
    return {"0": "0", "1": "π"}.get(share, f"{share}π")


def _of_block(move: BlockMove, span: tuple[float, float], n_steps: int) -> Path:
    if move.kind == "continuous":
        steps = np.linspace(*span, n_steps)
        values = move.scale[0] + move.scale[1] * steps
        at = _set_to(move, steps[:, None])
        return Path(move.name, "line", steps, tuple(f"{v:.3g}" for v in values), at)
    if move.kind == "circular":
        angles = np.linspace(0.0, 2.0 * np.pi, n_steps)
        return Path(
            move.name, "circle", angles, tuple(_in_pi(a) for a in angles),
            _set_to(move, move.position(angles)),
        )  # fmt: skip
    places = np.linspace(0, len(move.levels) - 1, _BETWEEN_ANCHORS * (len(move.levels) - 1) + 1)
    first = np.minimum(places.astype(int), len(move.levels) - 2)
    share = (places - first)[:, None]
    points = (1.0 - share) * move.anchors[first] + share * move.anchors[first + 1]
    labels = [move.levels[round(p)] if float(p).is_integer() else "" for p in places]
    return Path(move.name, "levels", places, tuple(labels), _set_to(move, points))


def _set_to(move: BlockMove, points: np.ndarray) -> Callable[[np.ndarray, int], np.ndarray]:
    def at(z: np.ndarray, step: int) -> np.ndarray:
        out = z.copy()
        out[:, move.axes] = points[step]
        return out

    return at
