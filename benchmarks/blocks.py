"""What named blocks hold and what they leak: ``python -m benchmarks.blocks [--quick]``.

A third of the cells is held out and encoded from counts alone; every figure is of these cells,
whose labels no method has seen. Each run (data set, method, seed) is one file under
``.benchmark_runs/blocks`` that is not repeated: ``--data``, ``--methods`` and ``--seeds`` choose
what a sitting adds, and every sitting writes table and figure of all runs there are.

Settings were chosen on the data sets marked so in ``_blocks_sets``. ``--quick`` runs three methods
for a few epochs on a small simulated atlas and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from sklearn.metrics import mutual_info_score

import betascvi as bs
from benchmarks import _record
from benchmarks._blocks_figure import figure
from benchmarks._blocks_methods import OURS, Encoded, labels_of
from benchmarks._blocks_peers import NEED_DRVI, PEERS
from benchmarks._blocks_sets import DATA_SETS, QUICK, DataSet, factor_of, split_of
from benchmarks._blocks_supervised import score_of
from benchmarks._unsupervised_methods import HAS_DRVI
from betascvi.factors import Anchor

RUNS = _record.RUNS / "blocks"
METHODS = {**PEERS, **OURS}
PROBING = bs.tl.Probing(null="logistic", n_resamples=100)
_N_NULL = 400


def own_scores(asked: DataSet, held: AnnData, found: Encoded) -> dict[str, dict[str, float]]:
    """Anchored factor -> how well its own block reads it, the range of chance, shared bits."""
    rng, rows = np.random.default_rng(0), {}
    for name in asked.anchored:
        truth, said = labels_of(held, name), found.own[name]
        null = [score_of(rng.permutation(truth), said) for _ in range(_N_NULL)]
        rows[name] = {
            "score": score_of(truth, said),
            "null_low": float(np.quantile(null, 0.025)),
            "null_high": float(np.quantile(null, 0.975)),
        }
        if truth.dtype.kind not in "cf":
            entropy = mutual_info_score(truth, truth)
            rows[name]["information"] = float(mutual_info_score(truth, said) / entropy)
    return rows


def leaks(asked: DataSet, held: AnnData, found: Encoded) -> list[dict[str, Any]]:
    """What every block says of every factor but its own, by mean and by sample."""
    held = held.copy()
    rows = []
    for by, z in (("mean", found.mean), ("sample", found.sample)):
        if z is None:
            continue
        held.obsm[by] = z
        for block, axes in found.blocks.items():
            others = [n for n in (*asked.anchored, *asked.free) if n != block]
            frame = bs.tl.leakage(
                held, by, [factor_of(n) for n in others], blocks={block: axes}, probing=PROBING
            ).to_frame()
            kept = frame[["block", "factor", "leak", "low", "high", "probe"]]
            rows += [{"by": by, **row} for row in kept.to_dict("records")]
    return rows


def block_mig(asked: DataSet, held: AnnData, found: Encoded) -> float | None:
    """Mean over the anchored factors that have levels; None where nothing is in blocks."""
    names = [n for n in asked.anchored if n in found.blocks and isinstance(factor_of(n), str)]
    if not names:
        return None
    return float(bs.metrics.block_mig(found.mean, held.obs[names], found.blocks))


def path_of(name: str, method: str, seed: int) -> Path:
    """Where a run is kept."""
    return RUNS / name / f"{method.replace(' ', '_')}-{seed}.json"


def run(
    name: str, method: str, seed: int, *, asked: DataSet | None = None, keeps: bool = True
) -> dict[str, Any]:
    """One run, from its file where there is one."""
    path = path_of(name, method, seed)
    if keeps and path.exists():
        return dict(json.loads(path.read_text()))
    asked = asked or DATA_SETS[name]
    split = split_of(asked, seed)
    found = METHODS[method](asked, split, seed, asked.epochs)
    has_leaks = found.blocks and method != "blocks, permuted labels"
    row = {
        "data": name, "method": method, "seed": seed, "epochs": asked.epochs,
        "chosen_on": asked.chosen_on, "n_training": split.training.n_obs,
        "n_held_out": split.held_out.n_obs, "n_genes": split.training.n_vars,
        "own": own_scores(asked, split.held_out, found),
        "leaks": leaks(asked, split.held_out, found) if has_leaks else [],
        "block_mig": block_mig(asked, split.held_out, found),
        "nll": found.nll, "cpu_seconds": found.cpu_seconds, **found.about,
    }  # fmt: skip
    return _record.keep(path, row) if keeps else row


def all_rows() -> list[dict[str, Any]]:
    """Every run there is, in the order of data sets and methods."""
    found = [json.loads(path.read_text()) for path in RUNS.glob("*/*.json")]
    data, methods = list(DATA_SETS), list(METHODS)
    return sorted(
        found, key=lambda r: (data.index(r["data"]), methods.index(r["method"]), r["seed"])
    )


def tidy(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """One line a run: worst leaks, and each figure beside what it is compared to."""
    by_run = {(r["data"], r["method"], r["seed"]): r for r in rows}
    lines = []
    for row in rows:
        peers = {m: by_run.get((row["data"], m, row["seed"])) for m in ("ceiling", "scVI")}
        lines.append(_line(row, peers["ceiling"], peers["scVI"]))
    return pd.DataFrame(lines)


def _line(
    row: dict[str, Any], best: dict[str, Any] | None, peer: dict[str, Any] | None
) -> dict[str, Any]:
    anchored = set(row["own"])
    line = {name: row[name] for name in ("data", "method", "seed", "chosen_on")}
    line |= {f"own {name}": own["score"] for name, own in row["own"].items()}
    if best is not None:
        line["own / best"] = min(
            o["score"] / best["own"][n]["score"] for n, o in row["own"].items()
        )
        shared = [o["information"] for o in best["own"].values() if "information" in o]
        line["MIG / best"] = _ratio(row["block_mig"], float(np.mean(shared)) if shared else None)
    for by in ("mean", "sample"):
        for what, rows in _kinds(row, by, anchored).items():
            if rows:
                line[f"{what}, {by}"] = max(leak["leak"] for leak in rows)
    if peer is not None:
        theirs = {k["factor"]: k["leak"] for k in peer["leaks"] if k["by"] == "mean"}
        mine = [k for k in row["leaks"] if k["by"] == "mean" and k["block"] == "free"]
        # what scVI itself cannot read has no ratio
        kept = [k["leak"] / theirs[k["factor"]] for k in mine
                if k["factor"] not in anchored and theirs.get(k["factor"], 0) >= 0.2]  # fmt: skip
        line["kept / scVI"] = min(kept, default=None)
        line["NLL %"] = _ratio(row["nll"], peer["nll"], percent=True)
        line["time / scVI"] = _ratio(row["cpu_seconds"], peer["cpu_seconds"])
    return line


def _kinds(row: dict[str, Any], by: str, anchored: set[str]) -> dict[str, list[dict[str, Any]]]:
    """Leaks of the free block about anchored factors; of anchored blocks about all others."""
    some = [leak for leak in row["leaks"] if leak["by"] == by and leak["leak"] is not None]
    return {
        "free leaks": [k for k in some if k["block"] == "free" and k["factor"] in anchored],
        "blocks leak": [k for k in some if k["block"] != "free"],
    }


def _ratio(a: float | None, b: float | None, *, percent: bool = False) -> float | None:
    if a is None or b is None:
        return None
    return 100 * (a / b - 1) if percent else a / b


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds; of leaks the worst seed as well."""
    grouped = frame.groupby(["data", "method"], sort=False)
    table = grouped.mean(numeric_only=True).drop(columns=["seed", "chosen_on"])
    table.insert(0, "seeds", grouped.size())
    for name in [c for c in frame if "leak" in c]:
        table[f"{name}, worst"] = grouped[name].max()
    return table.reset_index()


def main() -> None:
    """Run what is missing, print the tables, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", nargs="+", choices=list(DATA_SETS), default=list(DATA_SETS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    for name in ("lightning.pytorch", "betascvi", "scvi"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if options.quick:
        rows = [
            run("simulated", m, 0, asked=QUICK, keeps=False) for m in ("ceiling", "scVI", "blocks")
        ]
        print(tidy(rows).T.to_string())
        return
    _record.recall("blocks", lambda r: path_of(r["data"], r["method"], r["seed"]))
    if "BETASCVI_DATA" not in os.environ:
        print("BETASCVI_DATA is not set: simulated atlases alone")
        options.data = [name for name in options.data if name.startswith("simulated")]
    if not HAS_DRVI:
        print("drvi-py is not there (BETASCVI_PEERS): its rows are left out")
        options.methods = [name for name in options.methods if name not in NEED_DRVI]
    for seed in options.seeds:
        for name in options.data:
            for method in options.methods:
                row = run(name, method, seed)
                print(name, method, seed, {n: round(o["score"], 3) for n, o in row["own"].items()},
                      flush=True)  # fmt: skip
    rows = all_rows()
    table = tidy(rows)
    print(summary(table).round(3).T.to_string())
    figure(table, list(DATA_SETS))
    default = Anchor("default")
    weights = {n: getattr(default, n) for n in ("variance", "beta", "cross_entropy", "mmd", "swap")}
    _record.write(
        "blocks", rows, {"weights": weights, "held_out": "a third", "probing": "logistic null"}
    )


if __name__ == "__main__":
    main()
