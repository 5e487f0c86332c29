"""``pl.leakage``: what each block knows of each factor."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from betascvi.pl._matrix import HasFrame, Tile, draw_tiles, frame_of, tile_axes
from betascvi.pl._palette import BAD, GOOD

_NOTE = "0: chance, 1: all there is to know; framed: the block's own factor; pale: may be 0"


def leakage(record: HasFrame | pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw leaks: one row a block, one column a factor.

    Parameters
    ----------
    record
        What ``bs.tl.leakage`` gave, or its frame.
    ax
        Axes to draw into; ``None`` makes a figure.

    Returns
    -------
    The axes. 0 is chance, 1 is all there is to know; the interval stands below. Framed and
    green: a block's own factor, where much is good. Pale: an interval that holds 0. A dash: no
    figure, see ``reason`` in the frame. ``expected``: what the block's own factor, read
    perfectly, would say of this one because the two depend on each other.
    """
    frame = frame_of(record)
    rows, columns = list(frame["block"].unique()), list(frame["factor"].unique())
    tiles = [
        _tile(leak, rows.index(leak["block"]), columns.index(leak["factor"]))
        for _, leak in frame.iterrows()
    ]
    colours = [GOOD if is_own else BAD for is_own in frame["is_own"]]
    axes_of = frame.groupby("block", sort=False)["n_axes"].first()
    ax = tile_axes(ax, len(rows), len(columns))
    names = [f"{row} ({axes_of[row]})" for row in rows]
    draw_tiles(ax, tiles, names, columns, colours, _NOTE)
    ax.set_ylabel("block (axes)")
    ax.set_title(f"{frame['key'].iloc[0]}: what a block knows of a factor", loc="left", size=10)
    return ax


def _tile(leak: pd.Series, row: int, column: int) -> Tile:
    is_own = bool(leak["is_own"])
    if not np.isfinite(leak["leak"]):
        return Tile(row, column, None, "–", is_faint=True, is_framed=is_own)
    small = f"{leak['low']:.2f} to {min(leak['high'], 1.0):.2f}".replace("-", "−")
    if np.isfinite(leak["implied"]) and leak["implied"] > 0.05:
        small += f"\nexpected {leak['implied']:.2f}"
    return Tile(
        row,
        column,
        value=float(leak["leak"]),
        text=f"{leak['leak']:.2f}".replace("-", "−"),
        small=small,
        is_faint=bool(leak["low"] <= 0.0),
        is_framed=is_own,
    )
