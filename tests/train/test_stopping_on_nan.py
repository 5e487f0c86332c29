"""A loss that is no number stops the training, names the term and keeps good weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from betascvi import BetaSCVI
from betascvi._errors import TrainingError
from betascvi.objectives import BetaVAE, LossTerms, Objective, Step, Term


@dataclasses.dataclass(frozen=True)
class Poisoned(Objective):
    """A beta-VAE until the clock says ``after``; then one of its terms is no number."""

    after: float
    poison: float = float("nan")

    def __call__(self, step: Step) -> LossTerms:
        terms = BetaVAE()(step)
        scale = self.poison if step.progress >= self.after else 1.0
        kl = step.qz.loc.square().mean() * scale
        return LossTerms(terms.reconstruction, {**terms.penalties, "poisoned_term": Term(kl)})


class Photographer(Callback):
    """Keeps the weights at the start of every epoch."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        state = pl_module.module.state_dict()
        self.weights.append({name: value.clone() for name, value in state.items()})


def test_a_term_that_is_no_number_is_named_in_the_error(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model(objective=Poisoned(0.5))

    with pytest.raises(TrainingError, match=r"epoch 3.*poisoned_term.*Try a lower"):
        model.train(**quick | path, max_epochs=4, train_size=1.0)


def test_an_infinite_term_is_named_too(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model(objective=Poisoned(0.0, float("inf")))

    with pytest.raises(TrainingError, match=r"epoch 1.*poisoned_term"):
        model.train(**quick, max_epochs=1)


def test_the_weights_of_the_last_good_epoch_are_kept(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model(objective=Poisoned(0.6))
    photographer = Photographer()

    with pytest.raises(TrainingError):
        model.train(**quick | path, max_epochs=4, train_size=1.0, callbacks=[photographer])

    kept = model.module.state_dict()
    assert all(torch.equal(kept[name], v) for name, v in photographer.weights[-1].items())


def test_the_model_can_be_used_after_a_training_that_was_stopped(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model(objective=Poisoned(0.5))

    with pytest.raises(TrainingError):
        model.train(**quick | path, max_epochs=2)

    assert np.isfinite(model.get_latent_representation()).all()
    assert not model.module.training


def test_weights_spoilt_by_the_last_update_of_an_epoch_are_not_taken_for_good(
    make_model: Callable[..., BetaSCVI], path: dict[str, Any], quick: dict[str, Any]
) -> None:
    model = make_model()

    class Saboteur(Callback):
        """What a too large step does: weights that are no numbers, before the loss shows it."""

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                next(pl_module.module.parameters()).data.fill_(float("nan"))

    with pytest.raises(TrainingError):
        model.train(**quick | path, max_epochs=4, train_size=1.0, callbacks=[Saboteur()])

    assert np.isfinite(model.get_latent_representation()).all()


def test_the_likelihood_is_named_when_it_is_the_reason(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model()
    model.module.px_r.data.fill_(float("nan"))

    with pytest.raises(TrainingError, match="reconstruction"):
        model.train(**quick, max_epochs=1)
