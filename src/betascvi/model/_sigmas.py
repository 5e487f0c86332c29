"""The sigmas an objective learns, judged from the history of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from betascvi.metrics._sigma_verdict import SigmaVerdict, sigma_verdict
from betascvi.objectives import LVAE, Objective


def sigma_verdict_of(
    objective: Objective, history: Mapping[str, Any], null_distortion: float | None = None
) -> SigmaVerdict | None:
    """The verdict; None where the objective learns no sigmas.

    ``null_distortion`` is what gene means alone reach on the training cells; without it a poor
    reconstruction is not judged.
    """
    if not isinstance(objective, LVAE) or "sigma0" not in history:
        return None
    weights = [name for name in history if name.startswith("kl_axis_") and name.endswith("_weight")]
    if weights:
        by_axis = [name.removesuffix("_weight") for name in weights]
        sigma1 = _columns(history, weights) ** -0.5
        kl = _columns(history, [f"{name}_train" for name in by_axis])
    else:
        # of the free axes, which the objective weighs, where others are anchored
        kl_name = "kl_train" if "kl_train" in history else "kl_local_train"
        sigma1, kl = _columns(history, ["sigma1"]), _columns(history, [kl_name])
    return sigma_verdict(
        _columns(history, ["sigma0"]),
        sigma1,
        _columns(history, ["reconstruction_loss_train"]),
        kl,
        scale=objective.a,
        epsilon=objective.epsilon,
        baseline=null_distortion,
    )


def _columns(history: Mapping[str, Any], names: list[str]) -> np.ndarray:
    return np.stack([history[name].iloc[:, 0].to_numpy(dtype=float) for name in names], axis=1)
