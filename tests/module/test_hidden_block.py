"""A hidden layer run as one compiled node gives what torch's own layers give."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from scvi.nn import FCLayers
from torch import Tensor

from betascvi.module._layers import run_layers

N_CELLS, N_IN, N_HIDDEN = 37, 23, 19


def layers_of(**arguments: Any) -> FCLayers:
    torch.manual_seed(0)
    layers = FCLayers(N_IN, N_HIDDEN, n_hidden=N_HIDDEN, **{"dropout_rate": 0.0, **arguments})
    with torch.no_grad():
        for block in layers.fc_layers:
            block[1].weight.uniform_(0.5, 2.0)
            block[1].bias.normal_()
    return layers.train()


def outcome_of(run: Any, layers: FCLayers, x: Tensor) -> dict[str, Tensor]:
    """Output, gradients and buffers after one pass there and back."""
    x = x.clone().requires_grad_()
    hidden = run(layers, x)
    (hidden * torch.linspace(-1.0, 2.0, hidden.numel()).view_as(hidden)).sum().backward()
    gradients = {n: p.grad for n, p in layers.named_parameters() if "0.bias" not in n}
    return {"hidden": hidden.detach(), "x": x.grad, **gradients, **dict(layers.named_buffers())}


def inputs() -> Tensor:
    return torch.randn(N_CELLS, N_IN, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("n_layers", [1, 3])
def test_output_gradients_and_running_statistics_are_torchs(n_layers: int) -> None:
    layers = layers_of(n_layers=n_layers)
    own = copy.deepcopy(layers)

    wanted = outcome_of(FCLayers.forward, layers, inputs())
    got = outcome_of(run_layers, own, inputs())

    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_covariates_join_each_layer_as_in_scvi_tools() -> None:
    layers = layers_of(n_layers=2, n_cat_list=[3, 1, 2])
    own = copy.deepcopy(layers)
    codes = [torch.arange(N_CELLS)[:, None] % n for n in (3, 1, 2)]

    wanted = outcome_of(lambda net, x: net(x, *codes), layers, inputs())
    got = outcome_of(lambda net, x: run_layers(net, x, *codes), own, inputs())

    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_dropout_keeps_its_share_and_the_expectation() -> None:
    layers = layers_of(dropout_rate=0.25)
    norm = layers.fc_layers[0][1]
    with torch.no_grad():
        norm.weight.fill_(0.0)
        norm.bias.fill_(1.0)  # every node is one before dropout

    hidden = torch.cat(
        [run_layers(layers, inputs(), draws_as_torch=False) for _ in range(200)]
    ).detach()

    share = float((hidden > 0).float().mean())
    assert share == pytest.approx(0.75, abs=5e-3)  # five standard errors
    np.testing.assert_allclose(hidden[hidden > 0].numpy(), 1.0 / 0.75, rtol=1e-4)


def test_no_gradient_passes_where_dropout_cut() -> None:
    layers = layers_of(dropout_rate=0.5)
    torch.manual_seed(3)
    hidden = run_layers(layers, inputs(), draws_as_torch=False)

    hidden.sum().backward()

    shift = layers.fc_layers[0][1].bias.grad
    torch.testing.assert_close(shift, 2.0 * (hidden != 0).sum(0).float())


def test_dropout_is_the_same_under_the_same_seed() -> None:
    layers = layers_of(dropout_rate=0.5)
    runs = []
    for _ in range(2):
        torch.manual_seed(7)
        runs.append(run_layers(layers, inputs(), draws_as_torch=False))

    torch.testing.assert_close(runs[0], runs[1], rtol=0.0, atol=0.0)


def test_hooks_between_the_layers_still_fire() -> None:
    layers, seen = layers_of(), []
    layers.fc_layers[0][1].register_forward_hook(lambda *_: seen.append("norm"))

    run_layers(layers, inputs())

    assert seen == ["norm"]


@pytest.mark.parametrize("kind", ["register_full_backward_hook", "register_full_backward_pre_hook"])
def test_hooks_of_the_way_back_still_fire(kind: str) -> None:
    layers, seen = layers_of(), []
    getattr(layers.fc_layers[0][0], kind)(lambda *_: seen.append("linear"))

    run_layers(layers, inputs().requires_grad_()).sum().backward()

    assert seen == ["linear"]


def test_hooks_on_gradients_still_fire() -> None:
    layers = layers_of()
    layers.fc_layers[0][0].weight.register_hook(torch.zeros_like)

    run_layers(layers, inputs()).sum().backward()

    assert not layers.fc_layers[0][0].weight.grad.any()


def test_a_nan_is_not_taken_for_a_silent_node() -> None:
    x = inputs()
    x[2, 3] = torch.nan

    assert torch.isnan(run_layers(layers_of(), x)).any()
