"""The sigmas an objective learns, judged from the history of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from betascvi.metrics._sigma_verdict import SigmaVerdict, sigma_verdict
from betascvi.model import BetaSCVI
from betascvi.objectives import LVAE, resolve
from betascvi.tl._own_settings import argument_of


def sigma_verdict_of(model: BetaSCVI, null_distortion: float) -> SigmaVerdict | None:
    """The verdict; None where the objective learns no sigmas.

    ``null_distortion`` is what gene means alone reach on the training cells.
    """
    objective, history = resolve(argument_of(model, "objective")), model.history or {}
    if not isinstance(objective, LVAE) or "sigma0" not in history:
        return None
    weights = [name for name in history if name.startswith("kl_axis_") and name.endswith("_weight")]
    if weights:
        by_axis = [name.removesuffix("_weight") for name in weights]
        sigma1 = _columns(history, weights) ** -0.5
        kl = _columns(history, [f"{name}_train" for name in by_axis])
    else:
        sigma1, kl = _columns(history, ["sigma1"]), _columns(history, ["kl_local_train"])
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
