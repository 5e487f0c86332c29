"""The compiled pass over rows gives the figures of the evaluation in log space."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator

import numba
import numpy as np
import pytest
import torch

from betascvi import likelihoods
from betascvi.likelihoods import _compiled, _softmax_rows, _threads
from betascvi.likelihoods._fused import Parameters

N_CELLS, N_GENES = 21, 333  # no multiple of a block, a strip or a lane


def draw(seed: int, density: float, scale: float = 1.0, log_theta: float = 0.0) -> dict[str, torch.Tensor]:  # fmt: skip
    rng = np.random.default_rng(seed)
    x = (rng.random((N_CELLS, N_GENES)) < density) * (1 + rng.poisson(scale, (N_CELLS, N_GENES)))
    x[:, 0] += 1
    drawn = {
        "x": x,
        "logits": 2.0 * rng.normal(size=x.shape),
        "log_library": np.log(x.sum(1, keepdims=True)),
        "log_dispersion": log_theta + rng.normal(size=N_GENES),
    }
    # rounded here, so that both precisions are given the same numbers
    return {k: torch.as_tensor(v).float().double() for k, v in drawn.items()}


def evaluate(
    drawn: dict[str, torch.Tensor], dtype: torch.dtype, weight: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """Value per cell, gradients by logits and log theta; double precision is not compiled."""
    rows = likelihoods.SparseRows.from_dense(drawn["x"].to(dtype))
    logits, theta = (drawn[k].to(dtype).requires_grad_() for k in ("logits", "log_dispersion"))
    nll = likelihoods.negative_binomial(rows, logits, drawn["log_library"].to(dtype), theta)
    total = nll.mean() if weight is None else (nll * weight.to(dtype)).sum()
    return [nll.detach(), *torch.autograd.grad(total, [logits, theta])]


def assert_same(got: list[torch.Tensor], wanted: list[torch.Tensor]) -> None:
    for ours, truth in zip(got, wanted, strict=True):
        error = (ours.double() - truth).norm() / truth.norm()
        assert float(error) < 2e-6


@pytest.mark.parametrize("density", [0.0, 0.02, 0.15, 0.4, 1.0])
@pytest.mark.parametrize("log_theta", [-12.0, 0.0, 6.0, 15.0])
def test_value_and_gradients_are_those_of_double_precision(
    density: float, log_theta: float
) -> None:
    drawn = draw(0, density, log_theta=log_theta)

    assert_same(evaluate(drawn, torch.float32), evaluate(drawn, torch.float64))


@pytest.mark.parametrize("scale", [20.0, 3e3, 1e5])
@pytest.mark.parametrize("log_theta", [-6.0, 0.0, 12.0])
def test_large_counts_are_exact_too(scale: float, log_theta: float) -> None:
    drawn = draw(1, 0.2, scale, log_theta)

    assert_same(evaluate(drawn, torch.float32), evaluate(drawn, torch.float64))


def test_fractional_counts_are_exact_too() -> None:
    drawn = draw(2, 0.2)
    drawn["x"] = drawn["x"] * 1.25

    assert_same(evaluate(drawn, torch.float32), evaluate(drawn, torch.float64))


def test_cells_may_weigh_differently() -> None:
    drawn, weight = draw(3, 0.1), torch.linspace(0.0, 2.0, N_CELLS)

    got = evaluate(drawn, torch.float32, weight)

    assert_same(got, evaluate(drawn, torch.float64, weight))


def test_a_second_backward_pass_gives_the_same_gradients() -> None:
    drawn = {name: value.float() for name, value in draw(4, 0.1).items()}
    rows, logits = likelihoods.SparseRows.from_dense(drawn["x"]), drawn["logits"].requires_grad_()

    nll = likelihoods.negative_binomial(
        rows, logits, drawn["log_library"], drawn["log_dispersion"]
    ).mean()
    first, second = (torch.autograd.grad(nll, logits, retain_graph=True)[0] for _ in range(2))

    torch.testing.assert_close(second, first, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("largest", [80.0, -300.0, 3e4])
def test_logits_of_any_size_are_in_reach(largest: float) -> None:
    drawn = draw(5, 0.1)
    drawn["logits"] = drawn["logits"] + largest
    drawn["logits"][:, 1] += 60.0  # a softmax that is nearly one gene

    got, wanted = evaluate(drawn, torch.float32), evaluate(drawn, torch.float64)

    torch.testing.assert_close(got[0].double(), wanted[0], rtol=1e-4, atol=0.0)  # float's logits
    assert torch.isfinite(got[1]).all()


def test_a_nan_shows_in_its_cell_alone() -> None:
    drawn = draw(6, 0.1)
    drawn["logits"][3, 7] = math.nan

    nll = evaluate(drawn, torch.float32)[0]

    assert torch.isnan(nll).nonzero().flatten().tolist() == [3]


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_the_number_of_threads_leaves_every_bit_as_it_is(threads: Callable[[int], None]) -> None:
    drawn = {name: value.float() for name, value in draw(7, 0.1).items()}
    counts = likelihoods.SparseRows.from_dense(drawn["x"])
    arguments = drawn["logits"], drawn["log_library"], drawn["log_dispersion"]
    weights = np.ones(N_CELLS, np.float32)
    results = []
    for n in (1, 2, 3):
        threads(n)
        results.append(_compiled._evaluate(counts, *arguments, weights))

    for one, *others in zip(*results, strict=True):
        for other in others:
            assert torch.equal(one, other)


def test_serial_and_parallel_kernels_agree_to_rounding() -> None:
    drawn = {name: value.float() for name, value in draw(7, 0.1).items()}
    counts = likelihoods.SparseRows.from_dense(drawn["x"])
    log_theta = drawn["log_dispersion"].numpy()
    results = []
    for function in (_softmax_rows.evaluate_serially, _softmax_rows.evaluate_in_parallel):
        out = (
            np.empty(N_CELLS),
            np.empty((N_CELLS, N_GENES), np.float32),
            np.empty((_softmax_rows.N_BLOCKS, N_GENES), np.float32),
        )
        function(
            drawn["logits"].numpy(),
            np.exp(drawn["log_library"].numpy().ravel().astype(np.float64)),
            (np.exp(log_theta), np.exp(-log_theta)),
            np.ones(N_CELLS, np.float32),
            (counts.bounds.numpy(), counts.col.numpy(), counts.value.numpy()),
            out,
        )
        results.append(out)

    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"), [("log_dispersion", 40.0), ("log_dispersion", -40.0), ("log_library", 60.0)]
)
def test_what_single_precision_cannot_hold_is_left_to_log_space(name: str, value: float) -> None:
    drawn = {key: tensor.float() for key, tensor in draw(8, 0.1).items() if key != "x"}
    assert _compiled.is_in_reach(Parameters(**drawn))

    drawn[name].view(-1)[0] = value

    assert not _compiled.is_in_reach(Parameters(**drawn))


def test_kernels_run_on_as_many_threads_as_torch(threads: Callable[[int], None]) -> None:
    threads(1)
    if not _threads.runs_in_parallel():
        pytest.skip("numba's threads are not torch's here")
    assert numba.get_num_threads() == 1


def test_starting_the_kernels_pool_leaves_torch_its_number_of_threads() -> None:
    asked = "import torch; torch.set_num_threads(1); from betascvi.likelihoods._threads import "
    asked += "runs_in_parallel; runs_in_parallel(); print(torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
