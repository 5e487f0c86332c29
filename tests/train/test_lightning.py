"""What Lightning and scvi-tools offer around a training still works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger
from scvi.train import SaveCheckpoint, TrainingPlanConfig

from betascvi import BetaSCVI
from betascvi.objectives import BetaVAE


def test_early_stopping_watches_the_held_out_elbo(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model()

    model.train(
        **quick | path,
        max_epochs=30,
        early_stopping=True,
        early_stopping_patience=2,
        early_stopping_min_delta=1e6,
    )

    assert len(model.history["elbo_validation"]) <= 4


@pytest.mark.parametrize("monitor", ["elbo_validation", "validation_loss", "kl_local_validation"])
def test_any_logged_figure_can_be_watched(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], monitor: str
) -> None:
    model = make_model()

    model.train(**quick, max_epochs=2, early_stopping=True, early_stopping_monitor=monitor)

    assert monitor in model.history


def test_early_stopping_without_held_out_cells_is_an_error(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model()

    with pytest.raises(ValueError, match=r"no cell is held out.*train_size"):
        model.train(**quick | path, max_epochs=2, early_stopping=True, train_size=1.0)


def test_a_training_on_all_cells_may_ask_for_validation_and_gets_none(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model()

    model.train(**quick | path, max_epochs=2, train_size=1.0, check_val_every_n_epoch=1)

    assert "elbo_validation" not in model.history


def test_early_stopping_can_watch_the_cells_trained_on(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model()

    model.train(
        **quick | path,
        max_epochs=20,
        train_size=1.0,
        early_stopping=True,
        early_stopping_monitor="elbo_train",
        early_stopping_patience=1,
        early_stopping_min_delta=1e6,
    )

    assert len(model.history["elbo_train"]) < 6


def test_the_best_checkpoint_is_saved_and_loads(
    make_model: Callable[..., BetaSCVI],
    path: dict[str, Any],
    quick: dict[str, Any],
    tmp_path: Path,
) -> None:
    model = make_model(objective=BetaVAE(beta=2.0))
    saver = SaveCheckpoint(dirpath=str(tmp_path), monitor="elbo_validation")

    model.train(**quick | path, max_epochs=3, enable_checkpointing=True, callbacks=[saver])

    again = BetaSCVI.load(saver.best_model_path, adata=model.adata, accelerator="cpu")
    assert again.module.objective == BetaVAE(beta=2.0)
    assert np.isfinite(again.get_latent_representation()).all()


def test_checkpoints_need_no_more_than_the_flag(
    make_model: Callable[..., BetaSCVI],
    path: dict[str, Any],
    quick: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from scvi import settings

    monkeypatch.setattr(settings, "logging_dir", tmp_path)
    model = make_model()

    model.train(**quick | path, max_epochs=2, enable_checkpointing=True)

    assert list(tmp_path.rglob("model.pt"))


@pytest.mark.filterwarnings("ignore:Starting from v1.9.0")
@pytest.mark.parametrize("logger", ["csv", True, False], ids=str)
def test_any_logger_will_do(
    make_model: Callable[..., BetaSCVI],
    path: dict[str, Any],
    quick: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logger: str | bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = make_model()

    model.train(
        **quick | path,
        max_epochs=2,
        logger=CSVLogger(str(tmp_path)) if logger == "csv" else logger,
    )

    assert model.is_trained_
    assert model.training_summary_.n_axes == 3


def test_a_csv_logger_writes_raw_terms_and_weights_apart(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any], tmp_path: Path
) -> None:
    import pandas as pd

    model = make_model(objective=BetaVAE(beta=3.0))
    logger = CSVLogger(str(tmp_path))

    model.train(**quick | path, max_epochs=2, logger=logger, check_val_every_n_epoch=1)

    logger.save()
    frame = pd.read_csv(Path(logger.log_dir) / "metrics.csv")
    wanted = {"kl_train", "kl_validation", "kl_weight", "elbo_train", "elbo_validation",
              "reconstruction_loss_train", "kl_local_train", "train_loss"}  # fmt: skip
    assert wanted <= set(frame.columns)
    row = frame.dropna(subset=["train_loss"]).iloc[-1]
    assert row["kl_weight"] == 3.0
    assert row["train_loss"] == pytest.approx(
        row["reconstruction_loss_train"] + 3.0 * row["kl_train"], rel=1e-5
    )
    assert row["elbo_train"] == pytest.approx(
        row["reconstruction_loss_train"] + row["kl_local_train"], rel=1e-5
    )


def test_the_learning_rate_falls_on_a_plateau(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model()

    model.train(
        **quick,
        max_epochs=6,
        check_val_every_n_epoch=1,
        plan_kwargs={
            "reduce_lr_on_plateau": True, "lr_patience": 1, "lr_threshold": 1e6, "lr_factor": 0.1,
        },
    )  # fmt: skip

    rates = model.trainer.optimizers[0].param_groups[0]["lr"]
    assert rates < 1e-3


def test_gradients_can_be_clipped(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model()
    before = {k: v.detach().clone() for k, v in model.module.named_parameters()}

    # a norm this small leaves nothing to move the weights but their decay
    model.train(**quick, max_epochs=1, gradient_clip_val=1e-12)

    after = dict(model.module.named_parameters())
    assert max(float((after[k].detach() - v).abs().max()) for k, v in before.items()) < 1e-5


def test_training_stops_after_the_steps_asked_for(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model()

    model.train(**quick, max_epochs=50, max_steps=4)

    assert model.trainer.global_step == 4


@pytest.mark.parametrize(
    "name", ["n_epochs_kl_warmup", "n_steps_kl_warmup", "max_kl_weight", "min_kl_weight"]
)
@pytest.mark.parametrize("argument", ["plan_kwargs", "plan_config"])
def test_scvi_tools_kl_warm_up_is_refused_with_what_to_use_instead(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], name: str, argument: str
) -> None:
    model = make_model()

    with pytest.raises(ValueError, match=rf"{name}.*objective"):
        model.train(**quick, max_epochs=1, **{argument: {name: 1}})


@pytest.mark.parametrize("name", ["lrr", "kl_weight", "progress"])
def test_an_unknown_argument_of_the_plan_is_refused(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], name: str
) -> None:
    model = make_model()

    with pytest.raises((ValueError, TypeError), match=name):
        model.train(**quick, max_epochs=1, plan_kwargs={name: 0.5})


def test_arguments_of_the_trainer_may_come_as_a_configuration(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model()

    model.train(
        **quick,
        max_epochs=2,
        trainer_config={"check_val_every_n_epoch": 1, "max_epochs": 7},
        plan_config={"lr": 1e-2},
    )

    assert len(model.history["elbo_validation"]) == 2
    assert model.trainer.optimizers[0].param_groups[0]["lr"] == 1e-2


def test_minibatches_can_be_limited_as_in_lightning(
    make_model: Callable[..., BetaSCVI], make_watch: Callable[..., Any], quick: dict[str, Any]
) -> None:
    watch = make_watch()
    model = make_model(objective=watch)

    model.train(**quick, max_epochs=2, limit_train_batches=2, train_size=1.0)

    assert watch.seen == pytest.approx([0.0, 0.25, 0.5, 0.75])


def test_an_optimiser_of_ones_own_is_used(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    import torch

    model = make_model()

    model.train(
        **quick | path,
        max_epochs=1,
        plan_kwargs={
            "optimizer": "Custom",
            "optimizer_creator": lambda params: torch.optim.SGD(params, lr=1e-6),
        },
    )

    assert isinstance(model.trainer.optimizers[0], torch.optim.SGD)


def test_scvi_tools_config_is_taken_without_the_warm_up_that_it_always_names(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model()

    model.train(max_epochs=1, **quick, plan_config=TrainingPlanConfig(lr=1e-4))

    assert model.trainer.lightning_module.lr == 1e-4
    with pytest.raises(ValueError, match="n_epochs_kl_warmup"):
        model.train(max_epochs=1, **quick, plan_config=TrainingPlanConfig(n_epochs_kl_warmup=5))


@pytest.mark.parametrize(
    ("name", "words"), [("state_lr", "learns nothing"), ("critic_lr", "no critic")]
)
def test_rates_of_what_is_not_there_are_refused(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], name: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make_model().train(max_epochs=1, **quick, plan_kwargs={name: 1e-3})


@pytest.mark.parametrize("devices", [2, -1, [0, 1]])
def test_several_devices_without_a_strategy_are_refused(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], devices: Any
) -> None:
    with pytest.raises(ValueError, match="name a strategy too"):
        make_model().train(max_epochs=1, **quick, devices=devices)
