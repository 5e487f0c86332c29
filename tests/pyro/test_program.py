from __future__ import annotations

import math

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

from betascvi import BetaSCVI
from betascvi.pyro import program, tensors_of

_LIKELIHOODS = ["nb", "zinb", "poisson", "normal"]


@pytest.fixture(params=[None, "batch"], ids=["no batch", "batch"])
def batch_key(request):
    return request.param


@pytest.fixture(params=[*_LIKELIHOODS, "embedding"])
def model(request, batch_key, tiny_adata):
    return _model_with_random_weights(tiny_adata, request.param, batch_key)


def _model_with_random_weights(adata, likelihood, batch_key):
    setup = {"layer": "counts"}
    if likelihood == "embedding":
        adata.obsm["X_axes"] = np.random.default_rng(0).normal(size=(adata.n_obs, 12))
        setup, likelihood = {"obsm_key": "X_axes"}, "normal"
    BetaSCVI.setup_anndata(adata, batch_key=batch_key, **setup)
    model = BetaSCVI(adata, n_latent=4, gene_likelihood=likelihood)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.module.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.add_(0.05 * noise)
    model.is_trained_ = True
    return model


def _pyro_elbo(elbo, model, cells):
    generative, guide = program(model)
    pyro.set_rng_seed(0)
    with torch.no_grad():
        return -elbo.loss(generative, guide, cells)


def _module_outputs(model, cells):
    pyro.set_rng_seed(0)
    with torch.no_grad():
        return model.module(cells)


def test_trace_elbo_is_the_module_s_bound_on_the_same_sample(model):
    cells = tensors_of(model, indices=range(60))

    from_pyro = _pyro_elbo(Trace_ELBO(), model, cells)

    inference, _, loss = _module_outputs(model, cells)
    z, qz = inference["z"], inference["qz"]
    log_prior = -0.5 * (z**2 + math.log(2 * math.pi)).sum()
    sampled_kl = qz.log_prob(z).sum() - log_prior
    ours = -(loss.reconstruction_loss_sum + sampled_kl)
    assert from_pyro == pytest.approx(float(ours), rel=1e-4)


def test_the_closed_form_elbo_of_pyro_is_the_module_s_loss(model):
    cells = tensors_of(model, indices=range(60))

    from_pyro = _pyro_elbo(TraceMeanField_ELBO(), model, cells)

    _, _, loss = _module_outputs(model, cells)
    assert from_pyro == pytest.approx(-60 * float(loss.loss), rel=1e-4)


def test_program_gives_counts_drawn_from_the_prior(tiny_adata):
    model = _model_with_random_weights(tiny_adata, "nb", None)
    cells = tensors_of(model, indices=range(30))
    generative, _ = program(model)

    with pyro.poutine.uncondition():
        drawn = generative(cells)

    assert drawn.shape == cells["X"].shape
    assert bool((drawn == drawn.round()).all())
    assert not torch.equal(drawn, cells["X"])


def test_an_empty_selection_of_cells_is_refused(tiny_adata):
    model = _model_with_random_weights(tiny_adata, "nb", None)

    with pytest.raises(ValueError, match="indices is empty"):
        tensors_of(model, indices=[])


def test_cells_without_counts_are_refused(tiny_adata):
    model = _model_with_random_weights(tiny_adata, "nb", None)
    mean, variance = model.get_latent_representation(return_dist=True)
    model.adata.obsm["X_mean"], model.adata.obsm["X_var"] = mean, variance
    model.minify_adata(use_latent_qzm_key="X_mean", use_latent_qzv_key="X_var")

    with pytest.raises(ValueError, match="counts of these cells were taken out"):
        tensors_of(model, indices=[0])
