"""``pl.scores``: metrics against factors, each figure beside its null and its ceiling."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from betascvi.pl._matrix import HasFrame, Tile, draw_tiles, frame_of, tile_axes
from betascvi.pl._palette import GOOD

_ALPHA = 0.05
_NOTE = "large: the score; small: permuted labels → perfect code; pale: chance explains it"


def scores(table: HasFrame | pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw a score table: one row a metric, one column a factor.

    Parameters
    ----------
    table
        What ``bs.tl.score_disentanglement`` gave, or its frame.
    ax
        Axes to draw into; ``None`` makes a figure.

    Returns
    -------
    The axes. The large number is the score; below it the mean of the permutation null and,
    after the arrow, what a perfect code scores. A pale tile is a score that chance explains
    (p > 0.05); a dash is a score that does not exist.
    """
    frame = frame_of(table).fillna({"given": "", "reason": ""})
    frame = frame.assign(row=_row_names(frame), column=_column_names(frame))
    rows, columns = list(frame["row"].unique()), list(frame["column"].unique())
    tiles = [
        _tile(figure, rows.index(figure["row"]), columns.index(figure["column"]))
        for _, figure in frame.iterrows()
    ]
    ax = tile_axes(ax, len(rows), len(columns))
    draw_tiles(ax, tiles, rows, columns, [GOOD] * len(tiles), _NOTE)
    ax.set_title(f"{frame['key'].iloc[0]}: scores", loc="left", size=10)
    return ax


def _row_names(frame: pd.DataFrame) -> pd.Series:
    metric = frame["metric"].str.replace("_", " ")
    metric = metric.where(~metric.isin(["mig", "dci", "sap"]), metric.str.upper())
    return metric.where(frame["part"] == "headline", metric + " " + frame["part"])


def _column_names(frame: pd.DataFrame) -> pd.Series:
    name = frame["factor"].where(frame["factor"] != "all", "all factors")
    return name.where(frame["given"] == "", name + " in\n" + frame["given"])


def _tile(figure: pd.Series, row: int, column: int) -> Tile:
    if not np.isfinite(figure["value"]):
        return Tile(row, column, None, "–", is_faint=True)
    null, ceiling = figure["null_mean"], figure["ceiling"]
    ends = [f"{end:.2f}" if np.isfinite(end) else "?" for end in (null, ceiling)]
    return Tile(
        row,
        column,
        value=float(figure["value"]),
        text=f"{figure['value']:.2f}",
        small="" if ends == ["?", "?"] else " → ".join(ends),
        is_faint=bool(figure["p_value"] > _ALPHA),
    )
