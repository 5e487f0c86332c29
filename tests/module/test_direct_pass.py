"""A minibatch passed without a graph has the graph's gradients; where it could not, it is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import sparse
from scvi import REGISTRY_KEYS

from betascvi import BetaSCVI
from betascvi.data._resident import ResidentCells
from betascvi.module import BetaVAEModule, direct_pass
from betascvi.objectives import BetaTCVAE, BetaVAE, LossTerms, Step
from betascvi.schedules import Linear

N_CELLS, N_GENES = 60, 80


def cells_of(density: float = 0.06) -> AnnData:
    rng = np.random.default_rng(0)
    counts = rng.poisson(3.0, (N_CELLS, N_GENES)) * (rng.random((N_CELLS, N_GENES)) < density)
    counts[:, 0] = 1
    adata = AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    adata.obs["batch"] = [str(i % 3) for i in range(N_CELLS)]
    adata.obs["chip"] = [str(i % 2) for i in range(N_CELLS)]
    adata.obs["age"] = rng.normal(size=N_CELLS)
    return adata


COVARIATES: dict[str, Any] = {
    "batch_key": "batch", "categorical_covariate_keys": ["chip"],
    "continuous_covariate_keys": ["age"],
}  # fmt: skip


def model_of(adata: AnnData, setup: dict[str, Any] | None = None, **arguments: Any) -> BetaSCVI:
    BetaSCVI.setup_anndata(adata, **(setup or {}))
    torch.manual_seed(0)
    model = BetaSCVI(adata, **{"n_hidden": 12, "n_latent": 4, **arguments})
    with torch.no_grad():  # dispersions and norms that are not all the same
        for parameter in model.module.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    return model


def minibatch_of(model: BetaSCVI, n_cells: int = 40) -> dict[str, Any]:
    cells = ResidentCells.from_manager(model.adata_manager)
    return next(iter(cells.minibatches(torch.arange(n_cells), n_cells)))


def gradients_of(module: BetaVAEModule) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("density", [0.06, 0.4])
@pytest.mark.parametrize("setup", [{}, COVARIATES])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"n_layers": 3}, {"n_layers": 2, "deeply_inject_covariates": False},
     {"log_variational": False, "objective": BetaVAE(Linear(0.0, 4.0))}],
)  # fmt: skip
def test_gradients_figures_and_running_statistics_are_the_graphs(
    density: float, setup: dict[str, Any], arguments: dict[str, Any]
) -> None:
    model = model_of(cells_of(density), setup, **arguments)
    module, minibatch = model.module, minibatch_of(model)
    start = {name: value.clone() for name, value in module.state_dict().items()}
    direct = direct_pass(module)
    assert direct is not None

    torch.manual_seed(1)
    _, _, wanted = module(minibatch, loss_kwargs={"progress": 0.3, "n_obs": N_CELLS})
    wanted.loss.backward()
    by_graph, norms = gradients_of(module), dict(module.named_buffers())
    norms = {name: value.clone() for name, value in norms.items()}
    module.load_state_dict(start)
    for parameter in module.parameters():
        parameter.grad = None
    torch.manual_seed(1)
    found = direct.gradients(minibatch, 0.3)

    assert found is not None
    torch.testing.assert_close(gradients_of(module), by_graph, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(dict(module.named_buffers()), norms)
    assert found.loss == pytest.approx(float(wanted.loss.detach()), rel=1e-6)
    assert found.reconstruction_sum == pytest.approx(float(wanted.reconstruction_loss_sum), 1e-6)
    assert found.kl_sum == pytest.approx(float(wanted.kl_local_sum), rel=1e-5)
    assert found.kl_weight == pytest.approx(float(wanted.extra_metrics["kl_weight"]), rel=1e-6)


@dataclasses.dataclass(frozen=True)
class Milder(BetaVAE):
    """Charges half of the KL."""

    def __call__(self, step: Step) -> LossTerms:
        terms = super().__call__(step)
        (kl,) = terms.penalties.values()
        return dataclasses.replace(terms, penalties={"kl": kl._replace(value=0.5 * kl.value)})


@pytest.mark.parametrize(
    "arguments",
    [
        {"objective": BetaTCVAE()}, {"objective": BetaVAE(free_bits=0.1)}, {"objective": Milder()},
        {"gene_likelihood": "poisson"}, {"gene_likelihood": "zinb"}, {"decoder": "additive"},
        {"dispersion": "gene-batch"}, {"encode_covariates": True}, {"use_batch_norm": "none"},
        {"use_layer_norm": "both"}, {"batch_representation": "embedding"},
        {"dispersion": "gene-cell"}, {"extra_payload_autotune": True}, {"anchors": ["chip"]},
        {"var_activation": torch.nn.functional.softplus},
    ],
)  # fmt: skip
def test_other_models_and_objectives_ask_for_a_graph(arguments: dict[str, Any]) -> None:
    model = model_of(cells_of(), {"batch_key": "batch", "factor_keys": ["chip"]}, **arguments)

    assert direct_pass(model.module) is None


def test_given_size_factors_ask_for_a_graph() -> None:
    adata = cells_of()
    adata.obs["size"] = 2.0 + adata.obs["age"].abs()

    assert direct_pass(model_of(adata, {"size_factor_key": "size"}).module) is None


def hook(*_: Any) -> None:
    """Watch, and change nothing."""


def replace(owner: Any, name: str) -> None:
    """The same method, but of this object and not of its class."""
    own = getattr(owner, name)
    setattr(owner, name, lambda *arguments, **more: own(*arguments, **more))


def tie(module: BetaVAEModule) -> None:
    """One parameter in two places."""
    module.z_encoder.var_encoder.bias = module.z_encoder.mean_encoder.bias


@pytest.mark.parametrize(
    "touch",
    [
        lambda module: module.z_encoder.mean_encoder.register_forward_hook(hook),
        lambda module: module.decoder.register_forward_pre_hook(hook),
        lambda module: module.decoder.px_scale_decoder[0].register_full_backward_hook(hook),
        lambda module: module.decoder.register_full_backward_pre_hook(hook),
        lambda module: module.px_r.register_hook(hook),
        lambda module: module.px_r.register_post_accumulate_grad_hook(hook),
        lambda module: module.px_r.requires_grad_(False),
        lambda module: module.z_encoder.encoder.fc_layers[0][1].eval(),
        lambda module: module.double(),
        lambda module: module.eval(),
        lambda module: replace(module, "loss"),
        lambda module: replace(module.decoder, "forward"),
        tie,
    ],
)
def test_a_module_that_somebody_watches_freezes_or_evaluates_asks_for_a_graph(touch: Any) -> None:
    module = model_of(cells_of()).module
    assert direct_pass(module) is not None

    touch(module)

    assert direct_pass(module) is None


def test_a_hook_on_all_modules_asks_for_a_graph() -> None:
    module = model_of(cells_of()).module
    handle = torch.nn.modules.module.register_module_forward_hook(hook)

    found = direct_pass(module)

    handle.remove()
    assert found is None
    assert direct_pass(module) is not None


def test_an_outer_autocast_asks_for_a_graph() -> None:
    module = model_of(cells_of()).module

    with torch.autocast("cpu", torch.bfloat16):
        assert direct_pass(module) is None


def test_minibatches_beyond_reach_are_left_alone() -> None:
    model = model_of(cells_of())
    direct, whole = direct_pass(model.module), minibatch_of(model)
    assert direct is not None
    dense = {**whole, REGISTRY_KEYS.X_KEY: whole[REGISTRY_KEYS.X_KEY].dense()}
    state = torch.get_rng_state()

    outcomes = [direct.gradients(minibatch, 1.0) for minibatch in (minibatch_of(model, 1), dense)]
    with torch.no_grad():
        model.module.px_r[3] = 30.0  # single precision cannot tell it from the Poisson limit
    outcomes.append(direct.gradients(whole, 1.0))

    assert outcomes == [None, None, None]
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert torch.equal(state, torch.get_rng_state())
