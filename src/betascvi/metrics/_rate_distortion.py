"""Rate against distortion: the trade a sweep walked along."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from betascvi._errors import UndefinedScoreError

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("objective", "beta", "rate", "distortion", "elbo")


@dataclass(frozen=True, slots=True, eq=False)
class RateDistortion:
    """Means over seeds of what z costs and of what it buys."""

    frame: pd.DataFrame
    """One row for each objective and beta: means, standard deviations and number of seeds."""
    bulges: tuple[str, ...]
    """Points that lie above the line between two others of their objective by more than the
    noise of seeds: a convex curve has none."""
    has_noise: bool = True
    """Whether any setting has two seeds or more, so that the noise of seeds is known."""

    @property
    def is_convex(self) -> bool | None:
        """Whether no point lies above the line between two others; None of one seed a setting."""
        return not self.bulges if self.has_noise else None

    def to_frame(self) -> pd.DataFrame:
        """One row for each objective and beta."""
        return self.frame

    def best(self) -> pd.Series:
        """The row with the highest mean ELBO."""
        best: pd.Series = self.frame.loc[self.frame["elbo"].idxmax()]
        return best

    def __str__(self) -> str:
        best = self.best()
        of = "" if np.isnan(best["beta"]) else f" at beta {best['beta']:g}"
        shape = "; ".join(self.bulges) or "the curve is convex within the noise of seeds"
        if not self.has_noise:
            shape = "whether the curve is convex cannot be told from one seed a setting"
        return f"best ELBO {best['elbo']:.1f}: {best['objective']}{of}; {shape}"


def rate_distortion(frame: pd.DataFrame) -> RateDistortion:
    r"""Mean rate, distortion and ELBO of a sweep, and whether the curve is convex.

    With rate :math:`R = \mathbb{E}\,\mathrm{KL}(q(z \mid x) \| p(z))` and distortion
    :math:`D = -\mathbb{E} \log p(x \mid z)`, the ELBO is :math:`-(D + R)`: lines of equal ELBO
    fall at 45 degrees. The best attainable D is a convex function of R, and a model trained with
    weight :math:`\beta` sits where its slope is :math:`-\beta` (Alemi et al., 2018). A point
    above the line between two others could be had by mixing those: its training stopped early or
    ended in a poor optimum.

    Parameters
    ----------
    frame
        What ``bs.sweep.run`` gave.
    """
    missing = [name for name in _COLUMNS if name not in frame]
    if missing:
        raise UndefinedScoreError(f"the frame has no column {missing}; give bs.sweep.run's table.")
    known = frame.dropna(subset=["rate", "distortion", "elbo"])
    if known.empty:
        raise UndefinedScoreError("no run of the sweep has a rate and a distortion.")
    groups = known.groupby(["objective", "beta"], dropna=False, sort=False)
    figures = [c for c in known.select_dtypes("number") if c not in {"beta", "seed"}]
    means = groups[figures].mean()
    spreads = groups[figures].std(ddof=1).add_suffix("_sd")
    table = means.join(spreads).join(groups.size().rename("n_seeds")).reset_index()
    variances = table["distortion_sd"].dropna() ** 2
    if variances.empty:
        return RateDistortion(table, (), has_noise=False)
    curves = table.fillna({"distortion_sd": float(np.sqrt(variances.mean()))})
    bulges = [
        bulge for _, curve in curves.groupby("objective", sort=False) for bulge in _bulges(curve)
    ]
    return RateDistortion(table, tuple(bulges))


def _bulges(curve: pd.DataFrame) -> list[str]:
    points = curve.sort_values("rate").reset_index(drop=True)
    found = []
    for middle in range(1, len(points) - 1):
        height, noise = _height_over_chords(points, middle)
        if height > 2.0 * noise:
            row = points.loc[middle]
            found.append(
                f"{row['objective']} at beta {row['beta']:g} lies {height:.1f} nats above the line "
                "between two others"
            )
    return found


def _height_over_chords(points: pd.DataFrame, middle: int) -> tuple[float, float]:
    """How far a point lies above the lowest line between one on its left and one on its right."""
    rate, distortion = points["rate"].to_numpy(), points["distortion"].to_numpy()
    error = points["distortion_sd"].to_numpy() / np.sqrt(points["n_seeds"].to_numpy())
    heights = []
    pairs = itertools.product(range(middle), range(middle + 1, len(points)))
    for left, right in pairs:
        share = (rate[middle] - rate[left]) / max(rate[right] - rate[left], 1e-12)
        line = (1 - share) * distortion[left] + share * distortion[right]
        noise = np.sqrt(
            error[middle] ** 2 + ((1 - share) * error[left]) ** 2 + (share * error[right]) ** 2
        )
        heights.append((float(distortion[middle] - line), float(max(noise, 1e-6))))
    return max(heights, key=lambda pair: pair[0] / pair[1])
