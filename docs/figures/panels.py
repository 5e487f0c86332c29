"""What the pictures of ``docs/concepts`` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from betascvi.pl._palette import INK

FOLDER = Path(__file__).parents[1] / "concepts" / "figures"
TEAL, CLAY, SAND = "#1f7a80", "#c8562f", "#d9b44a"
N = 1500


def panels(n: int, width: float = 3.0, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """A row of panels without frames."""
    figure, axes = plt.subplots(
        1, n, figsize=(width * n, height), layout="constrained", squeeze=False
    )
    for ax in axes[0]:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8, colors=INK)
    return figure, list(axes[0])


def titled(ax: Axes, title: str, x: str = "", y: str = "") -> None:
    """Title and names in one size."""
    ax.set_title(title, size=9, loc="left")
    ax.set_xlabel(x, size=8)
    ax.set_ylabel(y, size=8)


def levels(seed: int = 0, n_cells: int = N, n_factors: int = 2, n_levels: int = 4) -> np.ndarray:
    """Independent factors."""
    return np.random.default_rng(seed).integers(n_levels, size=(n_cells, n_factors))


def draw_all(pictures: Sequence[Callable[[], Figure]]) -> None:
    """Write each picture under the name of its function."""
    mpl.use("Agg")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for draw in pictures:
        figure = draw()
        figure.savefig(FOLDER / f"{draw.__name__}.png", dpi=110, metadata={"Software": None})
        plt.close(figure)
