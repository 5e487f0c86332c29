"""What axes without labels cost beside DRVI's: ``python -m benchmarks.unsupervised_cost``.

Each method trains on each data set of ``benchmarks.unsupervised`` in a process of its own, turn by
turn; a training of a few cells goes first, so that loading and compiling libraries is in none of
the figures. Peak memory is that of embedding (training, latents, programs, held-out likelihood)
over what the process holds before, data and libraries, and so without the scores. Processor
seconds of the whole training are those of one epoch, plus 199 times what each of five more takes.
Ratios are DRVI's over ours of the same turn; the table has medians.

Each turn is a small file under ``.benchmark_runs``. ``--quick``: the simulated atlas, one turn.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Mapping
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from benchmarks import _record
from benchmarks._unsupervised_methods import HAS_DRVI, METHODS, Embed
from benchmarks.unsupervised import DATA, cells_of

RUNS = _record.RUNS / "unsupervised_cost"
OURS, PEER = "additive", "DRVI"
COMPARED = (OURS, "joint", "scVI", PEER)
EPOCHS = 200
_MORE = 5


def measured(name: str, method: str, turn: int, *, quick: bool = False) -> dict[str, Any]:
    """Memory and processor time of one method on one data set."""
    warnings.filterwarnings("ignore")
    adata = cells_of(name, quick=quick)
    embed = METHODS[method]
    embed(_few(adata), turn, 2)
    again = adata.copy()
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is what there is now
    before = _record.memory("VmRSS")
    several = _seconds(embed, adata, turn, 1 + _MORE)
    peak = _record.memory() - before
    one = _seconds(embed, again, turn, 1)
    an_epoch = (several - one) / _MORE
    return {
        "data": name, "method": method, "turn": turn, "cells": adata.n_obs, "genes": adata.n_vars,
        "peak_mb": peak, "seconds_an_epoch": an_epoch, "seconds": one + (EPOCHS - 1) * an_epoch,
    }  # fmt: skip


def _seconds(embed: Embed, adata: AnnData, seed: int, epochs: int) -> float:
    start = time.process_time()
    embed(adata, seed, epochs)
    return time.process_time() - start


def _few(adata: AnnData) -> AnnData:
    """Some cells and genes, each of which has counts."""
    some = adata[:200, :100].copy()
    return some[np.asarray(some.layers["counts"].sum(1)).ravel() > 0].copy()


def path_of(row: Mapping[str, Any]) -> Path:
    """Where a turn is kept."""
    return RUNS / f"{row['data']}-{row['method']}-{row['turn']}.json"


def once(name: str, method: str, turn: int) -> dict[str, Any]:
    """One turn in a process of its own, from its file where there is one."""
    path = path_of({"data": name, "method": method, "turn": turn})
    if path.exists():
        return dict(json.loads(path.read_text()))
    return _record.keep(path, _alone(name, method, turn))


def _alone(*arguments: Any, **options: Any) -> dict[str, Any]:
    """Measured in a process that holds nothing of the runs before."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, arguments, options)


def table_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Medians over turns, and of the ratios to ours in the same turn."""
    frame = pd.DataFrame(rows)
    figures = ["peak_mb", "seconds_an_epoch", "seconds"]
    ours = frame[frame["method"] == OURS].set_index(["data", "turn"])[figures]
    same_turn = ours.reindex(pd.MultiIndex.from_frame(frame[["data", "turn"]]))
    ratios = frame[figures].to_numpy() / same_turn.to_numpy()
    for k, name in enumerate(("peak", "epoch", "training")):
        frame[f"{name}_over_ours"] = ratios[:, k]
    shown = [*figures, *(f"{name}_over_ours" for name in ("peak", "epoch", "training"))]
    return frame.groupby(["data", "method"], sort=False)[shown].median().reset_index()


def main() -> None:
    """Run what is missing, print the table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    parser.add_argument("--methods", nargs="+", choices=COMPARED, default=list(COMPARED))
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    if options.quick:
        rows = [_alone("simulated", method, 0, quick=True) for method in (OURS, "joint")]
        print(table_of(rows).round(2).to_string(index=False))
        return
    _record.recall("unsupervised_cost", path_of)
    methods = [m for m in options.methods if m != PEER or HAS_DRVI]
    if len(methods) < len(options.methods):
        print("drvi-py is not there: its rows are left out")
    data = [d for d in options.data if d == "simulated" or "BETASCVI_DATA" in os.environ]
    if len(data) < len(options.data):
        print("BETASCVI_DATA is not set: the simulated atlas alone")
    for turn, name, method in product(range(options.turns), data, methods):
        row = once(name, method, turn)
        print(name, method, turn, {k: round(row[k], 2) for k in ("peak_mb", "seconds")}, flush=True)
    rows = [json.loads(path.read_text()) for path in sorted(RUNS.glob("*.json"))]
    table = table_of(rows)
    print(table.round(2).to_string(index=False))
    _record.write("unsupervised_cost", rows, {"table": table.to_dict("records")})


if __name__ == "__main__":
    main()
