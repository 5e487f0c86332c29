"""Blocks as training left them: levels stand where their cells ended up, not at the anchors."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np

from betascvi.factors._anchor_positions import circle_points
from betascvi.model._block_moves import BlockMove
from betascvi.model._cells import cells_of, training_rows
from betascvi.tl._encoded import Encoded
from betascvi.tl._targets import Targets

_MOST_CELLS = 20_000
_N_ANGLES = 64


@dataclass(frozen=True, slots=True, eq=False)
class Ellipse(BlockMove):
    """The block of an angle where its cells lie: on an ellipse, not on the unit circle."""

    centre: np.ndarray = field(default_factory=lambda: np.zeros(2))
    onto: np.ndarray = field(default_factory=lambda: np.eye(2))
    """(cosine and sine, axes)"""

    def position(self, values: np.ndarray) -> np.ndarray:
        """(cells, axes) of the ellipse at these angles."""
        return np.asarray(self.centre + circle_points(np.asarray(values, dtype=float)) @ self.onto)

    def nearest(self, z: np.ndarray) -> np.ndarray:
        """(cells,) angle of the nearest point of the ellipse."""
        angles = np.arange(_N_ANGLES) * 2 * np.pi / _N_ANGLES
        apart = z[:, None, self.axes] - self.position(angles)[None]
        return np.asarray(angles[(apart**2).sum(-1).argmin(1)])

    def moved(self, z: np.ndarray, own: np.ndarray, target: np.ndarray) -> np.ndarray:
        """The same cells at the target, each by its own offset from the ellipse."""
        own = np.where(np.isfinite(own), own, self.nearest(z))
        out = z.copy()
        shift = self.position(target) - self.position(own)
        out[:, self.axes] = z[:, self.axes] + shift.astype(z.dtype)
        return out


def realised(encoded: Encoded, targets: Targets) -> Targets:
    """The same targets, with blocks moved between the mean positions of their labelled cells.

    Posterior means are drawn in towards the prior, so that the difference of two anchors is more
    than what two levels differ by, and taking it off a cell turns its level's effect round.
    """
    moved = {name: h.block for name, h in targets.handles.items() if h.block is not None}
    if not moved:
        return targets
    z, labels = _labelled(encoded, list(moved))
    blocks = {name: realised_block(block, z, labels[name]) for name, block in moved.items()}
    handles = {
        name: replace(handle, block=blocks.get(name)) for name, handle in targets.handles.items()
    }
    return replace(targets, handles=handles)


def realised_block(block: BlockMove, z: np.ndarray, labels: np.ndarray) -> BlockMove:
    """The block with each level at the mean position of its cells, a number on their line.

    A level without cells is drawn in as much as the others are. An angle goes along the ellipse
    of its cells: a turn about the origin would spread cells over a circle that do not lie on one.
    """
    own = z[:, block.axes].astype(float)
    if block.kind == "categorical":
        return replace(block, anchors=_level_means(own, labels, block.anchors))
    if block.kind == "continuous":
        return replace(block, scale=_line(own[:, 0], labels, block.scale))
    return _ellipse(block, own, labels)


def _labelled(encoded: Encoded, names: list[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Positions and labels of the training cells; of the cells given where those are not at hand."""
    rows = training_rows(encoded.model)
    if rows is None:
        return encoded.mean, {name: encoded.cells.labels[name] for name in names}
    rows = rows[:: 1 + len(rows) // _MOST_CELLS]
    labels = cells_of(encoded.model, None, rows, with_sizes=False).labels
    everyone = np.arange(encoded.adata.n_obs)
    if encoded.adata is encoded.model.adata and np.array_equal(encoded.cells.indices, everyone):
        return encoded.mean[rows], {name: labels[name] for name in names}
    z = np.asarray(encoded.model.get_latent_representation(indices=rows.tolist()))
    return z, {name: labels[name] for name in names}


def _level_means(own: np.ndarray, labels: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    known = labels >= 0  # NaN, a missing label, is not
    codes = labels[known].astype(int)
    counts = np.bincount(codes, minlength=len(anchors))
    is_there = counts > 0
    if not is_there.any():
        return anchors
    means = np.zeros(anchors.shape)
    np.add.at(means, codes, own[known])
    means[is_there] /= counts[is_there, None]
    squares = (anchors[is_there] ** 2).sum()
    slope = (means * anchors)[is_there].sum() / squares if squares > 0 else 1.0
    return np.where(is_there[:, None], means, slope * anchors)


def _ellipse(block: BlockMove, own: np.ndarray, angles: np.ndarray) -> BlockMove:
    known = np.isfinite(angles)
    design = np.column_stack([np.ones(known.sum()), circle_points(angles[known])])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        return block
    found = np.linalg.lstsq(design, own[known], rcond=None)[0]
    given = {of.name: getattr(block, of.name) for of in fields(block)}
    return Ellipse(**given, centre=found[0], onto=found[1:])


def _line(own: np.ndarray, labels: np.ndarray, scale: tuple[float, float]) -> tuple[float, float]:
    """Mean and standard deviation that put numbers on the line of their cells' positions."""
    known = np.isfinite(labels)
    values = (labels[known] - scale[0]) / scale[1]
    spread = values.var() if known.any() else 0.0
    if spread < 1e-12:
        return scale
    slope = float(((values - values.mean()) * own[known]).mean() / spread)
    slope = np.copysign(max(abs(slope), 1e-6), slope)  # a block that ignores it is not moved
    start = float(own[known].mean() - slope * values.mean())
    return scale[0] - start * scale[1] / slope, scale[1] / slope
