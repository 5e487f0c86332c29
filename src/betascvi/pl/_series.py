"""Colours and frames that the line and scatter plots share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

SERIES: Final = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8c564b",
)  # fmt: skip
"""Told apart by readers who see colours differently (after Okabe and Ito)."""
PALE: Final = "#c9c9c4"
"""What carries nothing, or is not known."""


def series_colour(position: int) -> str:
    """Colour of a series; more than eight begin again."""
    return SERIES[position % len(SERIES)]


def level_colours(n: int) -> list[str]:
    """As many distinct colours as there are levels."""
    if n <= len(SERIES):
        return list(SERIES[:n])
    cycle = plt.get_cmap("turbo")(np.linspace(0.03, 0.97, n))
    return ["#{:02x}{:02x}{:02x}".format(*(int(255 * c) for c in rgba[:3])) for rgba in cycle]


def panels_for(ax: Axes | Sequence[Axes] | None, n: int, size: tuple[float, float]) -> list[Axes]:
    """The axes given, as many as there are panels, or new ones side by side."""
    if ax is None:
        width, height = size
        figure = plt.subplots(1, n, figsize=(width * n, height), layout="constrained")[1]
        return list(np.atleast_1d(figure))
    given = [ax] if isinstance(ax, Axes) else list(ax)
    if len(given) != n:
        raise ValueError(f"this plot has {n} panels and was given {len(given)} axes.")
    return given


def plain(ax: Axes) -> None:
    """No box, a faint grid behind."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, lw=0.5)
    ax.set_axisbelow(True)
