"""With beta = 1 the loss is scvi-tools' own, on the same weights, sample and minibatch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scvi.module import VAE
from torch import Tensor

from betascvi.module import BetaVAEModule
from betascvi.objectives import BetaVAE

N_CELLS, N_GENES, N_BATCH, N_LABELS = 40, 50, 3, 2
SHAPES: dict[str, Any] = {
    "n_input": N_GENES,
    "n_batch": N_BATCH,
    "n_labels": N_LABELS,
    "n_hidden": 16,
    "n_latent": 5,
}
WITH_COVARIATES: dict[str, Any] = {"n_continuous_cov": 2, "n_cats_per_cov": [2, 4]}


def minibatch(with_covariates: bool = False, with_size_factor: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rates = torch.rand(N_CELLS, N_GENES, generator=generator).pow(4.0) * 30.0
    batch = {
        "X": torch.poisson(rates, generator=generator),
        "batch": torch.randint(N_BATCH, (N_CELLS, 1), generator=generator),
        "labels": torch.randint(N_LABELS, (N_CELLS, 1), generator=generator),
    }
    if with_covariates:
        levels = [torch.randint(n, (N_CELLS, 1), generator=generator) for n in (2, 4)]
        batch["extra_categorical_covs"] = torch.cat(levels, dim=1)
        batch["extra_continuous_covs"] = torch.randn(N_CELLS, 2, generator=generator)
    if with_size_factor:
        batch["size_factor"] = torch.rand(N_CELLS, 1, generator=generator) + 0.5
    return batch


def pair_of(**arguments: Any) -> tuple[VAE, BetaVAEModule]:
    """scvi-tools' module and ours, on the same weights."""
    torch.manual_seed(0)
    theirs = VAE(**{**SHAPES, **arguments})
    ours = BetaVAEModule(**{**SHAPES, **arguments}, objective=BetaVAE(beta=1.0))
    weights = theirs.state_dict()
    ours.load_state_dict({name: weights[name] for name in ours.state_dict()})
    return theirs, ours


def loss_of(module: VAE, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    torch.manual_seed(1)  # the same sample of z, and the same dropout
    _, _, output = module(tensors)
    return {
        "loss": output.loss,
        "reconstruction": output.dict_sum(output.reconstruction_loss),
        "kl": output.dict_sum(output.kl_local),
    }


CASES = [
    pytest.param({"gene_likelihood": likelihood, "dispersion": dispersion},
                 id=f"{likelihood}, {dispersion}")
    for likelihood in ("nb", "zinb", "poisson", "normal")
    for dispersion in ("gene", "gene-batch", "gene-label", "gene-cell")
] + [
    pytest.param({"gene_likelihood": "nb", **arguments}, id=name)
    for name, arguments in {
        "covariates": WITH_COVARIATES,
        "covariates that are encoded": {**WITH_COVARIATES, "encode_covariates": True},
        "covariates at the first layer": {**WITH_COVARIATES, "deeply_inject_covariates": False},
        "batch embedding": {"batch_representation": "embedding"},
        "batch embedding that is encoded": {
            **WITH_COVARIATES, "batch_representation": "embedding", "encode_covariates": True,
        },
        "size factor": {"use_size_factor_key": True},
        "two layers": {"n_layers": 2},
        "counts as they are": {"log_variational": False},
        "layer norm": {"use_layer_norm": "both", "use_batch_norm": "none"},
        "own variance": {"var_activation": torch.nn.functional.softplus},
        "zero inflation and a size factor": {
            **WITH_COVARIATES, "gene_likelihood": "zinb", "use_size_factor_key": True,
        },
    }.items()
]  # fmt: skip


def tensors_for(arguments: dict[str, Any]) -> dict[str, Tensor]:
    return minibatch("n_cats_per_cov" in arguments, arguments.get("use_size_factor_key", False))


@pytest.mark.parametrize("arguments", CASES)
@pytest.mark.parametrize("training", [True, False], ids=["in training", "in evaluation"])
def test_the_loss_is_scvi_tools_own(arguments: dict[str, Any], training: bool) -> None:
    theirs, ours = pair_of(**arguments)
    tensors = tensors_for(arguments)

    wanted, got = (loss_of(m.train(training), tensors) for m in (theirs, ours))

    torch.testing.assert_close(got["loss"], wanted["loss"], rtol=1e-5, atol=0.0)
    # scvi-tools' own epsilon shows in single cells far from their mean
    torch.testing.assert_close(got["reconstruction"], wanted["reconstruction"], rtol=1e-4, atol=0)
    torch.testing.assert_close(got["kl"], wanted["kl"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("arguments", CASES)
def test_the_gradients_are_scvi_tools_own(arguments: dict[str, Any]) -> None:
    theirs, ours = pair_of(**arguments)
    tensors = tensors_for(arguments)

    for module in (theirs, ours):
        loss_of(module.train(), tensors)["loss"].backward()

    wanted = {name: p.grad for name, p in theirs.named_parameters()}
    got = {name: p.grad for name, p in ours.named_parameters()}
    scale = max(float(g.abs().max()) for g in wanted.values() if g is not None)
    torch.testing.assert_close(
        got, {name: wanted[name] for name in got}, rtol=2e-3, atol=2e-5 * scale
    )


@pytest.mark.parametrize("arguments", CASES)
def test_the_dense_distribution_is_scvi_tools_own(arguments: dict[str, Any]) -> None:
    theirs, ours = pair_of(**arguments)
    tensors = tensors_for(arguments)

    means = []
    for module in (theirs, ours):
        torch.manual_seed(1)
        _, generative = module.eval()(tensors, compute_loss=False)
        means.append(generative["px"].mean)

    torch.testing.assert_close(means[1], means[0], rtol=1e-5, atol=1e-7)


def test_importance_weighted_likelihoods_are_scvi_tools_own() -> None:
    theirs, ours = pair_of(gene_likelihood="nb")

    values = []
    for module in (theirs, ours):
        torch.manual_seed(1)
        values.append(
            module.eval().marginal_ll(minibatch(), n_mc_samples=12, n_mc_samples_per_pass=1)
        )

    torch.testing.assert_close(values[1], values[0], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_the_weight_of_the_kl_is_scvi_tools_kl_weight(beta: float) -> None:
    theirs, ours = pair_of(gene_likelihood="nb")
    ours.objective = BetaVAE(beta=beta)

    torch.manual_seed(1)
    _, _, wanted = theirs.eval()(minibatch(), loss_kwargs={"kl_weight": beta})
    torch.manual_seed(1)
    _, _, got = ours.eval()(minibatch())

    torch.testing.assert_close(got.loss, wanted.loss, rtol=1e-5, atol=0.0)
