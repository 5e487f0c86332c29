"""Speed beside scvi-tools: ``python -m benchmarks.speed [--parts grid two latents elbo equal memory where]``.

``grid``     milliseconds a step through the public ``train`` by density, genes and minibatch, with
             the dense products alone in the same run; start-up is differenced out
``two``      the marked cell on two threads, by the clock on the wall (on a quiet machine)
``latents``  latents of many cells
``elbo``     time to scvi-tools' final held-out ELBO on real data (``BETASCVI_DATA``)
``equal``    held-out ELBO of both after equal epochs, five seeds, paired
``memory``   peak resident memory of a training in a process of its own
``where``    where the time of one of our steps goes

``--quick`` takes less than a minute; ``--device cuda`` makes the GPU's table. Parts already
measured are kept in ``.benchmark_runs`` and not repeated (``--anew`` does). The two libraries take
turns; figures are medians, on one thread (``--threads 1``) of processor time. Tables go to ``benchmarks/results/speed.json``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from scipy import stats
from scvi import settings

from benchmarks._record import RUNS, keep, write
from benchmarks._record import memory as peak
from benchmarks._speed_models import MODELS, WIDTHS, clock, counts, floor, made, train
from betascvi import datasets
from betascvi.likelihoods import _compiled
from betascvi.module import _block_kernels, _hidden_block

DENSITIES, GENES, MINIBATCHES = (0.02, 0.065, 0.15, 0.4), (1000, 2000, 5000), (128, 512, 2048)
KERNELS = (
    (_compiled, "_evaluate"), (_hidden_block, "product"), (_hidden_block, "gradient_by_weight"),
    (_block_kernels, "forward"), (_block_kernels, "backward"),
)  # fmt: skip
"""Compiled functions, which torch's profiler does not see by itself."""
REAL = ("kang_pbmc_annotated", "jaitin_spleen_lps", "onek1k_subset")
EQUAL = ("kang_pbmc_annotated", "onek1k_subset", "fucci_ipsc_101genes")
Row = dict[str, Any]


def grid_cells(options: argparse.Namespace) -> Iterator[tuple[float, int, int]]:
    """Density, genes, minibatch: the marked cell first."""
    marked = (0.065, 2000, 128)
    yield marked
    if not options.quick:
        every = itertools.product(DENSITIES, GENES, MINIBATCHES)
        rest = sorted(every, key=lambda cell: cell[2])  # the quick ones first
        yield from (cell for cell in rest if cell != marked)


def measure_cell(cell: tuple[float, int, int], options: argparse.Namespace) -> Row:
    """Milliseconds a step of both libraries and of the products alone."""
    density, n_genes, batch_size = cell
    steps = max(options.steps * 128 // batch_size, 4)
    adata = counts(steps * batch_size, n_genes, density)
    times: dict[str, list[float]] = {name: [] for name in MODELS}
    products: list[float] = []
    for name in MODELS:  # compile, load, fill caches
        train(name, adata, 1, batch_size, options.device)
    for _ in range(options.repeats):
        for name in MODELS:
            short, long = (
                train(name, adata, epochs, batch_size, options.device)[1] for epochs in (1, 2)
            )
            times[name].append(1e3 * (long - short) / steps)
        products += floor(batch_size, n_genes, options.device)
    ms = {name: median(values) for name, values in times.items()}
    least = 1e3 * median(products)
    return {
        "density": density, "genes": n_genes, "minibatch": batch_size,
        **{f"{name}, ms a step": value for name, value in ms.items()},
        "products alone, ms": least,
        "times as fast": ms["scvi-tools"] / ms["betascvi"],
        "over the floor": ms["betascvi"] / least,
        "betascvi, cells a second": 1e3 * batch_size / ms["betascvi"],
        "fastest": {name: min(values) for name, values in times.items()},
        "threads": torch.get_num_threads(), "steps": steps, "load": os.getloadavg()[0],
    }  # fmt: skip


def two_threads(options: argparse.Namespace) -> Row:
    """The marked cell on two threads, by the clock on the wall: the machine has to be quiet."""
    torch.set_num_threads(2)
    row = measure_cell(next(grid_cells(options)), options)
    torch.set_num_threads(options.threads)
    return row


def latents(options: argparse.Namespace) -> Row:
    """Seconds for the latents of many cells."""
    adata = counts(5_000 if options.quick else 100_000, 2000, 0.065)
    models = {name: made(name, adata) for name in MODELS}
    times: dict[str, list[float]] = {name: [] for name in MODELS}
    for model in models.values():
        model.is_trained_ = True
        model.module.to(options.device).eval()
        model.get_latent_representation(indices=np.arange(2000))
    for _ in range(options.repeats):
        for name, model in models.items():
            start = clock(options.device)
            model.get_latent_representation()
            times[name].append(clock(options.device) - start)
    seconds = {name: median(values) for name, values in times.items()}
    ratio = seconds["scvi-tools"] / seconds["betascvi"]
    return {"cells": adata.n_obs, **seconds, "times as fast": ratio}


def time_to_elbo(name: str, options: argparse.Namespace) -> Row:
    """Seconds until scvi-tools' final held-out ELBO + 0.2 % is reached, ours against its own."""
    adata = datasets.load(name)
    epochs = 3 if options.quick else options.epochs
    curves, seconds = {}, {}
    for library in MODELS:
        arguments: Row = {"train_size": 0.9, "check_val_every_n_epoch": 1}
        if library == "scvi-tools":  # its default warms the KL up over 400 epochs, ours is at one
            arguments["plan_kwargs"] = {"n_epochs_kl_warmup": 0}
        train(library, adata, 1, 128, options.device, **arguments)
        model, seconds[library] = train(library, adata, epochs, 128, options.device, **arguments)
        curves[library] = model.history["elbo_validation"].to_numpy(float).ravel()
    goal = curves["scvi-tools"][-1] * 1.002
    first = {k: int(np.argmax(curve <= goal)) + 1 for k, curve in curves.items()}
    reached = {k: first[k] / epochs * seconds[k] if min(c) <= goal else np.nan for k, c in curves.items()}  # fmt: skip
    return {
        "data": name, "cells": adata.n_obs, "genes": adata.n_vars, "epochs": epochs,
        "final": {k: float(c[-1]) for k, c in curves.items()}, "seconds": seconds,
        "seconds to the goal": reached,
        "share of scvi-tools' time": reached["betascvi"] / reached["scvi-tools"],
    }  # fmt: skip


def equal_epochs(name: str, options: argparse.Namespace) -> Row:
    """How much better ours is after the same epochs, in percent of scvi-tools' held-out ELBO."""
    adata = datasets.load(name)
    epochs, gains = 3 if options.quick else options.epochs, []
    for seed in range(2 if options.quick else 5):
        settings.seed = seed  # of the split
        final = {}
        for library in MODELS:
            more = {"plan_kwargs": {"n_epochs_kl_warmup": 0}} if library == "scvi-tools" else {}
            model, _ = train(
                library, adata, epochs, 128, options.device, seed, train_size=0.9, **more
            )
            torch.manual_seed(seed)
            held_out = np.sort(model.validation_indices)
            final[library] = float(np.mean([model.get_elbo(indices=held_out) for _ in range(5)]))
        gap = final["betascvi"] - final["scvi-tools"]
        gains.append(100 * gap / abs(final["scvi-tools"]))
    half = stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains)
    return {
        "data": name, "epochs": epochs, "seeds": len(gains), "gain, %": float(np.mean(gains)),
        "low": float(np.mean(gains) - half), "high": float(np.mean(gains) + half), "each": gains,
    }  # fmt: skip


def memory(options: argparse.Namespace) -> Row:
    """Peak resident memory of a training, each in its own process."""
    size = "4000" if options.quick else "40000"
    peaks = {}
    for name in MODELS:
        command = [sys.executable, "-m", "benchmarks.speed", "--peak-of", name, "--cells", size]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[name] = float(done.stdout.strip().splitlines()[-1])
    return {"cells": int(size), "unit": "MiB", **peaks}


def where(options: argparse.Namespace) -> Row:
    """Milliseconds of a step by operation, measured inside one training; kernels by their names."""
    adata = counts(1024 if options.quick else 8192, 2000, 0.065)
    train("betascvi", adata, 1, 128, options.device)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with ExitStack() as stack:
        for module, name in KERNELS:
            stack.enter_context(patch.object(module, name, _named(name, getattr(module, name))))
        profiler = stack.enter_context(torch.profiler.profile(activities=activities))
        _, seconds = train("betascvi", adata, 3, 128, options.device)
    events = sorted(profiler.key_averages(), key=lambda e: -e.self_cpu_time_total)
    steps = 3 * adata.n_obs // 128
    shown = {e.key: e.self_cpu_time_total / 1e3 / steps for e in events[:16]}
    return {"step under the profiler": 1e3 * seconds / steps, **shown}


def _named(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        with torch.profiler.record_function(name):
            return kernel(*arguments)

    return called


def parts(options: argparse.Namespace) -> Iterator[tuple[str, str, Callable[[], Row]]]:
    """Part, name of the piece, and what measures it."""
    for cell in grid_cells(options):
        yield "grid", "_".join(map(str, cell)), lambda cell=cell: measure_cell(cell, options)
    yield "two", "threads", lambda: two_threads(options)
    yield "latents", "all", lambda: latents(options)
    if "BETASCVI_DATA" in os.environ:
        for name in REAL[: 1 if options.quick else None]:
            yield "elbo", name, lambda name=name: time_to_elbo(name, options)
        for name in EQUAL[: 1 if options.quick else None]:
            yield "equal", name, lambda name=name: equal_epochs(name, options)
    yield "memory", "all", lambda: memory(options)
    yield "where", "all", lambda: where(options)


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("grid", "two", "latents", "elbo", "equal", "memory", "where")
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=128, help="of 128 cells in an epoch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--peak-of", choices=tuple(MODELS), help=argparse.SUPPRESS)
    parser.add_argument("--cells", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure what is missing, then write the table."""
    options = arguments()
    if options.quick:
        options.steps, options.repeats = 16, 1
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    if options.peak_of:
        train(options.peak_of, counts(options.cells, 2000, 0.065), 1, 128, options.device)
        print(peak())
        return
    folder: Path = RUNS / "speed" / f"{options.device}{'_quick' if options.quick else ''}"
    rows = []
    for part, piece, measure in parts(options):
        path = folder / f"{part}_{piece}.json"
        if part in options.parts and (options.anew or not path.exists()):
            keep(path, measure())
        if path.exists():
            row = {"part": part, **json.loads(path.read_text())}
            print(json.dumps(row))
            rows.append(row)
    if not options.quick:
        name = "speed" if options.device == "cpu" else "speed_cuda"
        write(name, rows, {"widths": WIDTHS, "threads": options.threads})


if __name__ == "__main__":
    main()
