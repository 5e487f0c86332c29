"""Training plan: hands the clock to the loss, logs raw terms and weights apart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from scvi.module.base import LossOutput
from scvi.train import TrainingPlan
from torch import Tensor, nn
from typing_extensions import override

from betascvi._errors import TrainingError
from betascvi.data import Chunk
from betascvi.module import REPORT_SUFFIX, BetaVAEModule, DirectPass, direct_pass
from betascvi.train._decoder_rates import give_decoder_its_rate, start_from
from betascvi.train._fused_steps import OptimizerSteps
from betascvi.train._plan_arguments import learned_by_objective, refuse_plan_arguments
from betascvi.train._running_means import RunningMeans

# one cell left over at the end of an epoch says nothing of the others: to an objective that
# compares cells it is a data set of its own
_LEFTOVER = {"n_obs": 1}


class ObjectivePlan(TrainingPlan):
    """scvi-tools' plan with one clock: the fraction of the training done.

    Parameters
    ----------
    module
        The module to train.
    holds_final_weights
        Schedules stand at their final value throughout (a second ``train()``).
    in_chunks
        Lightning hands over many minibatches at once (:class:`betascvi.data.Chunk`); the plan
        takes the optimiser's steps itself.
    state_lr
        Learning rate of what the objective itself learns; 0.01 by default.
    **plan_kwargs
        Arguments of :class:`scvi.train.TrainingPlan` but for its KL warm-up.
    """

    def __init__(
        self,
        module: BetaVAEModule,
        *,
        holds_final_weights: bool = False,
        in_chunks: bool = False,
        state_lr: float | None = None,
        **plan_kwargs: Any,
    ) -> None:
        refuse_plan_arguments(module, state_lr, plan_kwargs)
        super().__init__(module, **plan_kwargs)
        self.holds_final_weights = holds_final_weights
        self.automatic_optimization = not in_chunks
        self.state_lr = 1e-2 if state_lr is None else state_lr
        self.realised_progress = 0.0
        self._means = {"train": RunningMeans(), "validation": RunningMeans()}
        self._last_good: dict[str, Tensor] = {}

    def progress_at(self, epoch_done: float) -> float:
        """The clock: fraction of the training done, from that of the epoch done."""
        if self.holds_final_weights:
            return 1.0
        trainer = self.trainer
        n_epochs, n_steps = trainer.max_epochs or 0, trainer.max_steps
        by_epochs = (self.current_epoch + epoch_done) / n_epochs if n_epochs > 0 else 0.0
        by_steps = trainer.global_step / n_steps if n_steps > 0 else 0.0
        return min(max(by_epochs, by_steps), 1.0)  # whichever ends the training first

    @override
    def training_step(self, batch: dict[str, Any] | Chunk, batch_idx: int) -> Tensor:
        if isinstance(batch, Chunk):
            return self._train_on_chunk(batch)
        return self._minibatch_loss(batch, batch_idx / self.trainer.num_training_batches)

    def _train_on_chunk(self, chunk: Chunk) -> Tensor:
        wrapped = self.optimizers()
        direct = direct_pass(self.module) if self._needs_no_graph() else None
        steps = None
        loss = torch.zeros(())
        for epoch_done, minibatch in chunk:
            if steps is None:
                loss = self._minibatch_loss(minibatch, epoch_done)
                # through Lightning once a chunk: that is what its step counter counts
                wrapped.optimizer.zero_grad(set_to_none=True)
                self.manual_backward(loss)
                wrapped.step()
                steps = OptimizerSteps(wrapped.optimizer)
                continue
            known = None if direct is None else self._pass_directly(direct, minibatch, epoch_done)
            if known is None:
                steps.forget_gradients()
                loss = self._minibatch_loss(minibatch, epoch_done)
                self.manual_backward(loss)
            else:
                loss = known
            steps.step()
        return loss.detach()  # of the last minibatch: for callbacks that look at it

    def _needs_no_graph(self) -> bool:
        """Whether nothing but the loss is asked of a minibatch's backward pass."""
        if type(self) is not ObjectivePlan or self.trainer.world_size > 1:
            return False
        return not torch.is_anomaly_enabled() and not any(
            hook in vars(callback) or getattr(type(callback), hook) is not getattr(Callback, hook)
            for callback in self.trainer.callbacks
            for hook in ("on_before_backward", "on_after_backward")
        )

    def _pass_directly(
        self, direct: DirectPass, minibatch: dict[str, Any], epoch_done: float
    ) -> Tensor | None:
        """The loss, with a gradient for each parameter; None where the graph has to be asked."""
        self.realised_progress = self.progress_at(epoch_done)
        before = torch.get_rng_state()
        figures = direct.gradients(minibatch, self.realised_progress)
        if figures is None or not math.isfinite(figures.loss):
            torch.set_rng_state(before)  # the graph's pass, of the same draws, names what is not
            return None
        self._means["train"].add_figures(figures)
        return torch.tensor(figures.loss)

    def _minibatch_loss(self, minibatch: dict[str, Any], epoch_done: float) -> Tensor:
        self.realised_progress = self.progress_at(epoch_done)
        is_alone = next(iter(minibatch.values())).shape[0] == 1
        leftover = _LEFTOVER if is_alone and epoch_done > 0.0 else {}
        with _running_statistics(self.module) if is_alone else nullcontext():
            output = self._loss_of(minibatch, **leftover)
        self._refuse_non_finite(output)
        self._means["train"].add(output)
        self._collect_for_autotune(output, "training")
        return output.loss

    @override
    def validation_step(self, batch: dict[str, Any] | Chunk, batch_idx: int) -> None:
        minibatches = (m for _, m in batch) if isinstance(batch, Chunk) else (batch,)
        for minibatch in minibatches:
            is_alone = next(iter(minibatch.values())).shape[0] == 1
            output = self._loss_of(minibatch, **(_LEFTOVER if is_alone else {}))
            self._means["validation"].add(output)
            self._collect_for_autotune(output, "validation")

    def _loss_of(self, batch: dict[str, Any], **loss_kwargs: Any) -> LossOutput:
        self.loss_kwargs["progress"] = self.realised_progress
        _, _, output = self.module(
            batch,
            loss_kwargs=self.loss_kwargs | loss_kwargs,
            get_inference_input_kwargs={"full_forward_pass": not self.update_only_decoder},
        )
        return output

    def _collect_for_autotune(self, output: LossOutput, stage: str) -> None:
        # scvi-tools' Scib callback reads z, batch and labels; they are there when asked for
        if "z" in output.extra_metrics:
            self.prepare_scib_autotune(output.extra_metrics, stage)

    @override
    def on_train_start(self) -> None:
        # Lightning keeps the mode it finds, and a trained model was left in evaluation mode:
        # without this a second train() would run without dropout and batch statistics
        self.module.train()
        for norm in self.module.modules():
            # query mapping freezes the statistics of a reference by a momentum of zero
            if isinstance(norm, nn.BatchNorm1d) and norm.momentum == 0:
                norm.eval()

    @override
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0 and self.current_epoch == 0:
            start_from(batch, self.module)

    @override
    def on_train_epoch_start(self) -> None:
        state = self.module.state_dict()
        # an update can spoil weights one minibatch before the loss shows it
        if all(torch.isfinite(v).all() for v in state.values() if v.is_floating_point()):
            self._last_good = {k: v.detach().clone() for k, v in state.items()}

    @override
    def on_train_epoch_end(self) -> None:
        self._log_epoch("train")

    @override
    def on_validation_epoch_end(self) -> None:
        self._log_epoch("validation")

    def _log_epoch(self, mode: str) -> None:
        means = self._means[mode].read_and_reset()
        if not means:
            return
        loss_name = "train_loss" if mode == "train" else "validation_loss"
        self.log(
            loss_name, means.pop("loss"), prog_bar=mode == "train", sync_dist=self.use_sync_dist
        )
        for name, value in means.items():
            # a weight is the same for both sets of cells and moves with training
            if name.endswith(("_weight", REPORT_SUFFIX)):
                if mode == "train":
                    self.log(name.removesuffix(REPORT_SUFFIX), value, sync_dist=self.use_sync_dist)
                continue
            self.log(f"{name}_{mode}", value, sync_dist=self.use_sync_dist)

    def _refuse_non_finite(self, output: LossOutput) -> None:
        if math.isfinite(output.loss.item()):
            return
        parts = {**output.reconstruction_loss, **output.kl_local, **output.extra_metrics}
        bad = [name for name, value in parts.items() if not torch.isfinite(value).all()]
        kept = "its weights were not finite to begin with"
        if self._last_good:
            self.module.load_state_dict(self._last_good)
            kept = "the model keeps its weights from the start of the last epoch that had good ones"
        raise TrainingError(
            f"training stopped in epoch {self.current_epoch + 1}: the loss is {output.loss.item()}, "
            f"first in {bad or ['the weighted sum']}; {kept}. Try a lower learning rate "
            "(plan_kwargs={'lr': 1e-4}), a smaller weight, or look for extreme counts."
        )

    @override
    def configure_optimizers(self) -> dict[str, Any]:
        config: dict[str, Any] = super().configure_optimizers()
        _use_fused_kernels(config["optimizer"])
        learned = learned_by_objective(self.module)
        if learned:
            _give_own_learning_rate(config["optimizer"], learned, self.state_lr)
        give_decoder_its_rate(config["optimizer"], self.module)
        return config


def _use_fused_kernels(optimizer: torch.optim.Optimizer) -> None:
    """Ask Adam for its fused step (the same update in one pass) where it has one."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    can = all(p.is_floating_point() and p.device.type in {"cpu", "cuda"} for p in parameters)
    if isinstance(optimizer, torch.optim.Adam) and can:
        for group in (optimizer.defaults, *optimizer.param_groups):
            group.update(fused=True, foreach=False)


def _give_own_learning_rate(
    optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], lr: float
) -> None:
    own = {id(parameter) for parameter in parameters}
    group = optimizer.param_groups[0]
    group["params"] = [p for p in group["params"] if id(p) not in own]
    # what an objective learns is a weight of the loss: decay would pull it towards zero
    own_group: dict[str, Any] = {"params": parameters, "lr": lr, "weight_decay": 0.0}
    if "betas" in optimizer.defaults:
        # its gradients fall by orders of magnitude on the way; Adam's usual memory of a thousand
        # steps would hold it up for as long, one of ten settles as quietly
        own_group["betas"] = (0.9, 0.9)
    optimizer.add_param_group(own_group)


@contextmanager
def _running_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norm cannot take statistics of one cell: it uses its running ones instead."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d) and m.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
