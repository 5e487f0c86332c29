"""Steps with the lists of a chunk are torch's own, whatever the layout of a weight."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from betascvi.module._first_product import store_by_gene
from betascvi.train._fused_steps import OptimizerSteps


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    store_by_gene(layers[0])
    return layers


def optimizer_of(layers: nn.Module, name: str) -> torch.optim.Optimizer:
    groups = [{"params": list(layers[0].parameters())}, {"params": list(layers[2].parameters()), "lr": 0.2}]  # fmt: skip
    if name == "sgd":
        return torch.optim.SGD(groups, lr=0.1)
    return torch.optim.Adam(
        groups, lr=0.1, fused=name != "loop", weight_decay=0.01, amsgrad=name == "amsgrad"
    )


def backward(layers: nn.Module, i: int, *, leaves_out_last: bool = False) -> None:
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(i))
    (layers[0](x) if leaves_out_last else layers(x)).square().sum().backward()


@pytest.mark.parametrize("name", ["adam", "amsgrad", "loop", "sgd"])
@pytest.mark.parametrize("left_out_at", [None, 2])
def test_weights_and_state_are_those_of_the_optimisers_own_steps(name, left_out_at):
    ours, theirs = network(), network()
    optimizers = optimizer_of(ours, name), optimizer_of(theirs, name)
    for layers, optimizer in zip((ours, theirs), optimizers, strict=True):
        backward(layers, 0)
        optimizer.step()
    steps = OptimizerSteps(optimizers[0])
    for i in range(1, 5):
        for layers, forget, step in (
            (ours, steps.forget_gradients, steps.step),
            (theirs, optimizers[1].zero_grad, optimizers[1].step),
        ):
            forget()
            backward(layers, i, leaves_out_last=i == left_out_at)
            step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    found, expected = (o.state_dict()["state"] for o in optimizers)
    for key, state in expected.items():
        for what, value in state.items():
            torch.testing.assert_close(found[key][what], value, rtol=1e-5, atol=1e-7)


def test_hooks_of_an_optimiser_are_called():
    layers = network()
    optimizer = optimizer_of(layers, "adam")
    backward(layers, 0)
    optimizer.step()
    seen = []
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    steps = OptimizerSteps(optimizer)
    backward(layers, 1)
    steps.step()
    assert seen == [1]


def test_a_gradient_in_another_layout_is_not_misread():
    ours, theirs = network(), network()
    optimizers = optimizer_of(ours, "adam"), optimizer_of(theirs, "adam")
    for layers, optimizer in zip((ours, theirs), optimizers, strict=True):
        backward(layers, 0)
        optimizer.step()
    steps = OptimizerSteps(optimizers[0])
    for layers, step in ((ours, steps.step), (theirs, optimizers[1].step)):
        weight = layers[0].weight
        weight.grad = torch.arange(30.0).view(5, 6)  # row by row, the weight is not
        step()
    torch.testing.assert_close(ours[0].weight, theirs[0].weight)
