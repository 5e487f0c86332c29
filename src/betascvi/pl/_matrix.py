"""A matrix of labelled tiles: what the plots of figures share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Protocol

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, to_rgba
from matplotlib.patches import Rectangle

from betascvi.pl._palette import FAINT, INK, PAPER, text_on

_TILE = (1.15, 0.62)  # inches
_LETTERS = 14  # that fit above a tile


class HasFrame(Protocol):
    """A record of ``bs.tl``."""

    def to_frame(self) -> pd.DataFrame:
        """One row a figure."""
        ...


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of a matrix."""

    row: int
    column: int
    value: float | None
    """Between 0 and 1, for the colour; ``None`` leaves the tile plain."""
    text: str
    small: str = ""
    is_faint: bool = False
    is_framed: bool = False


def frame_of(record: HasFrame | pd.DataFrame) -> pd.DataFrame:
    """The frame of a record, or a frame that was read back from a file."""
    return record if isinstance(record, pd.DataFrame) else record.to_frame()


def tile_axes(ax: Axes | None, n_rows: int, n_columns: int) -> Axes:
    """The axes given, or new ones in which tiles are of readable size."""
    if ax is not None:
        return ax
    size = (1.9 + _TILE[0] * n_columns, 0.9 + _TILE[1] * n_rows)
    return plt.subplots(figsize=size, layout="constrained")[1]


def draw_tiles(
    ax: Axes,
    tiles: Sequence[Tile],
    rows: Sequence[str],
    columns: Sequence[str],
    colours: Sequence[Colormap],
    note: str,
) -> Axes:
    """Draw tiles with names around them and a note below; one colour map a tile."""
    for tile, colour in zip(tiles, colours, strict=True):
        _draw(ax, tile, colour)
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    longest = max(len(line) for name in columns for line in name.split("\n"))
    turn = 30 if longest > _LETTERS else 0
    ax.set_xticks(
        range(len(columns)), columns, rotation=turn, ha="left" if turn else "center", color=INK
    )
    ax.set_yticks(range(len(rows)), rows, color=INK)
    ax.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(fill(note, max(40, 19 * len(columns))), loc="left", size=8, color=FAINT)
    return ax


def _draw(ax: Axes, tile: Tile, colour: Colormap) -> None:
    is_plain = tile.value is None or tile.is_faint
    face = to_rgba(PAPER) if is_plain else colour(min(1.0, max(0.0, tile.value or 0.0)))
    corner = (tile.column - 0.5, tile.row - 0.5)
    ax.add_patch(Rectangle(corner, 1, 1, facecolor=face, edgecolor="white", linewidth=2))
    if tile.is_framed:
        inner = (corner[0] + 0.03, corner[1] + 0.03)
        ax.add_patch(Rectangle(inner, 0.94, 0.94, fill=False, edgecolor=INK, linewidth=1.6))
    ink = FAINT if tile.is_faint else text_on(face)
    lift = 0.12 if tile.small else 0.0
    ax.text(tile.column, tile.row - lift, tile.text, ha="center", va="center", color=ink, size=10)
    if tile.small:
        ax.text(
            tile.column, tile.row + 0.24, tile.small, ha="center", va="center", color=ink, size=6.5
        )
