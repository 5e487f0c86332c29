"""Cells of a group in a condition it was never seen in: ``python -m benchmarks.counterfactual``.

One group's target cells are left out, for every group; they are predicted from the control cells
of the same group. Every method is scored on gene means of log1p counts per 10,000 over *drawn*
counts at each cell's own library size; columns ``expected_...`` are the same from expectations,
which Jensen's inequality holds low. On the simulated atlas the exact counterfactual is known:
correlation of the change of log expression per cell, its error against that of a model trained
with the held-out cells, and the coverage of nominal 90 % intervals of group log-fold changes.

Rows of one fitted model, by where the counts come from:

- ``ours (...)``: drawn from the predictive likelihood, as those of scvi-tools' models are;
- ``..., drawn, calibrated``: the same, with what the model misses of the groups that training saw
  in both conditions (``calibrate_by="group"``);
- ``..., carried``: the counts of the control cells themselves, carried over (``output="carried"``);
- ``..., calibrated``: carried over, and calibrated.

The second table pairs each of our rows with the best baseline of that score, split by
split; a baseline is any method without a model, whose best may be another one for each score.
``shifts weighted by the answer`` reads the held-out cells: the sum of the seen groups' shifts that is
nearest to them, to tell what a method misses from what the groups that were seen do not hold.

Without ``--methods`` a data set has our rows of the effects that ``DATA_SETS`` names for it (drawn
counts of the first of them), three seeds; models of scvi-tools have two, methods without training
one. Drawn counts of other effects and scVI's carried ones are variants, run when asked for.

Each run (data set, split, method, seed) is a small file under ``.benchmark_runs``, so a run that
was stopped goes on where it was. ``--quick``: one split, one seed, few epochs, nothing kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import betascvi as bs
from benchmarks._counterfactual_methods import METHODS, PeerMissingError, Predicted
from benchmarks._counterfactual_scores import all_scores, log_per_10k
from benchmarks._counterfactual_sets import DATA_SETS, Split, splits_of
from benchmarks._paired import interval_of_mean
from benchmarks._record import RUNS, keep, recall, write
from betascvi.datasets import counterfactual_truth

PEERS = ("scVI latent shift (scGen's arithmetic)", "scVI transform_batch", "scANVI transform_batch")
CARRIED = (", carried", ", calibrated")
DRAWN = ("", ", drawn, calibrated")
BASELINES = ("no change", "mean shift", "nearest-type shift", "PCA + shift")
FLOOR = "split-half floor"
UNTRAINED = (*BASELINES, "shifts weighted by the answer", FLOOR)
TRUTH = ["delta_correlation_with_truth", "error_over_trained_with", "interval_coverage"]
SHOWN = ["r2_all", "r2_top100", "delta_all", "delta_top20", "e_distance", "variance_r2", *TRUTH]


def run(split: Split, method: str, seed: int, epochs: int) -> dict[str, Any]:
    """All scores of one method on one split."""
    predicted = METHODS[method](split, seed, epochs)
    target = log_per_10k(split.adata[split.held_out].X)
    if method == FLOOR:
        half = np.random.default_rng(seed).permutation(len(target))[len(target) // 2 :]
        target = target[half]
    control = log_per_10k(split.adata[split.start].X)
    scores = all_scores(predicted.drawn, predicted.expected, control, target, seed)
    has_truth = "betascvi_truth" in split.adata.uns
    if has_truth and method.startswith("ours") and not method.endswith("carried"):
        scores |= _against_truth(split, predicted, method, seed, epochs)
    return scores


def _against_truth(
    split: Split, predicted: Predicted, method: str, seed: int, epochs: int
) -> dict[str, float]:
    """Exact scores, and those of the same method when nothing is held out."""
    with_cells = METHODS[method](nothing_held_out(split), seed, epochs).fitted
    by = "group" if method.endswith("calibrated") else None
    ours, theirs = (_delta(m, split, by) for m in (predicted.fitted, with_cells))
    low_high = _intervals(predicted.fitted, split, by)
    truth = _true_delta(split)
    error = [float(np.sqrt(((found - truth) ** 2).mean())) for found in (ours, theirs)]
    return {
        "delta_correlation_with_truth": float(np.corrcoef(ours.ravel(), truth.ravel())[0, 1]),
        "error_over_trained_with": error[0] / error[1],
        "interval_coverage": low_high,
    }


@lru_cache(maxsize=1)
def nothing_held_out(split: Split) -> Split:
    """The same cells, all of them for training."""
    return replace(split, held_out=np.zeros_like(split.held_out))


def _true_delta(split: Split) -> np.ndarray:
    start = split.adata[split.start]
    before = counterfactual_truth(start, {}, library_size=1e4)
    after = counterfactual_truth(start, {"condition": split.target}, library_size=1e4)
    return np.asarray(_logged(after) - _logged(before))


def _delta(model: bs.BetaSCVI, split: Split, by: str | None) -> np.ndarray:
    found = _quietly(model, split, "mean", by).to_anndata()
    return np.asarray(_logged(found.X) - _logged(found.layers["factual"]))


def _logged(expected: np.ndarray) -> np.ndarray:
    return np.log1p(1e4 * expected / expected.sum(1, keepdims=True))


def _intervals(model: bs.BetaSCVI, split: Split, by: str | None) -> float:
    """Share of genes whose interval holds the true log2-fold change of the group."""
    table = _quietly(model, split, bs.tl.GroupStatistics("group"), by).to_frame()
    start = split.adata[split.start]
    means = [
        (1e4 * e / e.sum(1, keepdims=True)).mean(0)
        for e in (
            counterfactual_truth(start, changes, library_size=1e4)
            for changes in ({}, {"condition": split.target})
        )
    ]
    truth = np.log2(means[1] / means[0])
    return float(((table["low"] <= truth) & (truth <= table["high"])).mean())


def _quietly(model: bs.BetaSCVI, split: Split, output: Any, by: str | None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # never seen together: that is the question
        start = split.adata[split.start].copy()
        changes = {"condition": split.target}
        return bs.tl.counterfactual(model, start, changes, output=output, calibrate_by=by)


def path_of(name: str, split: str, method: str, seed: int, epochs: int) -> Path:
    """Where a run is kept."""
    words = f"{name}-{split}-{method}-{seed}-{epochs}"
    return RUNS / "counterfactual" / f"{re.sub(r'[^A-Za-z0-9=_-]+', '_', words)}.json"


def once(name: str, split: Split, method: str, seed: int, options: Any) -> dict[str, Any]:
    """One run, from its file where there is one."""
    path = path_of(name, split.name, method, seed, options.epochs)
    if path.exists() and not options.quick:
        return dict(json.loads(path.read_text()))
    try:
        row = run(split, method, seed, options.epochs)
    except PeerMissingError as reason:
        print(f"skipped: {method} on {name}: {reason}")
        return {"data": name, "method": method, "skipped": str(reason)}  # may be there next time
    row = {"data": name, "split": split.name, "method": method, "seed": seed, **row}
    return row if options.quick else keep(path, row)


def rows_of(name: str) -> list[str]:
    """Methods of the full command on a data set."""
    effects = DATA_SETS[name].effects
    ours = [f"ours ({effect}){way}" for effect in effects for way in CARRIED]
    ours += [f"ours ({effects[0]}){way}" for way in DRAWN]
    return [m for m in METHODS if m in (*ours, *UNTRAINED, *PEERS)]


def runs_of(name: str, methods: list[str] | None, n_seeds: int) -> Iterator[tuple[int, str]]:
    """Seeds and methods, rows of one fitted model next to one another."""
    asked = methods or rows_of(name)
    for seed in range(n_seeds):
        for method in asked:
            most = 1 if method in UNTRAINED else 2 if method in PEERS else n_seeds
            if seed < most:
                yield seed, method


def table_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Mean over splits and seeds, and the worst split."""
    frame = pd.DataFrame([row for row in rows if "skipped" not in row])
    shown = [name for name in SHOWN if name in frame]
    by = frame.groupby(["data", "method"], sort=False)
    table = by[shown].mean()
    worst = by.apply(lambda g: g.groupby("split")["r2_top100"].mean().min(), include_groups=False)
    return table.assign(worst_r2_top100=worst).round(3)


def gains_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Ours minus the best baseline over splits of both: the mean and how often it is positive.

    ``low``, ``high``: 95 % of the means over splits and seeds drawn anew; a split keeps its
    seeds together. ``of the way``: the share of the distance from that baseline to the
    split-half floor.
    """
    frame = pd.DataFrame([row for row in rows if "skipped" not in row])
    found = []
    for name, of_data in frame.groupby("data", sort=False):
        splits = of_data.groupby(["method", "split"], sort=False)[SHOWN[:4]].mean()
        runs = of_data.set_index(["method", "split"])[SHOWN[:4]]
        there = [m for m in BASELINES if m in splits.index]
        ours = [m for m in splits.index.unique("method") if m.startswith("ours")]
        if not there or FLOOR not in splits.index:
            continue
        for method, score in product(ours, SHOWN[:4]):
            best = max(there, key=lambda m: splits.loc[m, score].mean())
            gain = (splits.loc[method, score] - splits.loc[best, score]).dropna()
            each = (runs.loc[method, score] - splits.loc[best, score]).dropna()
            low, high = interval_of_mean([g.to_numpy() for _, g in each.groupby(level=0)])
            to_floor = splits.loc[FLOOR, score] - splits.loc[best, score]
            found.append({
                "data": name, "method": method, "score": score, "best baseline": best,
                "gain": gain.mean(), "low": low, "high": high, "splits above": f"{(gain > 0).sum()} of {len(gain)}",
                "of the way": gain.mean() / to_floor[gain.index].mean(),
            })  # fmt: skip
    return pd.DataFrame(found).round(3)


def all_rows(epochs: int) -> list[dict[str, Any]]:
    """Every run there is, in the order of data sets and methods."""
    paths = (RUNS / "counterfactual").glob(f"*-{epochs}.json")
    data, methods = list(DATA_SETS), list(METHODS)
    rows = [json.loads(path.read_text()) for path in paths]
    return sorted(
        rows,
        key=lambda r: (data.index(r["data"]), r["split"], methods.index(r["method"]), r["seed"]),
    )


def main() -> None:
    """Run what is missing, print and write the tables of all runs there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", nargs="+", choices=list(DATA_SETS), default=list(DATA_SETS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=150)
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("scvi").setLevel(logging.WARNING)
    if options.quick:
        options.seeds, options.epochs = 1, 2
        options.data = options.data[:1] if len(options.data) == len(DATA_SETS) else options.data
    else:
        recall(
            "counterfactual",
            lambda r: path_of(r["data"], r["split"], r["method"], r["seed"], options.epochs),
            epochs=options.epochs,
        )
    found = []
    for name in options.data:
        if name != "simulated_atlas" and not os.environ.get("BETASCVI_DATA"):
            print(f"skipped: {name}: BETASCVI_DATA is not set")
            continue
        for split in splits_of(name, quick=options.quick):
            for seed, method in runs_of(name, options.methods, options.seeds):
                found.append(once(name, split, method, seed, options))
    rows = found if options.quick else all_rows(options.epochs)
    print(table_of(rows).to_string())
    print(gains_of(rows).to_string(index=False))
    if not options.quick:
        write("counterfactual", rows, {"epochs": options.epochs})


if __name__ == "__main__":
    main()
