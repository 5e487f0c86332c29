"""Training without a graph is training with one: weights, history, errors, callbacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scvi
import torch
from lightning.pytorch.callbacks import Callback, LambdaCallback

from betascvi import BetaSCVI
from betascvi._errors import TrainingError
from betascvi.module import DirectPass
from betascvi.train import _plan

MakeModel = Callable[..., BetaSCVI]


class Count:
    """Direct passes of a training."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n = 0
        own = DirectPass.gradients

        def gradients(direct: DirectPass, *arguments: Any) -> Any:
            found = own(direct, *arguments)
            self.n += found is not None
            return found

        monkeypatch.setattr(DirectPass, "gradients", gradients)


def trained(make_model: MakeModel, quick: dict[str, Any], **more: Any) -> BetaSCVI:
    scvi.settings.seed = 0
    model = make_model()
    model.train(**{**quick, "max_epochs": 3, "batch_size": 16, "train_size": 0.8, **more})
    return model


def test_weights_and_history_are_those_of_training_with_a_graph(
    make_model: MakeModel, quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Count(monkeypatch)
    directly = trained(make_model, quick)
    assert count.n == 3 * (6 - 1)  # the first of a chunk passes through Lightning
    monkeypatch.setattr(_plan, "direct_pass", lambda _: None)
    by_graph = trained(make_model, quick)
    assert count.n == 3 * (6 - 1)

    for name, value in by_graph.module.state_dict().items():
        torch.testing.assert_close(directly.module.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    assert list(directly.history) == list(by_graph.history)
    for name, values in by_graph.history.items():
        found, wanted = (f.to_numpy(dtype=float) for f in (directly.history[name], values))
        np.testing.assert_allclose(found, wanted, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("hook", ["on_before_backward", "on_after_backward"])
@pytest.mark.parametrize("is_lambda", [False, True])
def test_a_callback_that_looks_at_backward_passes_sees_each_of_them(
    make_model: MakeModel, quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch, hook: str,
    is_lambda: bool,
) -> None:  # fmt: skip
    seen: list[Any] = []
    watching = type("Watching", (Callback,), {hook: lambda _, *arguments: seen.append(arguments)})
    count = Count(monkeypatch)

    by_lambda = LambdaCallback(**{hook: lambda *arguments: seen.append(arguments)})
    trained(make_model, quick, callbacks=[by_lambda if is_lambda else watching()])

    assert len(seen) == 3 * 6
    assert count.n == 0


def test_a_search_for_anomalies_has_its_graph(
    make_model: MakeModel, quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Count(monkeypatch)

    trained(make_model, quick, detect_anomaly=True)

    assert count.n == 0


def test_a_loss_that_is_finite_with_a_graph_leaves_no_trace_of_the_pass_before(
    make_model: MakeModel, quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = trained(make_model, quick)
    own = DirectPass.gradients

    def overflown(direct: DirectPass, *arguments: Any) -> Any:
        found = own(direct, *arguments)
        for parameter in direct.module.parameters():
            assert parameter.grad is not None
            parameter.grad.fill_(float("inf"))
        return None if found is None else found._replace(loss=float("inf"))

    monkeypatch.setattr(DirectPass, "gradients", overflown)
    found = trained(make_model, quick)

    for name, value in wanted.module.named_parameters():
        own_value = dict(found.module.named_parameters())[name]
        torch.testing.assert_close(own_value, value, rtol=1e-4, atol=1e-5)


def test_what_is_not_finite_is_named_as_with_a_graph(
    make_model: MakeModel, quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = DirectPass.gradients

    def spoil(direct: DirectPass, *arguments: Any) -> Any:
        direct.output.bias.data.fill_(float("nan"))
        return own(direct, *arguments)

    monkeypatch.setattr(DirectPass, "gradients", spoil)

    with pytest.raises(TrainingError, match=r"epoch 1.*first in .*reconstruction"):
        trained(make_model, quick)
