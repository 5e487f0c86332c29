"""Gene programs of axes: order, sign, what has vanished, what stands twice. Arithmetic on arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import sparse

from betascvi._whole_numbers import refuse_count
from betascvi.metrics._diagnosis import DEAD_NATS

if TYPE_CHECKING:
    import pandas as pd

LEAST_SHARE = 0.001
"""An axis that moves less of the decoded variation has vanished."""
ALIKE = 0.9
"""Correlation over genes from which two programs are one."""
_NAMES = ("-", "+")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two directions of two axes that move the same genes."""

    axis: str
    direction: str
    other: str
    other_direction: str
    correlation: float

    def __str__(self) -> str:
        return (
            f"{self.axis}{self.direction} and {self.other}{self.other_direction} move the same "
            f"genes (correlation {self.correlation:.2f})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class GenePrograms:
    """What each axis does to each gene; ``print`` it, or ``to_frame()``."""

    axes: tuple[str, ...]
    """Names, in the order of the model."""
    genes: tuple[str, ...]
    effects: Float[np.ndarray, "axes two genes"]
    """Change of log expression (of a PCA's model: of expression) when an axis falls ``[:, 0]`` or
    rises ``[:, 1]`` by ``span`` from the origin, all others held; with ``by="cells"`` the
    difference in log counts between cells at that end of the axis and the others."""
    explained: Float[np.ndarray, " axes"]
    """Share of the variation of decoded expression between cells that is lost without the axis."""
    kl: Float[np.ndarray, " axes"]
    """Mean KL of each axis to its prior, nats."""
    span: float
    is_exact: bool
    """Read off an additive decoder, where an axis does the same whatever the others do."""
    by: str = "decoder"
    """``"decoder"`` or ``"cells"``: what the effects are of."""

    @property
    def order(self) -> np.ndarray:
        """Positions of the axes, the one that explains most first."""
        return np.argsort(-self.explained, kind="stable")

    @property
    def is_vanished(self) -> Bool[np.ndarray, " axes"]:
        """Axes that carry nothing (KL below 0.01 nat) or move next to nothing."""
        return np.asarray((self.explained < LEAST_SHARE) | (self.kl < DEAD_NATS))

    @property
    def vanished(self) -> tuple[str, ...]:
        """Names of the axes that carry nothing."""
        return tuple(self.axes[i] for i in np.flatnonzero(self.is_vanished))

    @property
    def signs(self) -> Float[np.ndarray, " axes"]:
        """+1 where an axis raises genes more when it rises, -1 where it does when it falls.

        An axis times its sign points to its stronger program, whatever the seed.
        """
        strength = (np.clip(self.effects, 0.0, None) ** 2).sum(-1)
        return np.where(strength[:, 1] >= strength[:, 0], 1.0, -1.0)

    @property
    def duplicates(self) -> tuple[Duplicate, ...]:
        """Stronger programs of living axes that correlate over genes by 0.9 or more.

        None of ``by="cells"``: axes that are on in the same cells have the same markers, whatever
        each of them does.
        """
        if self.by == "cells":
            return ()
        alive = np.flatnonzero(~self.is_vanished)
        stronger = (self.signs > 0).astype(int)
        programs = np.stack([self.effects[i, stronger[i]] for i in alive] or [np.empty(0)])
        correlation = correlation_of(programs) if len(alive) > 1 else np.zeros((1, 1))
        rows, columns = np.nonzero(np.triu(correlation >= ALIKE, k=1))
        return tuple(
            Duplicate(
                self.axes[alive[i]], _NAMES[stronger[alive[i]]],
                self.axes[alive[j]], _NAMES[stronger[alive[j]]], float(correlation[i, j]),
            )
            for i, j in zip(rows, columns, strict=True)
        )  # fmt: skip

    def program(self, axis: int | str, direction: str | None = None) -> Float[np.ndarray, " genes"]:
        """Effects of one axis on all genes, in its stronger direction unless told."""
        i = self.position(axis)
        if direction not in (None, *_NAMES):
            raise ValueError(f"direction is '-', '+' or None (the stronger), got {direction!r}.")
        side = int(self.signs[i] > 0) if direction is None else _NAMES.index(direction)
        return np.asarray(self.effects[i, side])

    def position(self, axis: int | str) -> int:
        """Position of an axis given by position or name."""
        if isinstance(axis, str) and axis in self.axes:
            return self.axes.index(axis)
        if not isinstance(axis, str) and -len(self.axes) <= axis < len(self.axes):
            return int(axis) % len(self.axes)
        raise KeyError(f"no axis {axis!r}; there are {len(self.axes)}: {list(self.axes)}")

    def to_frame(self, n_genes: int | None = 20) -> pd.DataFrame:
        """One row for each gene, axis and direction; axes ordered by what they explain.

        Parameters
        ----------
        n_genes
            Genes of each direction, those raised most first; ``None`` gives all, down to those
            lowered most.
        """
        import pandas as pd

        if n_genes is not None:
            refuse_count("n_genes", n_genes)
        parts = []
        for i in self.order:
            for side in (1, 0):
                effect = self.effects[i, side]
                top = np.argsort(-effect, kind="stable")[:n_genes]
                rows = {
                    "axis": self.axes[i],
                    "direction": _NAMES[side],
                    "gene": np.array(self.genes)[top],
                    "effect": effect[top],
                    "rank": np.arange(1, len(top) + 1),
                }
                parts.append(pd.DataFrame(rows))
        return pd.concat(parts, ignore_index=True)

    def axes_frame(self, n_genes: int = 5) -> pd.DataFrame:
        """One row for each axis, ordered by what it explains."""
        import pandas as pd

        names = np.array(self.genes)
        twins: dict[str, list[str]] = {}
        for pair in self.duplicates:
            twins.setdefault(pair.axis, []).append(pair.other)
            twins.setdefault(pair.other, []).append(pair.axis)
        rows = [
            {
                "axis": self.axes[i],
                "explained": float(self.explained[i]),
                "kl": float(self.kl[i]),
                "sign": int(self.signs[i]),
                "top_genes": ", ".join(names[np.argsort(-self.program(i))[:n_genes]]),
                "is_vanished": bool(self.is_vanished[i]),
                "same_program_as": ", ".join(twins.get(self.axes[i], [])),
            }
            for i in self.order
        ]
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        n_alive = len(self.axes) - len(self.vanished)
        lines = [f"{n_alive} of {len(self.axes)} axes move genes"]
        if self.vanished:
            lines.append(f"vanished: {', '.join(self.vanished)}")
        lines += [str(pair) for pair in self.duplicates]
        return "; ".join(lines)


def correlation_of(rows: Float[np.ndarray, "rows genes"]) -> Float[np.ndarray, "rows rows"]:
    """Pearson correlation between rows; a constant one correlates with nothing."""
    centred = rows - rows.mean(axis=1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    return np.asarray(unit @ unit.T)


def marker_effects(
    on: Bool[np.ndarray, "cells programs"], counts: Iterable[tuple[slice, Any]]
) -> Float[np.ndarray, "programs genes"]:
    """Log mean counts per 10,000 of cells in which a program is on, less those of the others.

    ``counts`` are pieces of the cells, dense or sparse. A tenth of a count is added to both means.
    """
    sums: list[Any] = [0.0, 0.0]
    weights = on.astype(np.float64), (~on).astype(np.float64)
    for some, piece in counts:
        x = sparse.csr_array(piece, dtype=np.float64)
        x = sparse.diags_array(1e4 / np.maximum(x.sum(1), 1.0)) @ x
        sums = [total + (x.T @ weight[some]).T for total, weight in zip(sums, weights, strict=True)]
    n_cells = [weight.sum(0)[:, None] for weight in weights]
    logs = [np.log(s / np.maximum(n, 1e-12) + 0.1) for s, n in zip(sums, n_cells, strict=True)]
    is_told = np.minimum(*n_cells) >= 1.0  # a cell at least on either side
    return np.where(is_told, logs[0] - logs[1], 0.0)


def match_axes(
    one: Float[np.ndarray, "cells axes"], other: Float[np.ndarray, "cells others"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One to one, the pairs of axes that correlate most in total: positions and correlations."""
    from scipy.optimize import linear_sum_assignment

    both = np.hstack([one, other]).T.astype(np.float64)
    correlation = np.abs(correlation_of(both))[: one.shape[1], one.shape[1] :]
    rows, columns = linear_sum_assignment(correlation, maximize=True)
    return rows, columns, correlation[rows, columns]


def mean_matched(one: np.ndarray, other: np.ndarray) -> float:
    """Mean correlation of matched axes; an axis without a partner counts zero."""
    n_axes = max(one.shape[1], other.shape[1])
    if min(one.shape[1], other.shape[1]) == 0:
        return 0.0
    return float(match_axes(one, other)[2].sum() / n_axes)


def living(embeddings: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Each embedding without the axes its mask leaves out."""
    return [z[:, mask] for z, mask in zip(embeddings, masks, strict=True)]
