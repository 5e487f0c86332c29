"""Each ingredient of the additive decoder alone: ``python -m benchmarks.additive [--quick]``.

The preset for axes without labels as it was with softplus gates, and the same with one thing
changed: the decoder, how it is trained, what it is asked for, and rotations of its axes
afterwards. Only data sets that settings may be chosen on are read (``chosen_on`` in
``benchmarks.unsupervised``). Runs are kept one by one in ``.benchmark_runs/additive``; differences
are paired by data set and seed.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import betascvi as bs
from benchmarks import _record
from benchmarks._additive_variants import BASE, VARIANTS, embed, paired
from benchmarks._unsupervised_scores import scores_of
from benchmarks.unsupervised import DATA, cells_of, folder_of, kept, recall

RUNS = _record.RUNS / "additive"
CHOSEN_ON = [name for name, source in DATA.items() if source.chosen_on]
SHOWN = ["LMS-SMI", "LMS-SPN", "MSGS-SMI", "held_out_nll"]


def rotate(folder: Path, kind: str) -> None:
    """Keep the scores of a base's axes, turned after training, beside its run."""
    row = json.loads((folder / "row.json").read_text())
    name, seed, method = row["data"], row["seed"], f"{BASE}, then {kind}"
    to = folder_of(RUNS, name, method, seed, row["epochs"]) / "row.json"
    if to.exists():
        return
    labels = cells_of(name).obs[list(DATA[name].labels)].apply(lambda c: c.astype("category"))
    z = np.load(folder / "z.npy").astype(np.float64)
    turned = bs.tl.rotate(z[:, z.std(0) > 0], kind, seed=seed).z
    kept_as_is = {k: row[k] for k in ("data", "seed", "epochs", "held_out_nll", "seconds")}
    _record.keep(to, {**kept_as_is, "method": method, **scores_of(turned, labels)})


def percent_of_base(wide: pd.DataFrame) -> pd.DataFrame:
    """Differences of log likelihoods in percent of the base's."""
    return 100 * wide.div(wide[BASE].abs(), axis=0)


def tables(rows: list[dict[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Means by data set and variant; paired differences over all of them."""
    frame = pd.DataFrame(rows)
    means = frame.groupby(["data", "method"], sort=False)[[*SHOWN, "seconds"]].mean()
    rng = np.random.default_rng(0)
    parts = []
    for score in SHOWN:
        wide = frame.pivot_table(index=["data", "seed"], columns="method", values=score, sort=False)
        wide = percent_of_base(wide) if score == "held_out_nll" else wide
        parts.append(paired(wide, "held-out NLL, %" if score == "held_out_nll" else score, rng))
    return means.reset_index(), pd.concat(parts, ignore_index=True)


def main() -> None:
    """Run what is missing, print the tables, write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", nargs="+", choices=CHOSEN_ON, default=CHOSEN_ON)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=200)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "betascvi"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if options.quick:
        rows = [kept(RUNS, embed(v), "simulated", v, 0, 4, quick=True)
                for v in (BASE, "logits add")]  # fmt: skip
        print(pd.DataFrame(rows)[["method", *SHOWN]].round(3).to_string(index=False))
        return
    recall("additive", RUNS)
    names = dict.fromkeys([BASE, *options.variants])
    for seed in options.seeds:
        for variant in names:
            for name in options.data:
                row = kept(RUNS, embed(variant), name, variant, seed, options.epochs)
                print(name, variant, seed, {k: round(row[k], 3) for k in SHOWN}, flush=True)
    for axes in RUNS.glob(f"*/{BASE.replace(' ', '_')}-*/z.npy"):
        for kind in ("ica", "varimax"):
            rotate(axes.parent, kind)
    rows = [json.loads(path.read_text()) for path in sorted(RUNS.glob("*/*/row.json"))]
    means, differences = tables(rows)
    print(means.round(3).to_string(index=False), differences.round(3).to_string(), sep="\n")
    settings = {"epochs": options.epochs, "differences": json.loads(differences.to_json(orient="records"))}  # fmt: skip
    _record.write("additive", rows, settings)


if __name__ == "__main__":
    main()
