"""The training plan of objectives that are trained against a critic."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from betascvi.module import BetaVAEModule
from betascvi.objectives import critic_loss
from betascvi.train._plan import ObjectivePlan


class CriticPlan(ObjectivePlan):
    """:class:`ObjectivePlan` beside a critic with an optimiser of its own.

    The critic belongs to the plan, so it is not saved with the model. Before each minibatch it
    learns from the posterior samples of the last.

    Parameters
    ----------
    module
        The module to train; its objective makes the critic.
    critic_lr
        Learning rate of the critic (Adam with momenta 0.5 and 0.9, as FactorVAE's).
    **plan_kwargs
        Arguments of :class:`ObjectivePlan`.
    """

    def __init__(
        self, module: BetaVAEModule, *, critic_lr: float = 1e-3, **plan_kwargs: Any
    ) -> None:
        super().__init__(module, **plan_kwargs)
        critic = module.objective.make_critic(module.n_free)
        if critic is None:
            raise ValueError(f"{module.objective!r} makes no critic; train it by ObjectivePlan.")
        self.critic = critic
        self._training = CriticTraining(critic, critic_lr)
        self.loss_kwargs["critic"] = critic

    @override
    def _minibatch_loss(self, minibatch: dict[str, Any], epoch_done: float) -> Tensor:
        self._training.step()
        return super()._minibatch_loss(minibatch, epoch_done)

    @override
    def _log_epoch(self, mode: str) -> None:
        super()._log_epoch(mode)
        if mode == "train":
            for name, value in self._training.read_and_reset().items():
                self.log(f"critic_{name}", value, sync_dist=self.use_sync_dist)


def plan_for(module: BetaVAEModule) -> type[ObjectivePlan]:
    """The plan that trains a module's objective."""
    has_critic = module.objective.make_critic(module.n_free) is not None
    return CriticPlan if has_critic else ObjectivePlan


class CriticTraining:
    """A critic, its optimiser and the samples it has still to learn from."""

    def __init__(self, critic: nn.Module, lr: float) -> None:
        self._critic = critic
        self._lr = lr
        self._optimizer: torch.optim.Optimizer | None = None
        self._seen: Tensor | None = None
        self._sums: dict[str, Tensor] = {}
        self._n_steps = 0
        # outside its own steps it takes no gradient: the encoder's loss passes through it
        critic.requires_grad_(False)
        critic.register_forward_pre_hook(self._keep_sample)

    def _keep_sample(self, _critic: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        z = arguments[0]
        if z.requires_grad:  # the encoder's samples in training, not an evaluation's
            self._seen = z.detach()

    def step(self) -> None:
        """One step of the critic on the last minibatch's samples, if there are any."""
        if self._seen is None or len(self._seen) < 2:  # one cell has no permutation
            return
        z, self._seen = self._seen, None
        if self._optimizer is None:  # made late: by now the critic is on its device
            parameters = list(self._critic.parameters())
            self._optimizer = torch.optim.Adam(parameters, lr=self._lr, betas=(0.5, 0.9))
        self._critic.requires_grad_(True)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss = critic_loss(self._critic, z)
        loss.value.backward()  # type: ignore[no-untyped-call]  # torch's stub
        _average_over_processes(self._critic)
        self._optimizer.step()
        self._critic.requires_grad_(False)
        self._add(loss=loss.value.detach(), accuracy=loss.accuracy)

    def _add(self, **values: Tensor) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._n_steps += 1

    def read_and_reset(self) -> dict[str, Tensor]:
        """Mean loss and accuracy of the steps since the last reading; nothing where none was."""
        means = {name: total / self._n_steps for name, total in self._sums.items()}
        self._sums, self._n_steps = {}, 0
        return means


def _average_over_processes(critic: nn.Module) -> None:
    """Give every process of a distributed training the same critic."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return
    for parameter in critic.parameters():
        torch.distributed.all_reduce(parameter.grad)
        assert parameter.grad is not None
        parameter.grad /= torch.distributed.get_world_size()
