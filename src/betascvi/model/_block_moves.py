"""Positions of cells with the block of an anchored factor moved to another target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from betascvi.factors import Kind

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI


@dataclass(frozen=True, slots=True, eq=False)
class BlockMove:
    """The anchors of one block, and how a cell goes from one to another."""

    name: str
    kind: Kind
    axes: slice
    levels: tuple[str, ...]
    anchors: np.ndarray
    """(levels, axes), or points that a number or an angle may stand at."""
    share: np.ndarray
    """(levels,) of the training cells."""
    scale: tuple[float, float] = (0.0, 1.0)
    """Mean and standard deviation by which a number is standardised."""
    sd: float = 1.0
    """Of the prior around an anchor."""
    parent: str | None = None
    parent_of: tuple[int, ...] = ()
    """Parent level of each level of a nested factor."""

    def position(self, values: np.ndarray) -> np.ndarray:
        """(cells, axes) where the prior of these codes, numbers or angles stands."""
        if self.kind == "categorical":
            return self.anchors[np.asarray(values, dtype=np.int64)]
        if self.kind == "circular":
            return np.stack([np.cos(values), np.sin(values)], axis=-1)
        return ((np.asarray(values, dtype=float) - self.scale[0]) / self.scale[1])[:, None]

    def nearest(self, z: np.ndarray) -> np.ndarray:
        """(cells,) code, number or angle that the block of each cell is nearest to."""
        own = z[:, self.axes]
        if self.kind == "circular":
            return np.asarray(np.mod(np.arctan2(own[:, 1], own[:, 0]), 2 * np.pi))
        if self.kind == "continuous":
            return np.asarray(own[:, 0] * self.scale[1] + self.scale[0])
        apart = ((own[:, None] - self.anchors[None]) ** 2).sum(-1)
        return np.asarray(np.nanargmin(apart, axis=1))

    def moved(self, z: np.ndarray, own: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The same cells at the target, each by its own offset from its own anchor.

        A cell whose own label is missing (NaN, or -1) leaves from the anchor it is nearest to.
        Cells that are at their target already keep their position to the last bit.
        """
        own = np.asarray(own, dtype=float)
        is_known = own >= 0 if self.kind == "categorical" else np.isfinite(own)
        # rounded alike, so that equal values differ by exactly nothing
        own = np.where(is_known, own, self.nearest(z)).astype(np.float32)
        target = np.asarray(target).astype(np.float32)
        out = z.copy()
        if self.kind == "circular":
            out[:, self.axes] = _turned(z[:, self.axes], target - own)
            return out
        shift = self.position(target) - self.position(own)
        out[:, self.axes] = z[:, self.axes] + shift.astype(z.dtype)
        return out

    def at_free_mean(self, z: np.ndarray) -> np.ndarray:
        """The same cells with the block at the mean of its prior: no level in particular."""
        out = z.copy()
        out[:, self.axes] = np.nansum(self.share[:, None] * self.anchors, 0) / self.share.sum()
        return out

    def recoded(self, levels: tuple[str, ...]) -> BlockMove:
        """The same block with its levels in this order; a level it lacks has no anchor (NaN)."""
        place = [self.levels.index(level) if level in self.levels else -1 for level in levels]
        is_known = np.array([i >= 0 for i in place])
        return replace(
            self,
            levels=levels,
            anchors=np.where(is_known[:, None], self.anchors[place], np.nan),
            share=np.where(is_known, self.share[place], 0.0),
            parent_of=tuple(self.parent_of[i] for i in place) if self.parent_of else (),
        )


def block_moves(model: BetaSCVI) -> dict[str, BlockMove]:
    """Name of each anchored factor -> its block; empty where nothing is anchored."""
    blocks: Any = getattr(model.module, "anchored", None)
    moves = {}
    for prior in blocks.each if blocks is not None else ():
        mean, sd = (float(v) for v in prior.scale.cpu().numpy())
        moves[prior.name] = BlockMove(
            prior.name, prior.kind, prior.axes, tuple(map(str, prior.levels)),
            prior.atoms.cpu().numpy().astype(float),
            np.exp(prior.log_share.cpu().numpy().astype(float)), (mean, sd),
            float(prior.anchor.variance) ** 0.5, prior.anchor.within,
            tuple(int(p) for p in prior.parent_of.cpu().numpy()),
        )  # fmt: skip
    return moves


def _turned(points: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Points of a plane turned about its origin, each by its own angle."""
    cosine, sine = (f(by).astype(points.dtype) for f in (np.cos, np.sin))
    first, second = points[:, 0], points[:, 1]
    return np.stack([cosine * first - sine * second, sine * first + cosine * second], axis=1)
