"""``plan_kwargs``: what a training plan takes, and what it would take and do nothing with."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from inspect import signature
from typing import Any

from scvi.train import TrainingPlan, TrainingPlanConfig
from scvi.train._config import merge_kwargs
from torch import nn

from betascvi.module import BetaVAEModule

_SCVI_WARMUP = ("n_epochs_kl_warmup", "n_steps_kl_warmup", "max_kl_weight", "min_kl_weight")


def plan_arguments(config: Any, explicit: Any) -> dict[str, Any]:
    """Both as one; scvi-tools' config names a KL warm-up, whether anybody asked for one or not."""
    plan = merge_kwargs(config, explicit, name="plan")
    if not isinstance(config, TrainingPlanConfig):
        return plan
    unasked = TrainingPlanConfig().to_kwargs()
    asked = merge_kwargs(None, explicit, name="plan")
    of_warmup = [n for n in _SCVI_WARMUP if n not in asked and plan.get(n) == unasked.get(n)]
    return {name: value for name, value in plan.items() if name not in of_warmup}


def refuse_plan_arguments(
    module: BetaVAEModule, state_lr: float | None, plan_kwargs: Mapping[str, Any]
) -> None:
    """Refuse scvi-tools' KL warm-up, misspelt names, and rates of what is not there."""
    for name in _SCVI_WARMUP:
        if name in plan_kwargs:
            raise ValueError(
                f"plan_kwargs has {name!r}, scvi-tools' KL warm-up; here weights belong to the "
                "objective: BetaSCVI(adata, objective=BetaVAE(beta=schedules.Linear(0, 1)))."
            )
    _refuse_unknown(plan_kwargs)
    _refuse_idle(module, state_lr, plan_kwargs)


def learned_by_objective(module: BetaVAEModule) -> list[nn.Parameter]:
    """What an objective has parameters of its own for."""
    state = module.objective_state
    return [] if state is None else list(state.parameters())


def _refuse_unknown(plan_kwargs: Mapping[str, Any]) -> None:
    """scvi-tools hands what it does not know to the loss, where a typing error would be lost."""
    known = [*signature(TrainingPlan.__init__).parameters, "state_lr", "critic_lr"]
    for name in plan_kwargs:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise ValueError(f"plan_kwargs has {name!r}, which no training plan takes{hint}")


def _refuse_idle(
    module: BetaVAEModule, state_lr: float | None, plan_kwargs: Mapping[str, Any]
) -> None:
    """A learning rate of what is not there would be taken and do nothing."""
    if state_lr is not None and not learned_by_objective(module):
        raise ValueError(
            f"plan_kwargs has 'state_lr', the rate of what an objective learns itself, and "
            f"{type(module.objective).__name__} learns nothing; leave it out."
        )
    if "critic_lr" in plan_kwargs:
        raise ValueError(
            f"plan_kwargs has 'critic_lr', and {type(module.objective).__name__} is trained "
            "against no critic; leave it out."
        )
