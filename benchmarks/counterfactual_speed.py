"""What counterfactuals cost: ``python -m benchmarks.counterfactual_speed [--quick]``.

``dense``       expected counts of all cells at another level, beside the bare network (encode, decode,
                write) and scvi-tools' ``get_normalized_expression(transform_batch=...)``
``ten``         ten targets, a matrix each
``averaged``    the mean over ten targets, one matrix
``statistics``  means of groups of cells before and after
``memory``      peak memory above the loaded data, each in a process of its own, by number of cells

Both models have the same widths and were not trained, which no figure here depends on. Libraries
take turns; figures are medians of processor seconds on one thread. ``--device cuda`` runs the
networks there, by the clock on the wall.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.model import SCVI
from threadpoolctl import threadpool_limits

import betascvi as bs
from benchmarks._record import memory, write
from benchmarks._speed_models import MODELS, WIDTHS, clock, counts

N_LEVELS, N_GENES, DENSITY, CHUNK = 11, 2000, 0.065, 1024
TARGETS = [f"b{i:02d}" for i in range(1, N_LEVELS)]
PLAIN = bs.tl.Store(factual=False)
Row = dict[str, Any]


def cells(n: int) -> AnnData:
    """Counts with a batch of eleven levels and groups of cells."""
    adata = counts(n, N_GENES, DENSITY)
    rng = np.random.default_rng(0)
    adata.obs["batch"] = pd.Categorical([f"b{i:02d}" for i in rng.integers(0, N_LEVELS, n)])
    adata.obs["group"] = pd.Categorical([f"g{i}" for i in rng.integers(0, 8, n)])
    return adata


def model_of(library: str, adata: AnnData, device: str) -> SCVI:
    """A model that says it is trained."""
    MODELS[library].setup_anndata(adata, batch_key="batch")
    torch.manual_seed(0)
    model = MODELS[library](adata, **WIDTHS)
    model.is_trained_ = True
    model.to_device(device)
    model.module.eval()
    return model


def ours(model: SCVI, adata: AnnData, level: Any, **more: Any) -> Any:
    """One call of the tool."""
    return bs.tl.counterfactual(model, adata, {"batch": level}, **{"store": PLAIN, **more})


def theirs(model: SCVI, level: str | list[str]) -> np.ndarray:
    """Expected counts per 10,000 at another level."""
    found = model.get_normalized_expression(
        transform_batch=level, library_size=1e4, return_numpy=True
    )
    return np.asarray(found)


@torch.inference_mode()
def bare(model: SCVI, adata: AnnData) -> np.ndarray:
    """Encode, decode at another level and write: the least that can be done with this network."""
    out = np.empty(adata.shape, np.float32)
    device = next(model.module.parameters()).device
    batch = torch.as_tensor(adata.obs["_scvi_batch"].to_numpy().copy()).long()[:, None]
    for start in range(0, adata.n_obs, CHUNK):
        rows = slice(start, start + CHUNK)
        x = torch.as_tensor(adata.X[rows].toarray()).to(device)
        own = batch[rows].to(device)
        tensors = {REGISTRY_KEYS.X_KEY: x, REGISTRY_KEYS.BATCH_KEY: own, REGISTRY_KEYS.LABELS_KEY: 0 * own}  # fmt: skip
        encoded = model.module.inference(**model.module._get_inference_input(tensors))
        encoded["z"] = encoded["qz"].loc
        inputs = model.module._get_generative_input(tensors, encoded)
        inputs["batch_index"] = torch.ones_like(own)
        out[rows] = model.module.generative(**inputs)["px"].mean.cpu().numpy()
    return out


def grouped(model: SCVI, adata: AnnData) -> pd.DataFrame:
    """Group means before and after, by scvi-tools and pandas."""
    before = model.get_normalized_expression(library_size=1e4)
    after = model.get_normalized_expression(transform_batch="b01", library_size=1e4)
    of_cell = adata.obs["group"].to_numpy()
    return np.log2(after.groupby(of_cell).mean() / before.groupby(of_cell).mean())


def costs(options: argparse.Namespace) -> list[Row]:
    """Seconds of every way, by turns."""
    adata = cells(options.cells)
    scvi = model_of("scvi-tools", adata.copy(), options.device)
    mine = model_of("betascvi", adata, options.device)
    by_group = bs.tl.GroupStatistics("group")
    ways: dict[str, dict[str, Callable[[], Any]]] = {
        "dense": {
            "betascvi": lambda: ours(mine, adata, "b01"),
            "bare network": lambda: bare(mine, adata),
            "scvi-tools": lambda: theirs(scvi, "b01"),
        },
        "ten": {
            "betascvi": lambda: [ours(mine, adata, level) for level in TARGETS],
            "scvi-tools": lambda: [theirs(scvi, level) for level in TARGETS],
        },
        "averaged": {
            "betascvi": lambda: ours(mine, adata, dict.fromkeys(TARGETS, 1.0)),
            "scvi-tools": lambda: theirs(scvi, TARGETS),
        },
        "statistics": {
            "betascvi": lambda: ours(mine, adata, "b01", output=by_group, store="memory"),
            "scvi-tools": lambda: grouped(scvi, adata),
        },
    }
    return [_timed(part, ways[part], options) for part in ways if part in options.parts]


def _timed(part: str, ways: dict[str, Callable[[], Any]], options: argparse.Namespace) -> Row:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.repeats + 1):
        for name, work in ways.items():
            start = clock(options.device)
            work()
            if turn:  # the first one loads kernels and fills caches
                seconds[name].append(clock(options.device) - start)
    found = {name: median(values) for name, values in seconds.items()}
    row = {"part": part, "cells": options.cells, **found}
    if "bare network" in found:
        row["over the bare network"] = found["betascvi"] / found["bare network"]
    return {**row, "times as fast": found["scvi-tools"] / found["betascvi"]}


def memories(options: argparse.Namespace) -> list[Row]:
    """MiB above the loaded data, each in a process of its own."""
    rows = []
    for n in (2_000,) if options.quick else (20_000, 200_000):
        row: Row = {"part": "memory", "cells": n}
        for way in ("statistics", "zarr"):
            command = [sys.executable, "-m", "benchmarks.counterfactual_speed", "--peak-of", way,
                       "--cells", str(n), "--device", options.device]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            row[f"{way}, MiB"] = float(done.stdout.strip().splitlines()[-1])
        rows.append(row)
    return rows


def _peak(way: str, options: argparse.Namespace) -> float:
    adata = cells(options.cells)
    mine = model_of("betascvi", adata, options.device)
    ours(mine, adata, "b01", indices=np.arange(CHUNK))  # libraries and kernels are loaded
    ctypes.CDLL(None).malloc_trim(0)  # what making the counts left behind is not free to use
    Path("/proc/self/clear_refs").write_text("5")  # and its peak is not this one
    before = memory("VmRSS")
    if way == "statistics":
        ours(mine, adata, "b01", output="statistics", store="memory")
    else:
        with tempfile.TemporaryDirectory() as folder:
            ours(mine, adata, "b01", store=bs.tl.Store(f"{folder}/x.zarr", factual=False))
    return memory() - before


def main() -> None:
    """Measure, print, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("dense", "ten", "averaged", "statistics", "memory")
    parser.add_argument("--parts", nargs="+", choices=names, default=names)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cells", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peak-of", choices=("statistics", "zarr"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)  # numpy's products: a thread that waits costs time as well
    options.cells = options.cells or (1_000 if options.quick else 20_000)
    if options.peak_of:
        print(_peak(options.peak_of, options))
        return
    if options.quick:
        options.repeats = 1
    rows = costs(options)
    if "memory" in options.parts:
        rows += memories(options)
    for row in rows:
        print(json.dumps(row))
    if not options.quick:
        name = "counterfactual_speed" + ("" if options.device == "cpu" else "_cuda")
        write(name, rows, {"widths": WIDTHS, "genes": N_GENES, "density": DENSITY,
                           "threads": options.threads, "repeats": options.repeats})  # fmt: skip


if __name__ == "__main__":
    main()
