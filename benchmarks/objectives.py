"""What every objective must answer and may cost: ``python -m benchmarks.objectives [--quick]``.

``known``    estimators against brute force, closed forms and an exact evidence
``tc``       total correlation of a factorised posterior by estimator, width and minibatch
``identity`` the sampled split of the rate against every cell's own draw, each term
``cost``     one training step of each objective against the beta-VAE's, interleaved
``purpose``  what each objective is for, measured on data that show it

Tables go to ``benchmarks/results/objectives.json``.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from benchmarks import _purpose
from benchmarks._record import RESULTS, write
from betascvi.likelihoods import SparseRows
from betascvi.metrics._information_identity import information_identity
from betascvi.module import BetaVAEModule
from betascvi.objectives import (
    DIPVAE,
    IWAE,
    LVAE,
    BetaTCVAE,
    BetaVAE,
    CapacityVAE,
    Draws,
    FactorVAE,
    Objective,
    Step,
    TargetRate,
)
from betascvi.objectives._aggregate import aggregate_density
from betascvi.objectives._critic import Critic, critic_loss
from betascvi.objectives._dip_vae import aggregate_covariance
from betascvi.objectives._gaussian_kl import kl_per_axis
from betascvi.train._critic_plan import CriticTraining

RESULT = RESULTS / "objectives.json"
COSTED: tuple[Objective, ...] = (
    BetaVAE(),
    BetaVAE(free_bits=0.1),
    CapacityVAE(),
    BetaTCVAE(),
    DIPVAE(kind="i"),
    DIPVAE(kind="ii"),
    FactorVAE(),
    LVAE(),
    LVAE(per_axis=True),
    TargetRate(),
    IWAE(n_samples=5),
)
N_GENES, N_MINIBATCH, N_LATENT, DENSITY = 2000, 128, 10, 0.065
SETTINGS = {
    "cost": "one thread, CPU time, median of paired ratios",
    "n_genes": N_GENES,
    "n_minibatch": N_MINIBATCH,
    "n_latent": N_LATENT,
    "density": DENSITY,
}
Row = dict[str, Any]


def known() -> list[Row]:
    """Largest error of each estimator where the answer is known."""
    torch.manual_seed(0)
    loc, scale = torch.randn(200, 6, dtype=torch.float64), torch.rand(200, 6).double() + 0.1
    q = Normal(loc, scale)
    z = q.sample()
    log_q = q.log_prob(z[:, None]) - math.log(200)
    density = aggregate_density(q, z, n_cells=200)
    prior = Normal(torch.zeros_like(loc), torch.ones_like(loc))
    single = kl_per_axis(Normal(loc.float(), scale.float()), Normal(prior.loc.float(), 1.0))
    step = Step(torch.zeros(200), q, prior, z, n_cells=5000)
    parts = sum(t.value for t in BetaTCVAE()(step).penalties.values())
    sampled = (q.log_prob(z) - prior.log_prob(z)).sum(-1)
    covariance = np.cov(loc.numpy().T, bias=True) + np.diag((scale.numpy() ** 2).mean(0))
    return [
        _error("log q(z), minibatch = data set", density.joint, _exact(q, z)),
        _error("log q(z_j), minibatch = data set", density.marginals, log_q.logsumexp(1).sum(-1)),
        _error("three parts against the sampled KL", parts, sampled),
        _error("KL in single precision", single.double(), kl_divergence(q, prior), relative=True),
        _error("covariance of q(z)", aggregate_covariance(q, "ii"), torch.tensor(covariance)),
        *_evidence(),
        _critic(),
    ]


def _exact(q: Normal, z: Tensor) -> Tensor:
    return q.log_prob(z[:, None]).sum(-1).logsumexp(1) - math.log(len(z))


def _error(what: str, ours: Tensor, truth: Tensor, *, relative: bool = False) -> Row:
    error = (ours - truth).abs() / (truth.abs().clamp(min=1.0) if relative else 1.0)
    return {"what": what, "largest error": error.max().item(), "relative": relative}


def _evidence() -> list[Row]:
    """The IWAE bound by K on a linear-Gaussian toy whose guide is wrong."""
    torch.manual_seed(0)
    loading = torch.randn(8, 3, dtype=torch.float64)
    x = torch.randn(64, 8, dtype=torch.float64)
    covariance = loading @ loading.T + 0.5 * torch.eye(8)
    truth = MultivariateNormal(torch.zeros(8).double(), covariance).log_prob(x).mean().item()
    precision = torch.eye(3) + loading.T @ loading / 0.5
    exact = torch.linalg.solve(precision, loading.T @ x.T / 0.5).T
    sd = torch.linalg.inv(precision).diagonal().sqrt()
    q = Normal(exact + 0.5 * sd, (1.3 * sd).expand_as(exact))
    prior = Normal(torch.zeros_like(exact), torch.ones_like(exact))

    def draw(k: int) -> Draws:
        z = q.sample((k,))
        return Draws(z, -Normal(z @ loading.T, math.sqrt(0.5)).log_prob(x).sum(-1))

    rows = []
    for k in (1, 2, 5, 20, 100, 500):
        repeats = []
        for _ in range(400 // min(k, 40)):
            z, reconstruction = draw(1)
            step = Step(reconstruction[0], q, prior, z[0], resample=draw)
            repeats.append(-IWAE(k)(step).total().item())
        error = np.std(repeats) / math.sqrt(len(repeats))
        gap = truth - np.mean(repeats)
        rows.append({"what": f"IWAE, K = {k}: nats below evidence", "gap": gap, "error": error})
    return rows


def _critic() -> Row:
    torch.manual_seed(0)
    correlation = torch.tensor([[1.0, 0.7, 0.0], [0.7, 1.0, 0.3], [0.0, 0.3, 1.0]])
    root = torch.linalg.cholesky(correlation)
    critic = Critic(3, 128, 3)
    optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    for _ in range(3000):
        optimizer.zero_grad()
        critic_loss(critic, torch.randn(128, 3) @ root.T).value.backward()
        optimizer.step()
    with torch.no_grad():
        estimate = critic(torch.randn(50_000, 3) @ root.T).mean().item()
    truth = -0.5 * math.log(torch.linalg.det(correlation).item())
    return {"what": "critic's total correlation, nats", "estimate": estimate, "truth": truth}


def tc() -> list[Row]:
    """Means N(0, 0.75), D = 10, N = 20,000: the factorised limit has none."""
    rows = []
    for sd in (0.1, 0.3, 0.5, 0.7):
        row: Row = {"posterior sd": sd, "all cells": _exact_tc(sd)}
        for n in (128, 1024):
            row |= {f"{e} {n}": _mean_tc(sd, n, e) for e in ("mss", "mws")}
        rows.append(row)
    return rows


def _mean_tc(sd: float, n: int, estimator: Any) -> float:
    torch.manual_seed(0)
    values = []
    for _ in range(4096 // n * 2):
        loc = math.sqrt(0.75) * torch.randn(n, 10)
        q = Normal(loc, torch.full_like(loc, sd))
        density = aggregate_density(q, q.sample(), 20_000, estimator)
        values.append((density.joint - density.marginals).mean().item())
    return float(np.mean(values))


def _exact_tc(sd: float, n_draws: int = 512) -> float:
    """Total correlation of the mixture of all 20,000 posteriors, by brute force."""
    torch.manual_seed(0)
    loc = math.sqrt(0.75) * torch.randn(20_000, 10)
    values = []
    for z in (loc[:n_draws] + sd * torch.randn(n_draws, 10)).split(16):
        log_q = Normal(loc, sd).log_prob(z[:, None])
        joint = log_q.sum(-1).logsumexp(1) - math.log(20_000)
        marginals = (log_q.logsumexp(1) - math.log(20_000)).sum(-1)
        values.append(joint - marginals)
    return torch.cat(values).mean().item()


def identity() -> list[Row]:
    """Rate = information + gap of 20,000 posteriors: 2,000 cells' draws against all cells'."""
    rows = []
    for sd in (0.05, 0.1, 0.3, 0.5, 0.9):
        rng = np.random.default_rng(0)
        mean = math.sqrt(0.75) * rng.standard_normal((20_000, 10))
        variance = np.full_like(mean, sd**2) * rng.uniform(0.5, 1.5, mean.shape)
        exact = information_identity(mean, variance, rng=rng)
        samples = [
            information_identity(mean, variance, rng=np.random.default_rng(seed), n_queries=2000)
            for seed in range(1, 6)
        ]
        rows.append(
            {
                "posterior sd": sd,
                "rate": exact.rate,
                "information": exact.information,
                "gap": exact.gap,
                "log N": exact.ceiling,
                "largest error of information": max(
                    abs(s.information - exact.information) for s in samples
                ),
                "largest error of gap": max(abs(s.gap - exact.gap) for s in samples),
            }
        )
    return rows


def cost(n_rounds: int) -> list[Row]:
    """CPU milliseconds of a step (encode, decode, loss, gradients, Adam), one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    minibatch = _minibatch()
    steps = {repr(objective): _stepper(objective, minibatch) for objective in COSTED}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(n_rounds + 5):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if round_ >= 5:
                times[name].append(time.process_time() - start)
    first = next(iter(times))
    return [
        {
            "objective": name,
            "ms": 1e3 * median(taken),
            "against beta-VAE": median(np.divide(taken, times[first]).tolist()),
        }
        for name, taken in times.items()
    ]


def _minibatch() -> dict[str, Any]:
    counts = torch.poisson(torch.full((N_MINIBATCH, N_GENES), 2.0)) + 1.0
    counts *= torch.rand(N_MINIBATCH, N_GENES) < DENSITY
    return {
        "X": SparseRows.from_dense(counts),
        "batch": torch.randint(2, (N_MINIBATCH, 1)),
        "labels": torch.zeros(N_MINIBATCH, 1, dtype=torch.long),
    }


def _stepper(objective: Objective, minibatch: dict[str, Any]) -> Callable[[], None]:
    module = BetaVAEModule(N_GENES, n_batch=2, n_labels=1, n_latent=N_LATENT, objective=objective)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, eps=0.01, fused=True)
    critic = objective.make_critic(N_LATENT)
    training = None if critic is None else CriticTraining(critic, lr=1e-3)
    loss_kwargs = {"n_obs": 20_000, "progress": 0.5, "critic": critic}

    def step() -> None:
        if training is not None:
            training.step()
        _, _, output = module(minibatch, loss_kwargs=loss_kwargs)
        optimizer.zero_grad(set_to_none=True)
        output.loss.backward()
        optimizer.step()

    return step


def show(title: str, rows: Iterable[Row]) -> None:
    """One line a row."""
    print(f"\n{title}")
    for row in rows:
        cells = (f"{k}: {v:.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in row.items())
        print("  " + ", ".join(cells), flush=True)


def main() -> None:
    """Run what was asked for and add it to the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=[], help="known, tc, identity, cost, purpose")
    parser.add_argument("--quick", action="store_true", help="a minute: no exact mixtures")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    tables: dict[str, Callable[[], list[Row]]] = {
        "known": known,
        "tc": tc,
        "identity": identity,
        "cost": lambda: cost(30 if arguments.quick else 300),
        "purpose": lambda: _purpose.purpose(quick=arguments.quick),
    }
    kept: list[Row] = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    for name in arguments.parts or (("known", "cost") if arguments.quick else tuple(tables)):
        rows = [{"table": name, **row} for row in tables[name]()]
        show(name, rows)
        kept = [row for row in kept if row["table"] != name] + rows
        if not arguments.quick:
            write("objectives", kept, SETTINGS)


if __name__ == "__main__":
    main()
