"""What is right and wrong with a trained latent: arithmetic on its posteriors, and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from betascvi.metrics._information_identity import InformationIdentity
from betascvi.metrics._regime import LEAST_INFORMATION, Regime, Support

if TYPE_CHECKING:
    import pandas as pd

DEAD_NATS = 0.01
"""An axis whose mean KL is below this carries nothing."""
ACTIVE_VARIANCE = 0.01
"""Variance of posterior means from which an axis is active (Burda et al., 2016)."""
DEAF_SHARE = 0.03
"""An axis that moves the decoder by less than this, nat for nat of the average's, goes unheard."""
LEAST_SENSITIVITY = 0.001
"""Share of the decoded variation below which the decoder listens to none."""


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """One figure an axis."""

    names: tuple[str, ...]
    kl: Float[np.ndarray, " axes"]
    """Mean KL to the prior, nats."""
    variance_of_mean: Float[np.ndarray, " axes"]
    """Variance over cells of the posterior mean; the prior's is 1."""
    posterior_variance: Float[np.ndarray, " axes"]
    """Mean posterior variance."""
    sensitivity: Float[np.ndarray, " axes"]
    """Mean squared change of decoded expression when the axis moves by one standard deviation
    of its codes, over the variance of decoded expression between cells."""

    @property
    def is_dead(self) -> np.ndarray:
        """Axes that carry nothing."""
        return self.kl < DEAD_NATS

    @property
    def is_active(self) -> np.ndarray:
        """Active units: axes whose posterior mean moves with the cell."""
        return self.variance_of_mean > ACTIVE_VARIANCE

    @property
    def is_deaf(self) -> np.ndarray:
        """Axes that carry something the decoder does not listen to.

        A faint axis moves a decoder little, and that is no fault: what counts is how far for its
        nats, beside all axes together.
        """
        heard = self.sensitivity * self.kl.sum() > DEAF_SHARE * self.sensitivity.sum() * self.kl
        return ~self.is_dead & ~(heard & (self.sensitivity.sum() >= LEAST_SENSITIVITY))


@dataclass(frozen=True, slots=True)
class Fit:
    """Nats per cell on one set of cells."""

    n_cells: int
    elbo: float
    distortion: float
    """-log p(x | z)."""
    null_distortion: float
    """-log p(x) under gene means (of the batch) and no latent."""

    @property
    def gain(self) -> float:
        """Nats by which the reconstruction beats the gene means."""
        return self.null_distortion - self.distortion


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """What ``tl.diagnose`` found; ``print`` it, or ``to_frame()`` for one row an axis."""

    axes: Axes
    identity: InformationIdentity
    train: Fit
    held_out: Fit | None
    """None where training held no cells out."""
    support: Support
    spread: float
    """Root mean squared deviation of decoded expression between cells (log1p of counts per 10k)."""
    regime: Regime
    regime_reason: str
    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Realised weight of each penalty at the end of training (``kl`` is beta)."""
    verdicts: tuple[str, ...] = ()
    """Of learned sigmas, where the objective has them."""
    problems: tuple[str, ...] = ()
    """What is wrong, a sentence each; empty for a healthy model."""

    @property
    def n_active(self) -> int:
        """Number of active units."""
        return int(self.axes.is_active.sum())

    @property
    def generalisation_gap(self) -> float:
        """ELBO of the training cells minus that of the held-out ones; NaN without any."""
        return self.train.elbo - self.held_out.elbo if self.held_out else float("nan")

    def to_frame(self) -> pd.DataFrame:
        """One row for each axis."""
        import pandas as pd

        axes = self.axes
        return pd.DataFrame(
            {
                "axis": axes.names,
                "kl": axes.kl,
                "variance_of_mean": axes.variance_of_mean,
                "posterior_variance": axes.posterior_variance,
                "sensitivity": axes.sensitivity,
                "is_active": axes.is_active,
                "is_dead": axes.is_dead,
            }
        )

    def figures(self) -> dict[str, float]:
        """The figures of the model as a whole, by name."""
        held_out = self.held_out
        nan = float("nan")
        return {
            "rate": self.identity.rate,
            "information": self.identity.information,
            "unseen_information": self.identity.unseen_information,
            "gap_to_prior": self.identity.gap,
            "overlap": self.identity.overlap,
            "distortion": self.train.distortion,
            "gain_over_gene_means": self.train.gain,
            "elbo_train": self.train.elbo,
            "elbo_held_out": held_out.elbo if held_out else nan,
            "gain_held_out": held_out.gain if held_out else nan,
            "generalisation_gap": self.generalisation_gap,
            "n_active": float(self.n_active),
            "n_axes": float(len(self.axes.names)),
            "prior_support": self.support.prior,
            "posterior_support": self.support.posterior,
            "spread": self.spread,
            **{f"weight_{name}": value for name, value in self.weights.items()},
        }

    def __str__(self) -> str:
        lines = [
            f"regime      {self.regime}: {self.regime_reason}",
            f"axes        {self.n_active} of {len(self.axes.names)} active units, "
            f"{int(self.axes.is_dead.sum())} carry < {DEAD_NATS} nat; KL by axis "
            + ", ".join(f"{n} {k:.2f}" for n, k in zip(self.axes.names, self.axes.kl, strict=True)),
            _identity_line(self.identity),
            *_fit_lines(self.train, self.held_out),
            f"prior       {self.support.prior:.0%} of decoded prior draws look like a cell "
            f"({self.support.posterior:.0%} of draws for real cells do)",
        ]
        if self.weights:
            shown = ", ".join(f"{name} {value:.3g}" for name, value in self.weights.items())
            lines.append(f"weights     {shown}")
        lines += [f"sigmas      {verdict}" for verdict in self.verdicts]
        lines += [f"problem     {problem}" for problem in self.problems] or ["problem     none"]
        return "\n".join(lines)


def axes_of(
    names: Sequence[str],
    mean: Float[np.ndarray, "cells axes"],
    variance: Float[np.ndarray, "cells axes"],
    sensitivity: Float[np.ndarray, " axes"],
) -> Axes:
    """Figures of each axis from the posteriors of cells under a standard normal prior."""
    kl = 0.5 * (variance + mean**2 - 1.0 - np.log(variance)).mean(0)
    return Axes(tuple(names), kl, mean.var(0), variance.mean(0), sensitivity)


def problems_of(
    axes: Axes, regime: Regime, reason: str, train: Fit, held_out: Fit | None
) -> tuple[str, ...]:
    """What a user should act on; pruned axes of a latent that works are not among it."""
    found = []
    collapsed = collapse(axes.names, axes.kl)
    if collapsed:
        found.append(collapsed)
    elif train.gain <= 0:
        found.append(
            f"the decoder ignores z (or training was short): gene means alone reconstruct "
            f"{-train.gain:.1f} nats better"
        )
    elif regime != "balanced":
        found.append(f"{regime}: {reason}")
    if not collapsed and axes.is_deaf.any():
        deaf = ", ".join(np.array(axes.names)[axes.is_deaf])
        found.append(f"the decoder does not listen to {deaf}, which carry nats all the same")
    if held_out and train.gain > 0 >= held_out.gain:
        found.append(
            f"overfitting: on held-out cells gene means alone are {-held_out.gain:.1f} nats better"
        )
    return tuple(found)


def collapse(names: Sequence[str], kl: Float[np.ndarray, " axes"]) -> str | None:
    """A sentence that names the axes that carry nothing, if the latent as a whole does not work.

    A latent with more axes than the data need prunes some: that is no collapse as long as the
    others tell more than two groups of cells apart (log 2 nats in all).
    """
    total = float(kl.sum())
    if total >= LEAST_INFORMATION:
        return None
    dead = [name for name, nats in zip(names, kl, strict=True) if nats < DEAD_NATS]
    if not dead:
        return f"collapse: all {len(kl)} axes together carry {total:.2f} nat"
    which = "all axes" if len(dead) == len(kl) > 12 else f"axes {', '.join(dead)}"
    return f"collapse: {which} carry < {DEAD_NATS} nat, all together {total:.2f} nat"


def _identity_line(identity: InformationIdentity) -> str:
    how = "every cell" if identity.is_exact else f"{identity.n_queries} of {identity.n_cells} cells"
    return (
        f"information rate {identity.rate:.2f} = I(x;z) {identity.information:.2f} + KL(q(z)||p(z)) "
        f"{identity.gap:.2f} nats (+- {2 * identity.standard_error:.2f}, draws of {how}); "
        f"I(x;z) cannot pass log N = {identity.ceiling:.2f}"
    )


def _fit_lines(train: Fit, held_out: Fit | None) -> list[str]:
    lines = [_fit_line("training", train)]
    if held_out is None:
        return [*lines, "held out    no cells: train_size=0.9 holds some out"]
    gap = train.elbo - held_out.elbo
    return [*lines, _fit_line("held out", held_out) + f"; gap {gap:.1f} nats"]


def _fit_line(label: str, fit: Fit) -> str:
    side = "better" if fit.gain > 0 else "worse"
    return (
        f"{label:<11} ELBO {fit.elbo:.1f}; reconstruction {fit.distortion:.1f} nats, "
        f"{abs(fit.gain):.1f} {side} than gene means ({fit.n_cells} cells)"
    )
