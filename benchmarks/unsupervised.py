"""Axes without labels, beside their peers: ``python -m benchmarks.unsupervised [--quick]``.

Each run (data set, method, seed) is a process of its own and a folder under
``.benchmark_runs/unsupervised`` that is not repeated, so the study takes as many sittings as it
needs: ``--data``, ``--methods`` and ``--seeds`` choose what a sitting adds, and every sitting
writes the table of all runs there are. In full it is five seeds of ours and of what takes seconds,
and three of the other networks; ``VARIANTS`` of ours run by name alone (``benchmarks.additive``
measures such). ``--methods DRVI --epochs 30`` gives DRVI one to three times what ours takes for 200.
Scores are drvi-py's own code where it can be imported (``BETASCVI_PEERS`` names a folder it was
installed to with ``pip install --no-deps --target``), else this package's versions of the same
scores; DRVI's rows are left out, visibly, without it.

Settings were chosen on the data sets marked so in ``DATA``, on no score of the others.
``--quick`` runs three methods for a few epochs on a small simulated atlas and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

import betascvi as bs
from benchmarks import _record
from benchmarks._paired import interval_of_mean
from benchmarks._unsupervised_methods import (
    BATCH,
    CLASSIFIER,
    HAS_DRVI,
    METHODS,
    NEED_BATCH,
    NEED_DRVI,
    TURNED,
    Embed,
    Embedded,
    classifier,
    log_counts,
    turned,
)
from benchmarks._unsupervised_scores import SCORES, distinct, known_programs, living, scores_of

RUNS = _record.RUNS / "unsupervised"
FIGURE = Path(__file__).parents[1] / "docs" / "concepts" / "figures" / "unsupervised.png"
EVERY = [*METHODS, *TURNED, CLASSIFIER]
VARIANTS = ("additive, logits", "additive, softplus gates", "additive + ICA")
NO_PRIOR = ("PCA", "ICA", "NMF", CLASSIFIER)
"""Methods whose axes are as wide as they come."""
FIVE_SEEDS = ("additive", "PCA", "ICA", "NMF", CLASSIFIER)
MOST_GENES = 2000


@dataclass(frozen=True)
class Source:
    """A data set and what it is scored on."""

    labels: tuple[str, ...]
    chosen_on: bool = False
    """Settings were chosen on it: its scores are no evidence."""
    batch: str | None = "batch"


DATA = {
    "simulated": Source(("cell_type", "condition", "batch", "donor"), chosen_on=True),
    "kang_pbmc_annotated": Source(("cell_type",), chosen_on=True, batch="donor"),
    "mixology_5cl_plates": Source(("cell_line",), chosen_on=True),
    "mouse_pancreas_e15": Source(("cell_type",), batch=None),
    "mixology_rnamix": Source(("mixture",)),
    "onek1k_subset": Source(("cell_type",)),
    "worm_l2_neurons": Source(("cell_type",)),
    "worm_embryo_neurons": Source(("cell_type",)),
    "papalexi_thp1_crispr": Source(("perturbation",)),
}


def cells_of(name: str, *, quick: bool = False) -> AnnData:
    """The data set, at most 2,000 variable genes."""
    if name == "simulated":
        depth = bs.datasets.Sequencing(counts_per_gene=1.0)
        size = (600, 200) if quick else (3000, 800)
        adata = bs.datasets.simulated_atlas(*size, seed=0, sequencing=depth)
    else:
        adata = bs.datasets.load(name)
    if DATA[name].batch is not None:
        adata.obs[BATCH] = adata.obs[DATA[name].batch]
    if adata.n_vars > MOST_GENES:
        spread = log_counts(adata).var(0)
        adata = adata[:, np.sort(np.argsort(-spread)[:MOST_GENES])].copy()
    return adata


def run(
    name: str, method: str, seed: int, epochs: int, *, quick: bool = False, alone: bool = False
) -> dict[str, Any]:
    """One run, from its folder where there is one."""
    if method in TURNED:
        return _turned_run(name, method, seed, epochs)
    labelled = partial(classifier, DATA[name].labels)
    embed = labelled if method == CLASSIFIER else METHODS[method]
    return kept(RUNS, embed, name, method, seed, epochs, quick=quick, alone=alone)


def _turned_run(name: str, method: str, seed: int, epochs: int) -> dict[str, Any]:
    """Turn the axes of the run it rests on, which is made where its axes are not there."""
    done = folder_of(RUNS, name, method, seed, epochs) / "row.json"
    if done.exists():
        return dict(json.loads(done.read_text()))
    folder = folder_of(RUNS, name, TURNED[method], seed, epochs)
    if not (folder / "z.npy").exists():
        (folder / "row.json").unlink(missing_ok=True)
    base = _alone(name, TURNED[method], seed, epochs)
    z = np.load(folder / "z.npy").astype(np.float64)
    embed = partial(_turn, z, base["held_out_nll"])
    return kept(RUNS, embed, name, method, seed, epochs)


def _turn(z: np.ndarray, nll: float | None, _adata: AnnData, seed: int, _epochs: int) -> Embedded:
    return turned(z, nll, seed)


def folder_of(runs: Path, name: str, method: str, seed: int, epochs: int) -> Path:
    """Where a run is kept."""
    return runs / name / f"{method.replace(' ', '_')}-{seed}-{epochs}"


def recall(name: str, runs: Path) -> None:
    """Finished runs of the committed table; their axes are not in it."""
    _record.recall(
        name,
        lambda r: folder_of(runs, r["data"], r["method"], r["seed"], r["epochs"]) / "row.json",
    )


def kept(
    runs: Path,
    embed: Embed,
    name: str,
    method: str,
    seed: int,
    epochs: int,
    *,
    quick: bool = False,
    alone: bool = False,
) -> dict[str, Any]:
    """One run of a method and its scores, from its folder in ``runs`` where there is one."""
    folder = folder_of(runs, name, method, seed, epochs)
    if not quick and (folder / "row.json").exists():
        return dict(json.loads((folder / "row.json").read_text()))
    adata = cells_of(name, quick=quick)
    source = DATA[name]
    start, worked = time.perf_counter(), time.process_time()
    found = embed(adata, seed, epochs)
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    labels = adata.obs[list(source.labels)].apply(lambda c: c.astype("category"))
    row = {
        "data": name, "chosen_on": source.chosen_on, "method": method, "seed": seed,
        "epochs": epochs, **scores_of(found.z.astype(np.float64), labels),
        "held_out_nll": found.held_out_nll, "seconds": seconds, "processor_seconds": worked,
        "peak_mb": _record.memory() if alone else None,
        **found.about,
        "scored_by": "drvi-py" if HAS_DRVI else "betascvi",
    }  # fmt: skip
    if name == "simulated":
        row |= known_programs(adata, found.programs, found.z.astype(np.float64))
    if not quick:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "z.npy", found.z.astype(np.float32))
        row = _record.keep(folder / "row.json", row)
    return row


def _alone(*arguments: Any) -> dict[str, Any]:
    """The run in a process of its own, so that its peak memory is its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(run, arguments, {"alone": True})


def all_rows() -> pd.DataFrame:
    """Every run there is."""
    paths = sorted(RUNS.glob("*/*/row.json"))
    return pd.DataFrame([json.loads(path.read_text()) | _copies(path) for path in paths])


def _copies(path: Path) -> dict[str, float]:
    """Share of axes that are copies, and LMS-SMI with one of each: kept beside the run."""
    kept = path.with_name("copies.json")
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    row = json.loads(path.read_text())
    if "copies" in row:  # of the committed table
        return {}
    z = np.load(path.with_name("z.npy")).astype(np.float64)
    kinds = distinct(z)
    found = {"copies": 1.0 - len(kinds) / max(len(living(z)), 1), "LMS-SMI merged": row["LMS-SMI"]}
    if found["copies"] > 0.0:
        labels = cells_of(row["data"]).obs[list(DATA[row["data"]].labels)]
        axes = (
            z[:, kinds] if len(kinds) > 1 else np.pad(z[:, kinds], [(0, 0), (0, 1)])
        )  # drvi-py takes two
        merged = scores_of(axes, labels.apply(lambda c: c.astype("category")))
        found["LMS-SMI merged"] = merged["LMS-SMI"]
    _record.write_json(kept, found)
    return found


def agreement(epochs: int) -> list[dict[str, Any]]:
    """Stability over seeds of every method with two runs or more.

    Axes of a network that the prior has taken are left out, as ``bs.tl.stability`` does with
    models; ``with_vanished`` counts them. Where the committed table had more runs than have their
    axes here, its figures stay.
    """
    table = _record.RESULTS / "unsupervised.json"
    earlier = json.loads(table.read_text())["settings"]["stability"] if table.exists() else []
    before = {(row["data"], row["method"]): row for row in earlier}
    rows = []
    for name in DATA:
        for method in EVERY:
            pattern = f"{name}/{method.replace(' ', '_')}-[0-9]*-{epochs}/z.npy"
            runs = [np.load(path) for path in sorted(RUNS.glob(pattern))]
            known = before.get((name, method), {"runs": 1})
            if known["runs"] > max(len(runs), 1):
                rows.append(known)
            elif len(runs) > 1:
                alive = runs if method in NO_PRIOR else [z[:, living(z)] for z in runs]
                found = bs.tl.stability(alive)
                rows.append({"data": name, "method": method, "runs": len(runs),
                             "stability": float(found), "udr": found.udr,
                             "with_vanished": float(bs.tl.stability(runs))})  # fmt: skip
    return rows


def against(frame: pd.DataFrame, peer: str = "DRVI", score: str = "LMS-SMI") -> pd.DataFrame:
    """Ours over a peer's, paired by data set and seed; every data set weighs the same."""
    wide = frame.pivot_table(index=["data", "seed"], columns="method", values=score)
    if peer not in wide or "additive" not in wide:
        return pd.DataFrame()
    pairs = wide[["additive", peer]].dropna()
    ratio = np.log(pairs["additive"] / pairs[peer])
    of_sets = [of_set.to_numpy() for _, of_set in ratio.groupby(level="data")]
    low, high = np.exp(interval_of_mean(of_sets))
    mean = np.exp(np.mean([of_set.mean() for of_set in of_sets]))
    row = {"score": score, "peer": peer, "data sets": len(of_sets), "pairs": len(ratio)}
    return pd.DataFrame([row | {"ratio": mean, "low": low, "high": high}])


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean and spread over seeds."""
    shown = [*SCORES, "DCI-D", "DCI-C", "MIG", "held_out_nll", "seconds", "processor_seconds", "peak_mb",
             "axes_alive", "copies", "LMS-SMI merged", "programs_matched", "program_r", "markers_matched",
             "marker_r"]  # fmt: skip
    shown = [name for name in shown if name in frame]
    grouped = frame.groupby(["data", "method", "epochs"], sort=False)
    table = grouped[shown].mean()
    table["LMS-SMI sd"] = grouped["LMS-SMI"].std()
    table.insert(0, "seeds", grouped.size())
    return table.reset_index()


def figure(frame: pd.DataFrame) -> None:
    """One dot a run: the share of each label that one axis of its own tells."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in DATA if name in set(frame["data"])]
    methods = [m for m in EVERY if m in set(frame["method"])]
    n_rows = -(-len(names) // 3)
    figure, axes = plt.subplots(n_rows, min(len(names), 3), sharey=True, sharex=True, squeeze=False,
                                figsize=(10, n_rows * (0.2 * len(methods) + 0.7)), layout="constrained")  # fmt: skip
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    for ax, name in zip(axes.flat, names, strict=False):
        for y, method in enumerate(reversed(methods)):
            x = frame.loc[(frame["data"] == name) & (frame["method"] == method), "LMS-SMI"]
            colour = "#0072b2" if method == "additive" else "#8a8a8a"
            ax.scatter(x, np.full(len(x), y), color=colour, s=22, alpha=0.8, lw=0)
        ax.set_title(name + (" *" if DATA[name].chosen_on else ""), size=9, loc="left")
        ax.grid(alpha=0.25, lw=0.5)
        ax.set(xlim=(0, 1.02))
        ax.set_yticks(range(len(methods)), list(reversed(methods)), fontsize=8)
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.supxlabel(
        "share of a label that one axis of its own tells (LMS-SMI), a dot a run; * settings were chosen on it",
        size=9,
    )
    figure.savefig(FIGURE, dpi=110)


def wanted(options: argparse.Namespace) -> list[tuple[str, str, int]]:
    """Runs of this sitting; what cannot run here is left out, visibly."""
    data, methods = options.data, options.methods
    if "BETASCVI_DATA" not in os.environ:
        print("BETASCVI_DATA is not set: the simulated atlas alone")
        data = [name for name in data if name == "simulated"]
    if not HAS_DRVI:
        print("drvi-py is not there: its rows are left out, scores are our versions")
        methods = [name for name in methods if name not in NEED_DRVI]
    found = [(d, m, s) for d in data for m in methods for s in seeds_of(m, options)]
    every = sorted(found, key=lambda r: r[2])  # a first seed of everything, then a second
    return [r for r in every if DATA[r[0]].batch is not None or r[1] not in NEED_BATCH]


def seeds_of(method: str, options: argparse.Namespace) -> Sequence[int]:
    """Those asked for; else five, or three of what is slow and of ours in other settings."""
    return options.seeds or range(5 if method in FIVE_SEEDS else 3)


def main() -> None:
    """Run what is missing, print the tables, write result and figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", nargs="+", choices=list(DATA), default=list(DATA))
    in_full = [name for name in EVERY if name not in VARIANTS]
    parser.add_argument("--methods", nargs="+", choices=EVERY, default=in_full)
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--together", action="store_true", help="one process; no peak memory")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "betascvi"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if options.quick:
        rows = [run("simulated", m, 0, 5, quick=True) for m in ("additive", "joint", "PCA")]
        print(summary(pd.DataFrame(rows)).round(3).to_string(index=False))
        return
    recall("unsupervised", RUNS)
    for name, method, seed in wanted(options):
        one = run if options.together or method in TURNED else _alone
        row = one(name, method, seed, options.epochs)
        print(name, method, seed, {k: round(row[k], 3) for k in (*SCORES, "seconds")}, flush=True)
    frame = all_rows()
    print(summary(frame).round(3).to_string(index=False))
    stable, equal = agreement(options.epochs), frame[frame["epochs"] == options.epochs]
    versus = [r for p in ("DRVI", "ICA", "scVI") for s in (*SCORES[:3], "LMS-SMI merged")
              for r in against(equal, p, s).to_dict("records")]  # fmt: skip
    print(pd.DataFrame(stable).round(3).to_string(), pd.DataFrame(versus).round(3), sep="\n")
    rows = json.loads(frame.to_json(orient="records"))
    _record.write("unsupervised", rows, {"stability": stable, "against": versus,
                                         "n_axes": 32, "most_genes": MOST_GENES})  # fmt: skip
    figure(equal)


if __name__ == "__main__":
    main()
