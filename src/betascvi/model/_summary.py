"""One line of log after training, from a streamed look at some of the training cells."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from betascvi.metrics._diagnosis import DEAD_NATS, collapse
from betascvi.metrics._sigma_verdict import SENTENCES
from betascvi.model._sigmas import sigma_verdict_of
from betascvi.objectives import Objective
from betascvi.schedules import Weight, target_of, weight_at

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainingSummary:
    """What a run of training ended with."""

    weights: Mapping[str, float]
    """Realised weight of each penalty at the last minibatch."""
    n_active: int
    n_axes: int
    kl_bits: float
    elbo: float
    """Of the held-out cells where there are any, else of the training cells; nats per cell."""
    problem: str | None = None
    """What is wrong, if anything is: the axes that carry nothing in a latent that collapsed."""

    def __str__(self) -> str:
        weights = ", ".join(f"{name} {value:.3g}" for name, value in self.weights.items())
        return (
            f"realised weights: {weights or 'none'}; {self.n_active} of {self.n_axes} axes active; "
            f"KL {self.kl_bits:.1f} bits; ELBO {self.elbo:.1f}"
        )


def summarise(
    objective: Objective, progress: float, kl: np.ndarray, free: slice, history: Any
) -> TrainingSummary:
    """Summary from the mean KL of each axis to its prior over some training cells, and the history.

    Free axes that a working latent has pruned are counted in the summary; a latent that does not
    work gets a warning in the log that names them, counted from 1. An anchored axis is in use
    whatever its KL: under its own prior a label costs nothing.
    """
    problem = collapse([str(i + 1) for i in range(kl.size)][free], kl[free])
    if problem:
        logger.warning("%s; bs.tl.diagnose(model) says more. Lower or delay beta.", problem)
    weights = {name: weight_at(weight, progress) for name, weight in objective.weights.items()}
    return TrainingSummary(
        {**_learned_weights(history or {}), **weights},
        int((kl[free] >= DEAD_NATS).sum()) + kl.size - kl[free].size,
        kl.size,
        float(kl.sum() / math.log(2)),
        _last_elbo(history or {}),
        problem,
    )


def _learned_weights(history: Mapping[str, Any]) -> dict[str, float]:
    """Weights that no schedule says, as they ended."""
    named = {"realised_beta": "beta", "kl_weight": "kl"}
    return {
        name: float(history[key].iloc[-1, 0])
        for key, name in named.items()
        if key in history and len(history[key])
    }


def warn_shortfall(objective: Objective, history: Mapping[str, Any]) -> None:
    """Say what the objective did not reach, and sigmas that went astray."""
    short = objective.shortfall(history)
    if short:
        warnings.warn(short, UserWarning, stacklevel=3)
    verdict = sigma_verdict_of(objective, history)
    for name in () if verdict is None else verdict.signatures:
        warnings.warn(f"{name}: {SENTENCES[name]}", UserWarning, stacklevel=3)


def warn_unfinished(objective: Objective, progress: float, *, was_cut_short: bool) -> None:
    """Say which weights did not get where their schedule was to take them."""
    for name, weight in objective.weights.items():
        target = target_of(weight)
        if _reaches(weight, target, progress):
            continue
        if was_cut_short:
            where = f"training stopped at {progress:.0%} of max_epochs"
            advice = "Raise early_stopping_patience or let the schedule end earlier."
        elif _reaches(weight, target, 1.0):  # else it was said before training
            where = f"the last minibatch was at {progress:.1%} of the training"
            advice = "Let the schedule end earlier, or train for more epochs."
        else:
            continue
        warnings.warn(
            f"{where}, before the schedule of {name!r} was done: its weight is "
            f"{weight_at(weight, progress):.3g}, not {target:.3g}. {advice}",
            UserWarning,
            stacklevel=3,
        )


def warn_unreachable(objective: Objective) -> None:
    """Say before training which schedules cannot get to their own target."""
    for name, weight in objective.weights.items():
        target = target_of(weight)
        if not _reaches(weight, target, 1.0):
            warnings.warn(
                f"the schedule of {name!r} ends at {weight_at(weight, 1.0):.3g}, short of "
                f"{target:.3g}: {weight!r}. Let it end within the training (end or centre + "
                "a few widths below 1).",
                UserWarning,
                stacklevel=3,
            )


def _reaches(weight: Weight, target: float, progress: float) -> bool:
    reached = weight_at(weight, progress)
    span = abs(target - weight_at(weight, 0.0))
    return abs(reached - target) <= 0.02 * max(span, abs(target), 1e-12)


def _last_elbo(history: Mapping[str, Any]) -> float:
    for key in ("elbo_validation", "elbo_train"):
        if key in history and len(history[key]):
            return -float(history[key].iloc[-1, 0])
    return float("nan")


def cells_to_look_at(n_cells: int, n_epochs: int) -> int:
    """How many training cells the summary encodes: at most 2 % of what training encoded."""
    return int(min(n_cells, 5000, max(50, 0.02 * n_cells * max(n_epochs, 1))))
