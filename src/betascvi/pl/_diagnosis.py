"""``pl.diagnosis``: what each axis carries, and where the rate goes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from betascvi.metrics._diagnosis import DEAD_NATS, Diagnosis
from betascvi.pl._series import PALE, SERIES, panels_for, plain

_MOST_NAMED = 24


def diagnosis(record: Diagnosis, ax: Axes | Sequence[Axes] | None = None) -> np.ndarray:
    """Draw a diagnosis: KL by axis, how far the decoder listens, and the rate's two parts.

    Parameters
    ----------
    record
        What ``bs.tl.diagnose`` gave.
    ax
        Three axes; ``None`` makes a figure.

    Returns
    -------
    The axes. Left: KL of each axis in nats, largest first; pale axes carry less than 0.01 nat.
    Middle, in the same order: the share of decoded variation an axis moves. Right: the rate
    as I(x; z) (what z tells of the cell, at most log N, dashed) and KL(q(z) || p(z)) (how far
    the codes of all cells together are off the prior).
    """
    drawn = panels_for(ax, 3, (3.6, 3.2))
    order = np.argsort(record.axes.kl, kind="stable")
    colours = np.where(record.axes.is_dead[order], PALE, SERIES[0])
    names = [record.axes.names[i] for i in order]
    _bars(drawn[0], record.axes.kl[order], names, colours)
    drawn[0].axvline(DEAD_NATS, color="#8a8a8a", lw=0.8, ls=":")
    drawn[0].set_xlabel("KL to the prior, nats")
    n_alive = int((~record.axes.is_dead).sum())
    title = f"{record.regime}: {n_alive} of {len(names)} axes carry"
    drawn[0].set_title(title, loc="left", size=10)
    _bars(drawn[1], record.axes.sensitivity[order], names, colours)
    drawn[1].set_xlabel("share of decoded variation")
    drawn[1].set_title("does the decoder listen?", loc="left", size=10)
    _identity(drawn[2], record)
    return np.array(drawn)


def _bars(ax: Axes, values: np.ndarray, names: Sequence[str], colours: np.ndarray) -> None:
    positions = np.arange(len(values))
    ax.barh(positions, values, color=colours.tolist(), height=0.75)
    if len(names) <= _MOST_NAMED:
        ax.set_yticks(positions, names, fontsize=8)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(names)} axes")
    plain(ax)


def _identity(ax: Axes, record: Diagnosis) -> None:
    split = record.identity
    parts = {
        "I(x; z)": (split.information, SERIES[0]),
        "KL(q(z) || p(z))": (split.gap, SERIES[1]),
    }
    bottom = 0.0
    for label, (value, colour) in parts.items():
        ax.bar(0, value, bottom=bottom, color=colour, width=0.5, label=f"{label} = {value:.2f}")
        bottom += value
    ax.axhline(split.ceiling, color="#222222", lw=1.0, ls="--")
    ax.annotate(
        f"log N = {split.ceiling:.2f}", (0.62, split.ceiling), ha="right", va="bottom", fontsize=8
    )
    ax.set_xlim(-0.65, 0.65)
    ax.set_ylim(0.0, 1.32 * max(bottom, split.ceiling))
    ax.set_xticks([])
    ax.set_ylabel("nats per cell")
    ax.set_title(f"rate {split.rate:.2f} nats", loc="left", size=10)
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    plain(ax)
