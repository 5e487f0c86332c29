"""Theorem 1 of Locatello et al. (2019), on a model of counts: no likelihood prefers an axis."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Normal

from betascvi import BetaSCVI
from betascvi.metrics import mig

_N_AXES = 4


@pytest.fixture(scope="module")
def model(tiny_source):
    adata = tiny_source.copy()
    BetaSCVI.setup_anndata(adata, layer="counts")
    torch.manual_seed(0)
    model = BetaSCVI(adata, n_latent=_N_AXES, n_hidden=16)
    for parameter in model.module.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    model.module.eval()
    return model


@pytest.fixture
def rotation():
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(_N_AXES, _N_AXES)))
    return torch.as_tensor(q, dtype=torch.float64)


def _turned_decoder(module, rotation):
    """The same decoder behind a first layer that turns its input back."""
    turned = copy.deepcopy(module).double()
    first = next(m for m in turned.decoder.modules() if isinstance(m, nn.Linear))
    weight = first.weight.data
    weight[:, :_N_AXES] = weight[:, :_N_AXES] @ rotation
    return turned


def _encoded(module, tensors, seed=0):
    torch.manual_seed(seed)
    return module.inference(**module._get_inference_input(tensors))


def _log_joint(module, tensors, outputs, z):
    """log p(x, z) of each cell."""
    inputs = module._get_generative_input(tensors, {**outputs, "z": z})
    px = module.generative(**inputs)["px"]
    prior = Normal(torch.zeros_like(z), torch.ones_like(z))
    return px.log_prob(tensors["X"]).sum(-1) + prior.log_prob(z).sum(-1)


def _entropy_of_turned(qz, rotation):
    """Entropy of a Gaussian does not change under a rotation; from its turned covariance."""
    covariance = rotation.T @ torch.diag_embed(qz.scale**2) @ rotation
    return 0.5 * torch.logdet(2 * torch.pi * torch.e * covariance)


@torch.no_grad()
def test_turning_z_and_the_decoder_s_input_leaves_the_bound_as_it_was(model, rotation):
    module = copy.deepcopy(model.module).double()
    (tensors,) = model._make_data_loader(adata=model.adata, batch_size=model.adata.n_obs)
    tensors = {name: value.double() for name, value in tensors.items()}
    outputs = _encoded(module, tensors)
    z, qz = outputs["z"], outputs["qz"]

    before = _log_joint(module, tensors, outputs, z) + qz.entropy().sum(-1)
    turned = _turned_decoder(module, rotation)
    after = _log_joint(turned, tensors, outputs, z @ rotation) + _entropy_of_turned(qz, rotation)

    torch.testing.assert_close(after, before, rtol=1e-10, atol=0)
    assert not torch.allclose(
        _log_joint(module, tensors, outputs, z @ rotation),
        _log_joint(module, tensors, outputs, z),
        rtol=1e-4,
    )


def test_the_same_rotation_lowers_the_scores_of_a_code(known_factors, rotation):
    z = (known_factors.z - known_factors.z.mean(0)) / known_factors.z.std(0)

    before = float(mig(z, known_factors.factors))
    after = float(mig(z @ rotation.numpy(), known_factors.factors))

    assert before > 0.95
    assert after < 0.5 * before
