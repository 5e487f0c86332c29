"""``pl.rate_distortion``: what z costs against what it buys."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from betascvi.metrics._rate_distortion import RateDistortion
from betascvi.metrics._rate_distortion import rate_distortion as points_of
from betascvi.pl._series import plain, series_colour


def rate_distortion(record: RateDistortion | pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw rate against distortion, one line an objective.

    Parameters
    ----------
    record
        What ``bs.tl.rate_distortion`` gave, or the table of ``bs.sweep.run``.
    ax
        Axes to draw into; ``None`` makes a figure.

    Returns
    -------
    The axes. Points are means over seeds with one standard deviation either way, labelled with
    their beta; lower left is better. The faint line joins all points with the best ELBO (at 45
    degrees in data units): points to its right or above have a worse one.
    """
    record = points_of(record) if isinstance(record, pd.DataFrame) else record
    frame = record.frame
    if ax is None:
        ax = plt.subplots(figsize=(5.2, 4.2), layout="constrained")[1]
    for position, (name, curve) in enumerate(frame.groupby("objective", sort=False)):
        _curve(ax, str(name), curve.sort_values("rate"), series_colour(position))
    best = record.best()
    rates = np.array([0.0, 1.08 * float(frame["rate"].max())])
    ax.autoscale_view()  # now: matplotlib puts it off, and would forget it
    ax.autoscale(False)
    ax.plot(
        rates, -float(best["elbo"]) - rates, color="#8a8a8a", lw=1.0, ls=":",
        label=f"ELBO {best['elbo']:.1f} (best)", zorder=0,
    )  # fmt: skip
    ax.set_xlabel("rate, nats per cell")
    ax.set_ylabel("distortion, nats per cell")
    ax.legend(frameon=False, fontsize=8)
    plain(ax)
    return ax


def _curve(ax: Axes, name: str, curve: pd.DataFrame, colour: str) -> None:
    rate, distortion, rate_sd, distortion_sd = (
        curve[name].to_numpy(dtype=float)
        for name in ("rate", "distortion", "rate_sd", "distortion_sd")
    )
    ax.errorbar(
        rate, distortion, xerr=rate_sd, yerr=distortion_sd,
        color=colour, marker="o", ms=5, lw=1.4, elinewidth=0.8, label=name,
    )  # fmt: skip
    for _, point in curve.iterrows():
        if np.isfinite(point["beta"]):
            ax.annotate(
                f"{point['beta']:g}", (point["rate"], point["distortion"]), xytext=(5, 5),
                textcoords="offset points", fontsize=8, color=colour,
            )  # fmt: skip
