"""``pl.traversal``: the genes that follow an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from betascvi._whole_numbers import refuse_count
from betascvi.pl._series import panels_for, plain, series_colour

_WHAT = {"line": "prior standard deviations", "levels": "between levels", "circle": "angle"}


class TraversalRecord(Protocol):
    """What ``bs.tl.traverse`` gives."""

    axis: str
    kind: Any
    steps: np.ndarray
    labels: tuple[str, ...]
    expression: np.ndarray
    genes: tuple[str, ...]
    effects: pd.DataFrame
    scores: pd.DataFrame | None
    start: str
    n_cells: int
    is_factor: bool
    is_counts: bool


def traversal(
    record: TraversalRecord,
    n_genes: int = 8,
    ax: Axes | Sequence[Axes] | None = None,
) -> list[Axes]:
    """Draw a traversal: curves of the genes that move most, and how sure their effects are.

    Parameters
    ----------
    record
        What ``bs.tl.traverse`` gave.
    n_genes
        Genes to draw.
    ax
        One axes for each panel; ``None`` makes a figure.

    Returns
    -------
    The axes: mean curves; effects with the central 90 % of cells; and the scores of gene sets,
    where some were asked for. Genes bear the same colour in the first two.
    """
    refuse_count("n_genes", n_genes)
    top = record.effects.head(n_genes)
    height = min(max(3.6, 1.2 + 0.18 * len(top)), 16.0)
    panels = panels_for(ax, 2 if record.scores is None else 3, (4.4, height))
    _draw_curves(panels[0], record, list(top.index))
    _draw_effects(panels[1], record, top)
    if record.scores is not None:
        for k, name in enumerate(record.scores):
            panels[2].plot(
                record.steps, record.scores[name], color=series_colour(k), marker="o", ms=3,
                label=str(name),
            )  # fmt: skip
        panels[2].set_title("gene sets", loc="left", size=10)
        panels[2].set_ylabel("scanpy's score of the mean curve")
        panels[2].legend(frameon=False, fontsize=8)
        _name_steps(panels[2], record)
    return panels


def _draw_curves(ax: Axes, record: TraversalRecord, genes: list[str]) -> None:
    place = {gene: i for i, gene in enumerate(record.genes)}
    ends = []
    for k, gene in enumerate(genes):
        curve = record.expression[:, place[gene]]
        ax.plot(
            record.steps, curve, color=series_colour(k), lw=1.6, marker="o", ms=3, label=gene,
            ls="-" if k < 8 else "--",
        )  # fmt: skip
        ends.append(curve)
    low, high = float(np.min(ends)), float(np.max(ends))
    if low > 0 and high / low > 20:
        ax.set_yscale("log")
    who = "" if record.n_cells == 1 else f" (mean of {record.n_cells})"
    ax.set_title(f"{record.axis}: {record.start}{who}", loc="left", size=10)
    ax.set_ylabel("expected counts per 10,000" if record.is_counts else "expected value")
    _name_steps(ax, record)


def _draw_effects(ax: Axes, record: TraversalRecord, top: pd.DataFrame) -> None:
    rows = np.arange(len(top))
    for row, (_, gene) in zip(rows, top.iterrows(), strict=True):
        colour = series_colour(int(row))
        ax.plot([gene["low"], gene["high"]], [row, row], color=colour, lw=3, alpha=0.4)
        ax.plot(gene["effect"], row, "o", color=colour, ms=6)
    is_ring = record.kind == "circle" or len(set(zip(top["from"], top["to"], strict=True))) > 1
    names = [
        f"{name} ({gene['from']} → {gene['to']})" if is_ring else str(name)
        for name, gene in top.iterrows()
    ]
    ax.set_yticks(rows, names, size=8)
    for label, row in zip(ax.get_yticklabels(), rows, strict=True):
        label.set_color(series_colour(int(row)))  # these names are the legend of the curves
    ax.invert_yaxis()
    ax.axvline(0.0, color="0.4", lw=0.8)
    first = top.iloc[0]
    ends = "lowest → highest" if is_ring else f"{first['from']} → {first['to']}"
    of = "log2(1 + counts per 10,000)" if record.is_counts else "the expected value"
    ax.set_xlabel(f"change of {of}\nbar: 90 % of cells")
    ax.set_title(f"effect, {ends}", loc="left", size=10)
    plain(ax)


def _name_steps(ax: Axes, record: TraversalRecord) -> None:
    shown = [(s, label) for s, label in zip(record.steps, record.labels, strict=True) if label]
    every = -(-len(shown) // 9)
    shown = shown[::every]
    is_crowded = sum(len(label) for _, label in shown) > 36
    ax.set_xticks([s for s, _ in shown], [label for _, label in shown])
    ax.tick_params(axis="x", rotation=40 if is_crowded else 0, labelsize=8)
    is_number = record.kind == "line" and record.is_factor  # in the factor's own unit
    ax.set_xlabel(record.axis if is_number else f"{record.axis} ({_WHAT[record.kind]})")
    plain(ax)
