"""Accuracy and speed of the count likelihoods, beside scvi-tools' own in the same run.

``python -m benchmarks.likelihoods [--quick] [--threads 2] [--device cpu] [--out PATH]``

Accuracy: negative log-likelihoods of single genes against fifty digits over theta 1e-4 to 1e8,
mu 1e-8 to 1e6, x 0 to 1e5. Speed: value and gradients of one minibatch, the two libraries taking
turns; medians and fastest runs in milliseconds. scvi-tools is given the softmax it needs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median

import mpmath
import numpy as np
import torch
from scvi import distributions

from benchmarks import _record
from betascvi import likelihoods

COUNTS = (0, 1, 2, 3, 7, 50, 1000, 100_000)
THETAS = (1e-4, 1e-2, 0.3, 1.0, 5.0, 100.0, 1e4, 1e6, 1e8)
MEANS = (1e-8, 1e-4, 0.1, 1.0, 30.0, 1e3, 1e6)
DENSITIES = (0.02, 0.065, 0.15, 0.4)
KINDS = ("negative_binomial", "zero_inflated_negative_binomial", "poisson")


def exact(x: float, log_mu: float, log_theta: float) -> mpmath.mpf:
    """Negative log-likelihood in fifty digits, at the logarithms that floating point was given."""
    mu, theta = mpmath.exp(mpmath.mpf(log_mu)), mpmath.exp(mpmath.mpf(log_theta))
    return -(
        mpmath.loggamma(x + theta)
        - mpmath.loggamma(theta)
        - mpmath.loggamma(x + 1)
        + theta * mpmath.log(theta / (theta + mu))
        + x * mpmath.log(mu / (theta + mu))
    )


def accuracy(dtype: torch.dtype) -> dict[str, dict[str, float]]:
    """Errors over the grid, ours and scvi-tools'."""
    grid = torch.tensor(list(itertools.product(COUNTS, THETAS, MEANS)), dtype=torch.float64)
    x, theta, mu = grid.split(1, dim=1)
    log_theta, log_mu = theta.log().to(dtype), mu.log().to(dtype)
    rows = likelihoods.SparseRows.from_dense(x)
    ours = likelihoods.negative_binomial(rows, log_mu, torch.zeros_like(log_mu), log_theta, "exp")
    host = distributions.NegativeBinomial(mu=log_mu.exp(), theta=log_theta.exp())
    theirs = -host.log_prob(x.to(dtype))[:, 0]
    with mpmath.workdps(50):
        points = zip(*(t.flatten().tolist() for t in (x, log_mu, log_theta)), strict=True)
        truth = [exact(*point) for point in points]
        return {"betascvi": _errors(ours, truth), "scvi-tools": _errors(theirs, truth)}


def _errors(values: torch.Tensor, truth: list[mpmath.mpf]) -> dict[str, float]:
    pairs = list(zip(values.tolist(), truth, strict=True))
    difference = np.array([float(abs(mpmath.mpf(v) - t)) for v, t in pairs])
    relative = difference / np.array([float(abs(t)) for t in truth])
    return {
        "largest relative error": float(np.max(relative)),
        "98 % below": float(np.quantile(relative, 0.98)),
        "median": float(np.median(relative)),
        "largest error in nats": float(np.max(difference)),
        "not finite": int((~np.isfinite(relative)).sum()),
    }


class Minibatch:
    """Counts of a given density, and leaves to differentiate by."""

    def __init__(self, density: float, shape: tuple[int, int], device: str) -> None:
        rng = torch.Generator().manual_seed(0)
        x = _counts(density, shape, rng)
        noise = 0.3 * torch.randn(shape, generator=rng)
        self.x = x.to(device)
        self.rows = likelihoods.SparseRows.from_dense(self.x)
        self.log_factorial = self.rows.log_factorial
        self.log_library = x.sum(1, keepdim=True).clamp(min=1.0).log().to(device)
        self.logits = (torch.log(x.mean(0) + 0.01) + noise).to(device).requires_grad_()
        self.dropout_logits = (noise - 2.0).to(device).requires_grad_()
        self.log_dispersion = torch.randn(shape[1], generator=rng).to(device).requires_grad_()

    def ours(self, kind: str) -> torch.Tensor:
        """What a training step does with the rows its loader has cut."""
        kept = self.rows
        rows = likelihoods.SparseRows(
            kept.bounds, kept.col, kept.value, kept.shape, self.log_factorial
        )
        more = [self.log_dispersion, self.dropout_logits]
        taken = more[: {"negative_binomial": 1, "poisson": 0}.get(kind, 2)]
        return getattr(likelihoods, kind)(rows, self.logits, self.log_library, *taken)

    def theirs(self, kind: str) -> torch.Tensor:
        """The same by way of scvi-tools' distribution."""
        mu = torch.softmax(self.logits, -1) * self.log_library.exp()
        if kind == "poisson":
            px = distributions.Poisson(rate=mu)
        elif kind == "negative_binomial":
            px = distributions.NegativeBinomial(mu=mu, theta=self.log_dispersion.exp())
        else:
            px = distributions.ZeroInflatedNegativeBinomial(
                mu=mu, theta=self.log_dispersion.exp(), zi_logits=self.dropout_logits
            )
        return -px.log_prob(self.x).sum(-1)

    def differentiate(self, nll: torch.Tensor) -> None:
        """Gradients of the mean, by everything that has one."""
        leaves = [self.logits, self.log_dispersion, self.dropout_logits]
        torch.autograd.grad(nll.mean(), leaves, allow_unused=True)


def _counts(density: float, shape: tuple[int, int], rng: torch.Generator) -> torch.Tensor:
    """Gamma-Poisson counts; the depth is bisected until the density is met."""
    mean = torch.exp(1.5 * torch.randn(shape[1], generator=rng))
    low, high = 1e-6, 1e3
    for _ in range(60):
        depth = (low * high) ** 0.5
        is_sparser = float((1.0 - 1.0 / (1.0 + mean * depth)).mean()) < density
        low, high = (depth, high) if is_sparser else (low, depth)
    gamma = -torch.log(torch.rand(shape, generator=rng).clamp(min=1e-12))
    return torch.poisson(gamma * mean * depth, generator=rng)


def take_turns(
    runs: dict[str, Callable[[], None]], times: int, device: str
) -> dict[str, list[float]]:
    """Milliseconds of each, one after the other, again and again."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(times + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if device != "cpu":
                torch.cuda.synchronize()
            if turn >= 2:
                taken[name].append(1e3 * (time.perf_counter() - start))
    return taken


def speed(shape: tuple[int, int], times: int, device: str) -> list[dict[str, object]]:
    """One row per density and likelihood."""
    table: list[dict[str, object]] = []
    for density, kind in itertools.product(DENSITIES, KINDS):
        batch = Minibatch(density, shape, device)
        taken = take_turns(
            {
                "betascvi": lambda b=batch, k=kind: b.differentiate(b.ours(k)),
                "scvi-tools": lambda b=batch, k=kind: b.differentiate(b.theirs(k)),
            },
            times,
            device,
        )
        row: dict[str, object] = {"density": round(float((batch.x > 0).float().mean()), 4)}
        row |= {"likelihood": kind, "cells": shape[0], "genes": shape[1]}
        for name, milliseconds in taken.items():
            row[f"{name} ms"] = round(median(milliseconds), 3)
            row[f"{name} fastest ms"] = round(min(milliseconds), 3)
        row["times faster"] = round(median(taken["scvi-tools"]) / median(taken["betascvi"]), 1)
        table.append(row)
        print(row)
    return table


def main() -> None:
    """Measure, print, and write when told to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cells", type=int, default=128)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=_record.RESULTS / "likelihoods.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, object] = {
        "versions": {name: version(name) for name in ("betascvi", "scvi-tools", "torch")},
        "device": options.device,
        "threads": options.threads,
        "load before": os.getloadavg()[0],
        "accuracy": {str(d): accuracy(d) for d in (torch.float64, torch.float32)},
    }
    print(json.dumps(results, indent=1))
    times = 10 if options.quick else 100
    results["speed"] = speed((options.cells, options.genes), times, options.device)
    results["load after"] = os.getloadavg()[0]
    if not options.quick:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
