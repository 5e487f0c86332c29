"""Before and after scvi-tools' training: the path it takes, and what it came to."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from scvi.model import SCVI
from scvi.train._config import merge_kwargs

from betascvi._errors import TrainingError
from betascvi.data import why_not_resident
from betascvi.model._cells import digest_of_names
from betascvi.model._dead_axes import dead_free_axes, kl_of_axes
from betascvi.model._decoder_start import refuse_more_axes_than_cells
from betascvi.model._predict_factor import fit_temperatures
from betascvi.model._summary import (
    cells_to_look_at,
    summarise,
    warn_shortfall,
    warn_unfinished,
    warn_unreachable,
)
from betascvi.train import plan_arguments

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI

logger = logging.getLogger(__name__)

_LIGHTNING_ONLY = (
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "accumulate_grad_batches",
    "max_steps",
    "precision",
    "strategy",
    "plugins",
    "num_nodes",
    "limit_train_batches",
    "limit_val_batches",
    "overfit_batches",
    "fast_dev_run",
    "val_check_interval",
)
_MOST_LABELS = 2000
"""Held-out cells that the temperatures of a model's predictions are fitted to."""
_LOADER_ARGUMENTS = {"drop_last", "external_indexing"}


def prepare_training(
    model: BetaSCVI,
    arguments: dict[str, Any],
    trainer_kwargs: Mapping[str, Any],
    restart_schedules: bool,
) -> dict[str, Any]:
    """Arguments for scvi-tools' ``train``: with the clock, and by the fast path where it serves."""
    refuse_more_axes_than_cells(model)
    _refuse_unshared_devices(arguments["devices"], trainer_kwargs)
    is_over = model.is_trained_ and getattr(model, "schedules_done_", True)
    holds = is_over and not restart_schedules
    if holds:
        logger.info(
            "a further training: weights stay where their schedules ended; restart_schedules=True "
            "runs them again."
        )
    if model.module is not None and not holds:
        warn_unreachable(model.module.objective)
    plan = plan_arguments(arguments["plan_config"], arguments["plan_kwargs"])
    trainer = merge_kwargs(arguments["trainer_config"], trainer_kwargs, name="trainer")
    loader = {**(arguments["datasplitter_kwargs"] or {})}
    in_chunks = arguments["datamodule"] is None and _trains_in_chunks(
        model, trainer, plan, loader, arguments["load_sparse_tensor"]
    )
    if in_chunks:
        loader["is_resident"] = True
    if model.module is not None and _is_partly_frozen(model):
        # Adam divides decay by its own size: what has no other gradient would go to zero
        plan.setdefault("weight_decay", 0.0)
    return {
        **trainer,  # first: explicit arguments take precedence, as in scvi-tools
        **arguments,
        "plan_config": None,
        "plan_kwargs": {**plan, "holds_final_weights": holds, "in_chunks": in_chunks},
        "trainer_config": None,
        "datasplitter_kwargs": loader,
    }


@contextmanager
def learning(model: BetaSCVI, holds: bool) -> Iterator[None]:
    """While scvi-tools trains: what was learned up to an interrupt is there to be used.

    Schedules that were cut short are not through: the next training runs them.
    """
    was_trained = model.is_trained_
    # scvi-tools goes on with the columns of a history; where there are none it starts one
    model.is_trained_ = was_trained and bool(model.history_)
    try:
        yield
    except (TrainingError, KeyboardInterrupt, SystemExit):
        model.module.eval()
        model.is_trained_, model.schedules_done_ = True, holds
        raise
    except BaseException:
        if model.module is not None:
            model.module.eval()  # a further training has it learning already
        model.is_trained_ = was_trained
        raise


def finish_training(model: BetaSCVI) -> None:
    """Say in one line what came out; warn of schedules that were cut short."""
    model.schedules_done_ = True
    trainer, objective = model.trainer, model.module.objective
    progress = trainer.lightning_module.realised_progress
    n_epochs = trainer.max_epochs or 0
    had_its_steps = 0 < trainer.max_steps <= trainer.global_step
    was_cut_short = trainer.current_epoch < n_epochs and not had_its_steps
    warn_unfinished(objective, progress, was_cut_short=was_cut_short)
    if hasattr(model.module.objective_state, "settle"):
        model.module.objective_state.settle()  # the last step may have gone past a bound
    warn_shortfall(objective, model.history_ or {})
    if model.adata is None or model.minified_data_type is not None:
        return
    model.trained_on_ = digest_of_names(model.adata)
    some = np.sort(model.train_indices[: cells_to_look_at(len(model.train_indices), n_epochs)])
    moments = SCVI.get_latent_representation(model, indices=some, return_dist=True)
    kl = kl_of_axes(model, moments, some)
    free = model.blocks["free"]
    model.training_summary_ = summarise(objective, progress, kl, free, model.history_)
    if model.module.anchored is not None:
        if not (_is_partly_frozen(model) and hasattr(model, "dead_axes_")):  # else the reference's
            model.dead_axes_ = dead_free_axes(model, kl)
        held_out = np.sort(np.asarray(model.validation_indices, dtype=np.int64)[:_MOST_LABELS])
        model.temperatures_ = fit_temperatures(model, held_out if len(held_out) else some)
    logger.info("%s", model.training_summary_)


def _refuse_unshared_devices(devices: Any, trainer_kwargs: Mapping[str, Any]) -> None:
    """scvi-tools shares cells out between devices where a strategy is named, and only then."""
    several = isinstance(devices, list | tuple) and len(devices) > 1
    several = several or (isinstance(devices, int) and (devices > 1 or devices == -1))
    if several and trainer_kwargs.get("strategy") is None:
        raise ValueError(
            f"devices={devices!r} asks for several, each of which would train on all of the cells: "
            "name a strategy too, strategy='ddp_find_unused_parameters_true'."
        )


def _is_partly_frozen(model: BetaSCVI) -> bool:
    """Whether it is a query on a reference that is to stay as it is."""
    return not all(parameter.requires_grad for parameter in model.module.parameters())


def _trains_in_chunks(
    model: BetaSCVI,
    trainer_kwargs: Mapping[str, Any],
    plan_kwargs: Mapping[str, Any],
    loader_kwargs: Mapping[str, Any],
    load_sparse_tensor: bool,
) -> bool:
    """Whether the fast path serves; where it does not, say why."""
    if load_sparse_tensor:
        reason: str | None = "load_sparse_tensor= was given"
    else:
        reason = _why_not_in_chunks(trainer_kwargs, plan_kwargs, loader_kwargs)
    reason = reason or why_not_resident(model.adata_manager)
    if reason:
        logger.info("training through scvi-tools' loader, a minibatch at a time: %s.", reason)
    return reason is None


def _why_not_in_chunks(
    trainer_kwargs: Mapping[str, Any],
    plan_kwargs: Mapping[str, Any],
    loader_kwargs: Mapping[str, Any],
) -> str | None:
    """Which argument needs Lightning to see each minibatch, in words; None where none does."""
    for name in _LIGHTNING_ONLY:
        if trainer_kwargs.get(name) is not None:
            return f"{name}= was given"
    for name in ("reduce_lr_on_plateau", "compile", "update_only_decoder"):
        if plan_kwargs.get(name):
            return f"plan_kwargs has {name}"
    others = sorted(set(loader_kwargs) - _LOADER_ARGUMENTS)
    return f"datasplitter_kwargs has {others}" if others else None
