"""``pl.overlap``: which factors can be told apart."""

from __future__ import annotations

from matplotlib.axes import Axes

from betascvi.factors import Overlap
from betascvi.pl._matrix import Tile, draw_tiles, tile_axes
from betascvi.pl._palette import BAD

_NOTE = "framed: effects cannot be told apart unless one factor is read within the other"
_SAID = {
    "crossed": "",
    "holes": "holes",
    "nested": "nested",
    "same": "same split",
    "disconnected": "not separable",
    "measured": "",
    "unlabelled": "no labels",
}


def overlap(record: Overlap, ax: Axes | None = None) -> Axes:
    """Draw how factors stand to each other.

    Parameters
    ----------
    record
        What ``bs.tl.overlap`` gave.
    ax
        Axes to draw into; ``None`` makes a figure.

    Returns
    -------
    The axes: how much of the row's factor the column's factor explains (shared information
    over entropy), 0 to 1. Framed tiles are pairs that no model can tell apart without being
    told more; the last column holds the ceiling of each factor, 1 minus the row's largest.
    """
    names = list(record.factors)
    shares = record.matrix("explained")
    tiles, colours = [], []
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            if i != j:
                tiles.append(_tile(record, i, j, row, column, float(shares[i, j])))
                colours.append(BAD)
        tiles.append(Tile(i, len(names), None, f"{record.ceilings[row]:.2f}"))
        colours.append(BAD)
    ax = tile_axes(ax, len(names), len(names) + 1)
    draw_tiles(ax, tiles, names, [*names, "ceiling"], colours, _NOTE)
    ax.set_title("share of the row's factor that the column's factor explains", loc="left", size=10)
    return ax


def _tile(record: Overlap, i: int, j: int, row: str, column: str, share: float) -> Tile:
    relation = record.pair(row, column).relation
    said = _SAID[relation.kind]
    if relation.kind == "nested":
        said = f"in {column}" if relation.child == row else f"holds {column}"
    return Tile(i, j, share, f"{share:.2f}", small=said, is_framed=not relation.is_identifiable)
