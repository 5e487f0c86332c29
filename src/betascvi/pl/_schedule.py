"""``pl.schedule``: weights over a training that has not been run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from betascvi.objectives import Objective
from betascvi.pl._series import panels_for, plain, series_colour
from betascvi.schedules import Weight, check_weight, target_of, weight_at

_N_POINTS = 1001


def schedule(weights: Objective | Weight | Mapping[str, Weight], ax: Axes | None = None) -> Axes:
    """Draw the course of weights from the start of training (0) to its end (1).

    Parameters
    ----------
    weights
        An objective, whose weights are drawn; a schedule or number; or several by name.
    ax
        Where to draw; ``None`` makes a figure.

    Returns
    -------
    The axes. A dotted line is what a schedule means to end at, where it ends elsewhere.

    Examples
    --------
    >>> bs.pl.schedule(bs.schedules.Cyclical(bs.schedules.Linear(0.0, 1.0, end=0.5), cycles=4))
    """
    named = _by_name(weights)
    (drawn,) = panels_for(None if ax is None else [ax], 1, (3.8, 2.6))
    progress = np.linspace(0.0, 1.0, _N_POINTS)
    for position, (name, weight) in enumerate(named.items()):
        check_weight(name, weight, minimum=-np.inf)
        values = [weight_at(weight, float(t)) for t in progress]
        drawn.plot(progress, values, lw=1.6, color=series_colour(position), label=name)
        if not np.isclose(values[-1], target_of(weight), rtol=0.02):
            drawn.axhline(target_of(weight), ls=":", lw=1.2, color=series_colour(position))
    drawn.set(xlim=(0.0, 1.0), xlabel="share of the training done")
    drawn.set_title("weights", loc="left", size=10)
    if len(named) > 1 or "" not in named:
        drawn.legend(frameon=False, fontsize=8)
    plain(drawn)
    return drawn


def _by_name(weights: Objective | Weight | Mapping[str, Weight]) -> dict[str, Weight]:
    if isinstance(weights, Mapping):
        named = dict(weights)
    elif isinstance(weights, Objective):
        named = dict(weights.weights)
        if not named:
            raise ValueError(f"{weights!r} has no weight that is set; it learns what it has.")
    else:
        return {"": weights}
    if not named:
        raise ValueError(
            "there is no weight to draw; give a schedule, an objective or some by name."
        )
    return named
