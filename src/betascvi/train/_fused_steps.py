"""Adam's steps within a chunk of minibatches, with the lists of their tensors made once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")  # torch has no public way


class OptimizerSteps:
    """Steps of an optimiser that has taken one already.

    torch's step collects and groups every parameter and its state anew, which costs half as much
    as the update itself. Where that changes nothing (Adam's fused update, no hooks, a gradient for
    every parameter that ever had one) the update is called with the lists of the chunk's start;
    elsewhere the optimiser steps itself.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer
        self._groups = _groups_of(optimizer) if _is_plain(optimizer) else None
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._n_with_state = sum(len(group.parameters) for group in self._groups or ())

    def forget_gradients(self) -> None:
        """``zero_grad(set_to_none=True)``."""
        for parameter in self._parameters:
            parameter.grad = None

    def step(self) -> None:
        """One step down the gradients."""
        gradients = self._gradients()
        if self._groups is None or gradients is None:
            self._optimizer.step()
            return
        with torch.no_grad():
            for group, own in zip(self._groups, gradients, strict=True):
                group.update(own)

    def _gradients(self) -> list[list[Tensor]] | None:
        """By group, where every parameter with a state has one in its own layout, and no other."""
        n = sum(parameter.grad is not None for parameter in self._parameters)
        if self._groups is None or n != self._n_with_state:
            return None
        found: list[list[Tensor]] = []
        for group in self._groups:
            own = [p.grad for p in group.parameters if p.grad is not None]
            strides = [p.stride() for p in group.parameters]
            if [g.stride() for g in own if not g.is_sparse] != strides:
                return None
            found.append(own)
        return found


class _Group:
    """One parameter group with the state of its parameters."""

    def __init__(self, group: dict[str, Any], state: Mapping[Tensor, dict[str, Tensor]]) -> None:
        self.parameters: list[nn.Parameter] = [p for p in group["params"] if state.get(p)]
        states = [state[p] for p in self.parameters]
        self._values = [_as_stored(p.detach()) for p in self.parameters]
        self._means = [_as_stored(own["exp_avg"]) for own in states]
        self._squares = [_as_stored(own["exp_avg_sq"]) for own in states]
        self._steps = [own["step"] for own in states]
        self._settings = {
            "lr": group["lr"], "beta1": group["betas"][0], "beta2": group["betas"][1],
            "weight_decay": group["weight_decay"], "eps": group["eps"],
            "amsgrad": False, "maximize": group["maximize"],
        }  # fmt: skip

    def update(self, gradients: list[Tensor]) -> None:
        """As torch.optim.Adam with ``fused=True``, in place."""
        if not gradients:
            return
        torch._foreach_add_(self._steps, 1)
        torch._fused_adam_(
            self._values, [_as_stored(g) for g in gradients], self._means, self._squares, [], self._steps,
            **self._settings,
        )  # fmt: skip


def _as_stored(tensor: Tensor) -> Tensor:
    """A matrix stored column by column, turned: the update is slow along its rows."""
    return tensor.t() if tensor.dim() == 2 and not tensor.is_contiguous() else tensor


def _groups_of(optimizer: torch.optim.Optimizer) -> list[_Group]:
    return [_Group(group, optimizer.state) for group in optimizer.param_groups]


def _is_plain(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its step is the fused update and nothing else."""
    if type(optimizer) is not torch.optim.Adam or any(getattr(optimizer, h) for h in _HOOKS):
        return False
    devices = {p.device for group in optimizer.param_groups for p in group["params"]}
    return len(devices) == 1 and all(
        group["fused"]
        and not (group["amsgrad"] or group["capturable"] or group.get("decoupled_weight_decay"))
        and not any(isinstance(group[key], Tensor) for key in ("lr", "weight_decay", "eps"))
        and not any(isinstance(beta, Tensor) for beta in group["betas"])
        for group in optimizer.param_groups
    )
