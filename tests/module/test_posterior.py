"""The heads and a sample as one node: scvi-tools' figures, torch's gradients."""

from __future__ import annotations

import pytest
import torch
from scvi.nn import Encoder

from betascvi.module._posterior import posterior_of


def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(9, 4, n_hidden=8, distribution="normal").eval()


def results(*, is_one: bool, double: bool = False):
    network = encoder()
    network = network.double() if double else network
    hidden = torch.linspace(-1, 1, 24, dtype=torch.float64 if double else torch.float32)
    hidden = hidden.view(3, 8).requires_grad_()
    torch.manual_seed(1)
    loc, scale, z = posterior_of(network, hidden, may_be_one_node=is_one)
    (loc.square().sum() + (3 * scale).sum() + z.pow(3).sum()).backward()
    heads = network.mean_encoder, network.var_encoder
    gradients = [hidden.grad, *(p.grad for head in heads for p in head.parameters())]
    return [loc, scale, z, *gradients]


@pytest.mark.parametrize("double", [False, True])
def test_values_draws_and_gradients_are_those_of_the_plain_path(double):
    ours, plain = results(is_one=True, double=double), results(is_one=False, double=double)
    for found, expected in zip(ours, plain, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_part_nobody_asks_for_is_no_trouble():
    network = encoder()
    hidden = torch.ones(2, 8, requires_grad=True)
    loc, _, _ = posterior_of(network, hidden, may_be_one_node=True)
    loc.sum().backward()
    torch.testing.assert_close(
        hidden.grad, network.mean_encoder.weight.detach().sum(0).expand(2, 8)
    )
    assert not network.var_encoder.weight.grad.any()


def test_several_samples_come_first():
    network = encoder()
    _, _, z = posterior_of(network, torch.ones(2, 8), n_samples=5)
    assert z.shape == (5, 2, 4)


@pytest.mark.parametrize("change", ["hook", "activation", "no gradient"])
def test_heads_that_are_not_the_usual_ones_run_as_they_are(change, monkeypatch):
    network = encoder()
    if change == "hook":
        network.mean_encoder.register_forward_hook(lambda *_: None)
    elif change == "activation":
        network.var_activation = torch.nn.functional.softplus
    monkeypatch.setattr(torch.distributions.Normal, "rsample", lambda self: self.loc)
    with torch.set_grad_enabled(change != "no gradient"):
        loc, _, z = posterior_of(network, torch.ones(2, 8), may_be_one_node=True)
    assert z is loc
