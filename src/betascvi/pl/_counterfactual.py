"""``pl.counterfactual``: what a change of a factor does to genes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes
from scipy import sparse

from betascvi import _keys
from betascvi._whole_numbers import refuse_count
from betascvi.pl._palette import INK
from betascvi.pl._series import PALE, plain, series_colour

_MOST_APART = 0.042
"""Of the height of the axes, between two names."""


class CounterfactualRecord(Protocol):
    """What ``bs.tl.counterfactual`` gives."""

    changes: Mapping[str, Any]
    n_cells: int
    statistics: pd.DataFrame | None

    def to_anndata(self) -> AnnData:
        """The cells."""


def counterfactual(
    record: CounterfactualRecord,
    n_genes: int = 12,
    groups: str | Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a counterfactual: log-fold changes of groups, or gene means before and after.

    Parameters
    ----------
    record
        What ``bs.tl.counterfactual`` gave.
    n_genes
        Genes to name: those that change most. Of statistics, those whose interval stays farthest
        from 0 in any of the groups; after them, by change over width of the interval.
    groups
        Group or groups to draw, of ``output="statistics"``; all by default.
    ax
        Axes to draw into; ``None`` makes a figure.

    Returns
    -------
    The axes. Statistics: a point and an interval for each gene and group. Cells: mean expression
    of every gene as it is and as it would be, with the genes that change most named; where values
    are below 0, as a Gaussian model's may be, means as they are and not of counts per 10,000.
    """
    refuse_count("n_genes", n_genes)
    if record.statistics is not None:
        drawn = _forest(record.statistics, n_genes, groups, ax)
    else:
        drawn = _scatter(record.to_anndata(), n_genes, ax)
    asked = ", ".join(f"{name} → {_short(target)}" for name, target in record.changes.items())
    drawn.set_title(f"{asked} ({record.n_cells} cells)", loc="left", size=10)
    return drawn


def _short(target: Any) -> str:
    if isinstance(target, Mapping):
        return " + ".join(f"{weight:g} {level}" for level, weight in target.items())
    return str(target) if np.ndim(target) == 0 else "one a cell"


def _shown(frame: pd.DataFrame, groups: str | Sequence[str] | None) -> list[str]:
    """Names of the groups to draw."""
    there = [str(group) for group in frame["group"].unique()]
    asked = there if groups is None else [groups] if isinstance(groups, str) else groups
    shown = [str(group) for group in asked]
    if not shown:
        raise ValueError(f"groups is empty; there are {there}, and None draws all of them.")
    unknown = sorted(set(shown) - set(there))
    if unknown:
        raise ValueError(f"no group {unknown[0]!r}; there are {there}.")
    return list(dict.fromkeys(shown))


def _most_changed(frame: pd.DataFrame, n_genes: int) -> pd.Index:
    """Genes whose interval is farthest from 0 in any group, then by change over its width."""
    nearest = frame[["low", "high"]].abs().min(axis=1)
    width = (frame["high"] - frame["low"]).clip(lower=1e-9)
    sizes = pd.DataFrame(
        {
            "sure": nearest.where(frame["low"] * frame["high"] > 0, 0.0),
            "ratio": frame["log2_fold_change"].abs() / width,
        }
    )
    largest = sizes.groupby(frame["gene"], observed=True).max()
    return largest.sort_values(["sure", "ratio"], ascending=False).index[:n_genes]


def _forest(
    frame: pd.DataFrame, n_genes: int, groups: str | Sequence[str] | None, ax: Axes | None
) -> Axes:
    shown = _shown(frame, groups)
    frame = frame[frame["group"].astype(str).isin(shown)]
    largest = _most_changed(frame, n_genes)
    height = 1.2 + 0.32 * len(largest) * max(1.0, 0.4 * len(shown))
    if ax is None:
        width = 5.6 if len(shown) == 1 else 7.8  # the legend stands beside
        ax = plt.subplots(figsize=(width, min(height, 14)), layout="constrained")[1]
    offsets = np.linspace(-0.3, 0.3, len(shown)) if len(shown) > 1 else [0.0]
    for k, (group, offset) in enumerate(zip(shown, offsets, strict=True)):
        of_group = frame[frame["group"].astype(str) == group].set_index("gene").loc[largest]
        rows = np.arange(len(largest)) + offset
        middle = of_group["log2_fold_change"]
        ends = [middle - of_group["low"], of_group["high"] - middle]
        ax.errorbar(
            middle, rows, xerr=ends, fmt="o", ms=4, lw=1.4, color=series_colour(k),
            label=f"{group} (n = {of_group['n_cells'].iloc[0]})",
        )  # fmt: skip
    ax.set_yticks(np.arange(len(largest)), [str(gene) for gene in largest])
    ax.invert_yaxis()
    ax.axvline(0.0, color="0.4", lw=0.8)
    ax.set_xlabel("log2-fold change of the mean of counts per 10,000, with its interval")
    plain(ax)
    of_one = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0}
    beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    ax.legend(frameon=False, fontsize=8, **(of_one if len(shown) == 1 else beside))
    return ax


def _scatter(cells: AnnData, n_genes: int, ax: Axes | None) -> Axes:
    if _keys.FACTUAL not in cells.layers:
        raise ValueError(
            "this counterfactual was stored without the reconstruction, so there is nothing to "
            "compare with; make it with Store(..., factual=True)."
        )
    matrices = (cells.layers[_keys.FACTUAL], cells.X)
    is_counts = all(m.min() >= 0 for m in matrices)  # a Gaussian's values go below 0
    before, after = (_per_10k(m) if is_counts else _means(m) for m in matrices)
    if ax is None:
        height = max(4.6, 0.8 + 0.15 * min(n_genes, len(before)))
        ax = plt.subplots(figsize=(6.4, min(height, 16.0)), layout="constrained")[1]
    change = after - before
    top = np.argsort(-np.abs(change))[:n_genes]
    ax.axline((0.0, 0.0), slope=1.0, color="0.4", lw=0.8, label="no change")
    ax.plot(before, after, "o", ms=3, color=PALE, mew=0)
    colours = np.where(change[top] > 0, series_colour(1), series_colour(0))
    ax.scatter(before[top], after[top], c=colours, s=18, zorder=3)
    limits = _limits(np.concatenate([before, after]), is_counts=is_counts)
    ax.set(xlim=limits, ylim=limits)
    _name_genes(ax, before[top], after[top], [str(n) for n in cells.var_names[top]])
    what = "log(1 + mean counts per 10,000)" if is_counts else "mean expected value"
    ax.set_xlabel(f"as the cells are: {what}")
    ax.set_ylabel("as they would be")
    plain(ax)
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return ax


def _limits(values: np.ndarray, *, is_counts: bool) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if is_counts:
        return 0.0, 1.03 * max(high, 1e-6)
    room = 0.03 * max(high - low, 1e-6)
    return low - room, high + room


def _name_genes(ax: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> None:
    """Names stand in a column beside the plot, in the order of their points, none on another."""
    order = np.argsort(y)
    low, high = ax.get_ylim()
    apart = min(_MOST_APART, 1.0 / len(names))
    inches = ax.bbox.height / ax.figure.dpi
    size = float(np.clip(0.85 * 72 * inches * apart, 2.0, 7.0))
    places = _beside_each_other((np.asarray(y)[order] - low) / (high - low), apart)
    for k, place in zip(order, places, strict=True):
        ax.annotate(
            names[int(k)], (x[k], y[k]), xytext=(1.03, place), textcoords="axes fraction",
            ha="left", va="center", size=size, color=INK, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "0.6"},
        )  # fmt: skip


def _beside_each_other(wanted: np.ndarray, apart: float) -> np.ndarray:
    """Rising heights from 0 to 1, ``apart`` from one another and near to those wanted."""
    steps = apart * np.arange(len(wanted))
    up = np.maximum.accumulate(wanted - steps) + steps
    most = 1.0 - steps[::-1]
    return np.asarray(np.minimum(up, most))


def _means(matrix: Any) -> np.ndarray:
    """(genes,) means over cells."""
    return np.asarray(matrix.mean(0)).ravel()


def _per_10k(matrix: Any) -> np.ndarray:
    """(genes,) log1p of the mean over cells of counts per 10,000."""
    totals = np.maximum(np.asarray(matrix.sum(1)).ravel(), 1e-12)
    weights = 1e4 / totals / len(totals)
    if sparse.issparse(matrix):
        return np.log1p(np.asarray(matrix.T @ weights))
    return np.log1p(np.asarray(weights @ np.asarray(matrix)))
