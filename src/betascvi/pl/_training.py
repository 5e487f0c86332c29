"""``pl.training``: terms, weights and sigmas over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from betascvi.pl._series import panels_for, plain, series_colour

_SIGMAS = ("sigma0", "sigma1", "beta_hat", "realised_beta")
_MOST_WEIGHTS = 8


class _Panel(NamedTuple):
    title: str
    lines: Mapping[str, pd.Series]
    """Label -> value by epoch; held-out lines end in ``(held out)``."""
    scale: Literal["settled", "full", "log"] = "settled"


def training(record: Any, ax: Axes | Sequence[Axes] | None = None) -> np.ndarray:
    """Draw what training logged, one panel each for bound, terms, weights and sigmas.

    Parameters
    ----------
    record
        ``model.history``, the model that has it, or the ``history.csv`` of a sweep's run read
        back as a frame.
    ax
        As many axes as there are panels; ``None`` makes a figure.

    Returns
    -------
    The axes, left to right: the bound (nats per cell, lower is better), the reconstruction,
    the raw KL, weights of the penalties where they have one, and the sigmas of an L-VAE. Dashed:
    held-out cells. The scale of the bound and its terms leaves out the first tenth of the epochs,
    which would squeeze the rest. Values of training cells are means over an epoch with dropout; those of held-out cells
    are without.
    """
    series = _series_of(record)
    panels = _panels_of(series)
    if not panels:
        raise ValueError("there is no history to draw; train the model first.")
    drawn = panels_for(ax, len(panels), (3.4, 2.8))
    for axis, panel in zip(drawn, panels, strict=True):
        _draw(axis, panel)
    return np.array(drawn)


def _series_of(record: Any) -> dict[str, pd.Series]:
    history = getattr(record, "history", record)
    if history is None:
        return {}
    frames = {str(name): history[name] for name in history}
    columns = {k: f.iloc[:, 0] if isinstance(f, pd.DataFrame) else f for k, f in frames.items()}
    series = {k: pd.to_numeric(v, errors="coerce").dropna() for k, v in columns.items()}
    return {k: v for k, v in series.items() if len(v) and k != "epoch"}


def _panels_of(series: Mapping[str, pd.Series]) -> list[_Panel]:
    terms = [
        _Panel(title, _both(series, name))
        for title, name in (
            ("-ELBO, nats per cell", "elbo"),
            ("reconstruction, nats per cell", "reconstruction_loss"),
            ("KL, nats per cell (raw)", "kl_local"),
        )
    ]
    weights = {k.removesuffix("_weight"): v for k, v in series.items() if k.endswith("_weight")}
    shown = dict(list(weights.items())[:_MOST_WEIGHTS])
    title = "weights" if len(shown) == len(weights) else f"weights (first {len(shown)})"
    sigmas = {name: series[name] for name in _SIGMAS if name in series}
    panels = [
        *terms,
        _Panel(title, shown, scale="full"),
        _Panel("learned", sigmas, scale="log"),
    ]
    return [panel for panel in panels if panel.lines]


def _both(series: Mapping[str, pd.Series], name: str) -> dict[str, pd.Series]:
    modes = {"training": f"{name}_train", "training (held out)": f"{name}_validation"}
    return {label: series[key] for label, key in modes.items() if key in series}


def _draw(ax: Axes, panel: _Panel) -> None:
    for position, (label, values) in enumerate(panel.lines.items()):
        is_held_out = label.endswith("(held out)")
        ax.plot(
            values.index, values.to_numpy(), lw=1.6,
            ls="--" if is_held_out else "-",
            color=series_colour(0 if is_held_out else position),
            label="held out" if is_held_out else label,
            marker="o" if len(values) == 1 else None,
        )  # fmt: skip
    if panel.scale == "log":
        ax.set_yscale("log")
    if panel.scale == "full":
        ax.set_ylim(0.0, 1.08 * max(float(line.max()) for line in panel.lines.values()) or 1.0)
    if panel.scale == "settled":
        _fit_scale(ax, list(panel.lines.values()))
    ax.set_title(panel.title, loc="left", size=10)
    ax.set_xlabel("epoch")
    ax.legend(frameon=False, fontsize=8)
    plain(ax)


def _fit_scale(ax: Axes, lines: Sequence[pd.Series]) -> None:
    settled = np.concatenate([line.to_numpy()[len(line) // 10 :] for line in lines])
    low, high = float(settled.min()), float(settled.max())
    margin = 0.06 * (high - low) or 0.5 * max(abs(high), 1.0)
    ax.set_ylim(low - margin, high + margin)
