"""One picture of ``benchmarks.blocks``: what blocks hold, what they leak, what stays in the free one."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

mpl.use("Agg")
import matplotlib.pyplot as plt

FIGURE = Path(__file__).parents[1] / "docs" / "concepts" / "figures" / "blocks.png"
_OURS, _THEIRS, _SAMPLE = "#0072b2", "#9a9a9a", "#e69f00"
_PANELS = (
    ("own / best", "a factor read from its block,\nof the best classifier", 0.97),
    ("MIG / best", "block MIG,\nof what that classifier would score", 0.9),
    ("kept / scVI", "unanchored factors kept in the free block,\nof scVI's latent (the least)", 0.95),
)  # fmt: skip


def figure(table: pd.DataFrame, data: list[str]) -> None:
    """A dot a seed of ``table`` (one line a run), a row a data set; dashed lines are the marks."""
    names = [name for name in data if name in set(table["data"])][::-1]
    picture, axes = plt.subplots(
        1, len(_PANELS) + 1, figsize=(13, 0.32 * len(names) + 1.6), sharey=True,
        layout="constrained",
    )  # fmt: skip
    blocks, scvi = (table[table["method"] == m] for m in ("blocks", "scVI"))
    for ax, (column, title, mark) in zip(axes, _PANELS, strict=False):
        _dots(ax, blocks, column, names, _OURS, "BetaSCVI, blocks")
        ax.axvline(mark, color="0.3", ls="--", lw=0.8)
        ax.set(xlim=(0, 1.12))
        ax.set_title(title, size=9)
    ax = axes[-1]
    _dots(ax, scvi, "free leaks, mean", names, _THEIRS, "scVI, by mean", -0.15)
    _dots(ax, blocks, "free leaks, mean", names, _OURS, "blocks, by mean", 0.05)
    _dots(ax, blocks, "free leaks, sample", names, _SAMPLE, "blocks, by sample", 0.25)
    ax.axvline(0.1, color="0.3", ls="--", lw=0.8)
    ax.set(xlim=(-0.15, 1.02))
    ax.set_title("leak of the free block (of scVI's latent)\nabout anchored factors (the worst)", size=9)  # fmt: skip
    picture.legend(*ax.get_legend_handles_labels(), fontsize=8, ncol=3, loc="outside lower right")
    chosen = set(table.loc[table["chosen_on"], "data"])
    labels = [name + (" *" if name in chosen else "") for name in names]
    axes[0].set_yticks(range(len(names)), labels, fontsize=8)
    for ax in axes:
        ax.grid(alpha=0.25, lw=0.5)
    picture.supxlabel("a dot a seed; * weights were chosen on it", size=9, x=0.25)
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(FIGURE, dpi=110)
    plt.close(picture)


def _dots(
    ax: mpl.axes.Axes, rows: pd.DataFrame, column: str, names: list[str], colour: str, label: str,
    lift: float = 0.0,
) -> None:  # fmt: skip
    place = {name: y for y, name in enumerate(names)}
    rows = rows[np.isfinite(rows[column].astype(float))]
    y = rows["data"].map(place).to_numpy(float) - lift
    ax.scatter(rows[column], y, color=colour, s=20, alpha=0.75, lw=0, label=label)
