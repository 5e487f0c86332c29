"""Colours that mean the same in every plot."""

from __future__ import annotations

from typing import Final

from matplotlib.colors import LinearSegmentedColormap

INK: Final = "#222222"
FAINT: Final = "#8a8a8a"
"""Text of figures that chance explains."""
PAPER: Final = "#f4f4f2"
"""Cells that chance explains, or that hold no figure."""
GOOD: Final = LinearSegmentedColormap.from_list("good", ["#eaf3f4", "#8cc0c4", "#1f7a80"])
"""The more the better: scores, a block's own factor."""
BAD: Final = LinearSegmentedColormap.from_list("bad", ["#fbeee6", "#f0a277", "#b3391b"])
"""The less the better: leaks, dependence between factors."""


def text_on(colour: tuple[float, float, float, float]) -> str:
    """Ink or white, whichever reads better on this colour."""
    red, green, blue, _ = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "white"
