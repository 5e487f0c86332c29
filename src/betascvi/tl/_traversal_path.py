"""The positions a traversal goes through: along an axis, between anchors, round a circle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import numpy as np

from betascvi._errors import FactorError, UnknownFactorError
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
    """(steps,) prior standard deviations, or values of the factor; places between levels 0, 1,
    2...; or radians."""
    labels: tuple[str, ...]
    """What to write at each step; empty between two levels."""
    at: Callable[[np.ndarray, int], np.ndarray]
    """Positions (cells, axes) and a step -> positions at that step."""
    is_factor: bool = False
    """Whether the block of an anchored factor is moved, not a free axis."""


def paths_along(
    models: Sequence[BetaSCVI], axis: int | str, span: tuple[float, float], n_steps: int
) -> list[Path]:
    """The same path in each model: levels in the order, and values on the scale, of the first."""
    if len(models) == 1:
        return [path_along(models[0], axis, span, n_steps)]
    moves = [block_moves(model)[str(axis)] for model in models]
    return [_of_block(_like(move, moves[0], k), moves[0], span, n_steps)
            for k, move in enumerate(moves)]  # fmt: skip


def _like(move: BlockMove, first: BlockMove, position: int) -> BlockMove:
    """The block with its levels in the order of the first model's; refused if they are others."""
    if move.kind != first.kind:
        raise FactorError(
            f"{move.name!r} is {first.kind} in the first model and {move.kind} in model "
            f"{position}: only models of the same factor can be compared."
        )
    if move.kind != "categorical" or move.levels == first.levels:
        return move
    if set(move.levels) != set(first.levels):
        raise FactorError(
            f"{move.name!r} has the levels {list(first.levels)} in the first model and "
            f"{list(move.levels)} in model {position}: only models of the same levels can be "
            "compared; traverse them one by one."
        )
    return move.recoded(first.levels)


def path_along(model: BetaSCVI, axis: int | str, span: tuple[float, float], n_steps: int) -> Path:
    """The path an axis (by number or name) or a block (by the name of its factor) stands for."""
    moves = block_moves(model)
    if isinstance(axis, str) and axis in moves:
        return _of_block(moves[axis], moves[axis], span, n_steps)
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
            return _of_block(move, move, span, n_steps)
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


def _of_block(move: BlockMove, first: BlockMove, span: tuple[float, float], n_steps: int) -> Path:
    """Through the block of one model, to the values that the first of the models goes through."""
    if move.kind == "continuous":
        mean, sd = first.scale
        values = mean + sd * np.linspace(*span, n_steps)
        at = _set_to(move, move.position(values))
        return Path(move.name, "line", values, tuple(f"{v:.3g}" for v in values), at, True)
    if move.kind == "circular":
        angles = np.linspace(0.0, 2.0 * np.pi, n_steps)
        return Path(
            move.name, "circle", angles, tuple(_in_pi(a) for a in angles),
            _set_to(move, move.position(angles)), True,
        )  # fmt: skip
    places = np.linspace(0, len(move.levels) - 1, _BETWEEN_ANCHORS * (len(move.levels) - 1) + 1)
    left = np.minimum(places.astype(int), len(move.levels) - 2)
    share = (places - left)[:, None]
    points = (1.0 - share) * move.anchors[left] + share * move.anchors[left + 1]
    labels = [move.levels[round(p)] if float(p).is_integer() else "" for p in places]
    return Path(move.name, "levels", places, tuple(labels), _set_to(move, points), True)


def _set_to(move: BlockMove, points: np.ndarray) -> Callable[[np.ndarray, int], np.ndarray]:
    def at(z: np.ndarray, step: int) -> np.ndarray:
        out = z.copy()
        out[:, move.axes] = points[step]
        return out

    return at
