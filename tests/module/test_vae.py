"""The module: no dead parameters, sparse rows as dense ones, further samples of a step."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from scvi.module import VAE
from torch import Tensor

from betascvi.likelihoods import SparseRows
from betascvi.module import BetaVAEModule
from betascvi.objectives import Draws, LossTerms, Objective, Step, Term

N_CELLS, N_GENES = 12, 20


def module_of(**arguments: Any) -> BetaVAEModule:
    torch.manual_seed(0)
    shapes = {"n_input": N_GENES, "n_batch": 2, "n_labels": 2, "n_hidden": 8, "n_latent": 3}
    return BetaVAEModule(**{**shapes, **arguments})


def minibatch(covariates: bool = False, real_valued: bool = False) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N_CELLS, N_GENES, generator=generator)
    counts = torch.poisson(x.exp(), generator=generator) + torch.eye(N_CELLS, N_GENES)
    tensors = {
        "X": x if real_valued else counts,
        "batch": torch.arange(N_CELLS)[:, None] % 2,
        "labels": torch.arange(N_CELLS)[:, None] // 2 % 2,
    }
    if covariates:
        tensors["extra_categorical_covs"] = torch.arange(N_CELLS)[:, None] % 3
        tensors["extra_continuous_covs"] = torch.randn(N_CELLS, 1, generator=generator)
        tensors["size_factor"] = torch.rand(N_CELLS, 1, generator=generator) + 0.5
    return tensors


def without_gradient(module: BetaVAEModule, tensors: dict[str, Any]) -> list[str]:
    module.train()
    _, _, output = module(tensors)
    output.loss.backward()
    return [name for name, p in module.named_parameters() if p.grad is None]


CONFIGURATIONS = [
    pytest.param({}, id="as it comes"),
    *[
        pytest.param({"gene_likelihood": likelihood, "dispersion": dispersion},
                     id=f"{likelihood}, {dispersion}")
        for likelihood in ("nb", "zinb", "poisson", "normal")
        for dispersion in ("gene", "gene-batch", "gene-label", "gene-cell")
    ],
    pytest.param({"is_embedding": True, "gene_likelihood": "normal"}, id="an embedding"),
    pytest.param({"encode_covariates": True}, id="encoded batches"),
    pytest.param({"n_layers": 3}, id="three layers"),
]  # fmt: skip


@pytest.mark.parametrize("arguments", CONFIGURATIONS)
def test_every_parameter_gets_a_gradient(arguments: dict[str, Any]) -> None:
    tensors = minibatch(real_valued=arguments.get("is_embedding", False))

    assert without_gradient(module_of(**arguments), tensors) == []


@pytest.mark.parametrize("representation", ["one-hot", "embedding"])
def test_every_parameter_gets_a_gradient_with_every_covariate(representation: str) -> None:
    module = module_of(
        n_cats_per_cov=[3], n_continuous_cov=1, use_size_factor_key=True,
        encode_covariates=True, batch_representation=representation,
    )  # fmt: skip

    assert without_gradient(module, minibatch(covariates=True)) == []


def test_the_lean_module_leaves_out_more_than_half_of_scvi_tools_parameters() -> None:
    shapes = {"n_input": 2000, "n_batch": 1, "n_labels": 1, "gene_likelihood": "nb"}
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731

    assert count(BetaVAEModule(**shapes)) < 0.45 * count(VAE(**shapes))


def test_parameters_bear_scvi_tools_names() -> None:
    shapes = {
        "n_input": N_GENES,
        "n_batch": 2,
        "gene_likelihood": "zinb",
        "dispersion": "gene-cell",
    }

    assert set(BetaVAEModule(**shapes).state_dict()) <= set(VAE(**shapes).state_dict())


_PARALLEL = """
import os, sys, traceback
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
sys.path.insert(0, sys.argv[1])
from test_vae import minibatch, module_of

try:
    store = f"file://{sys.argv[2]}/store"
    distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    wrapped = DistributedDataParallel(module_of().train(), find_unused_parameters=False)
    for _ in range(2):  # an unused parameter is an error in the second pass
        wrapped(minibatch())[2].loss.backward()
except Exception:
    traceback.print_exc()
    os._exit(1)
os._exit(0)
"""


def test_plain_data_parallel_training_finds_no_unused_parameter(tmp_path: Path) -> None:
    # in a process that ends without destructors: gloo's at times joins its threads for ever
    command = [sys.executable, "-c", _PARALLEL, str(Path(__file__).parent), str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("likelihood", ["nb", "zinb", "poisson", "normal"])
def test_non_zeros_alone_give_the_loss_of_the_dense_minibatch(likelihood: str) -> None:
    module = module_of(gene_likelihood=likelihood).eval()
    dense = minibatch()
    sparse = {**dense, "X": SparseRows.from_dense(dense["X"])}

    losses = []
    for tensors in (dense, sparse):
        torch.manual_seed(0)
        losses.append(module(tensors)[2].loss)

    torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=1e-5)


@dataclasses.dataclass(frozen=True)
class Hurried(Objective):
    """The reconstruction at a third of its weight, and three times the pace."""

    pace: float = 3.0

    def __call__(self, step: Step) -> LossTerms:
        return LossTerms(Term(step.reconstruction, 1 / 3), {}, pace=self.pace)


def test_the_pace_of_an_objective_multiplies_what_is_minimised_and_nothing_else() -> None:
    tensors = minibatch(covariates=False)
    outputs = []
    for pace in (1.0, 3.0):
        torch.manual_seed(0)
        outputs.append(module_of(objective=Hurried(pace)).eval()(tensors)[2])

    slow, quick = outputs
    torch.testing.assert_close(quick.loss, quick.reconstruction_loss_sum / N_CELLS)
    torch.testing.assert_close(quick.loss, 3.0 * slow.loss)
    torch.testing.assert_close(quick.reconstruction_loss_sum, slow.reconstruction_loss_sum)


@dataclasses.dataclass(frozen=True)
class Keeper(Objective):
    """Keeps the step it saw and a few draws of it."""

    kept: list[tuple[Step, Draws]] = dataclasses.field(default_factory=list, compare=False)

    def __call__(self, step: Step) -> LossTerms:
        assert step.resample is not None
        self.kept.append((step, step.resample(5)))
        return LossTerms(Term(step.reconstruction), {})


@pytest.mark.parametrize("covariates", [True, False], ids=["with covariates", "without"])
def test_further_samples_of_a_step_are_decoded_under_the_same_covariates(covariates: bool) -> None:
    keeper = Keeper()
    arguments = {"n_cats_per_cov": [3], "n_continuous_cov": 1} if covariates else {}
    module = module_of(objective=keeper, **arguments).eval()
    tensors = minibatch(covariates)

    module(tensors)

    step, draws = keeper.kept[0]
    assert draws.z.shape == (5, N_CELLS, 3)
    assert draws.reconstruction.shape == (5, N_CELLS)
    again = module.generative(
        **module._get_generative_input(tensors, {"z": draws.z[2], "library": library_of(tensors)})
    )
    by_hand = -again["px"].log_prob(tensors["X"]).sum(-1)
    torch.testing.assert_close(draws.reconstruction[2], by_hand, rtol=1e-5, atol=1e-4)
    assert not torch.equal(draws.z[0], step.z)


def library_of(tensors: dict[str, Any]) -> Tensor:
    return tensors["X"].sum(1, keepdim=True).log()


def test_further_samples_carry_gradients_to_the_encoder() -> None:
    keeper = Keeper()
    module = module_of(objective=keeper).train()
    module(minibatch())

    keeper.kept[0][1].reconstruction.sum().backward()

    assert all(p.grad is not None for p in module.z_encoder.parameters())


def test_the_prior_of_every_cell_and_axis_is_standard() -> None:
    keeper = Keeper()
    module_of(objective=keeper).eval()(minibatch())

    step, _ = keeper.kept[0]

    assert step.pz.loc.shape == (N_CELLS, 3)
    assert (step.pz.loc == 0).all()
    assert (step.pz.scale == 1).all()


def test_a_negative_embedding_has_a_finite_loss() -> None:
    module = module_of(is_embedding=True, gene_likelihood="normal", log_variational=False)
    tensors = {**minibatch(), "X": -torch.ones(N_CELLS, N_GENES)}

    assert torch.isfinite(module(tensors)[2].loss)


def test_autotune_is_handed_the_latent_the_batches_and_the_labels() -> None:
    module = module_of(extra_payload_autotune=True).eval()

    _, _, output = module(minibatch())

    assert {"z", "batch", "labels"} <= set(output.extra_metrics)


def test_other_extra_metrics_are_scalars() -> None:
    _, _, output = module_of().eval()(minibatch())

    assert {value.dim() for value in output.extra_metrics.values()} == {0}
