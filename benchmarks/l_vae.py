"""What L-VAE does on counts: ``python -m benchmarks.l_vae [part ...] [--quick]``.

``law``       beta_hat against the root of a L_R / (KL + epsilon) at the end of training, three
              data sets, three seeds; what a keeps axes alive
``ablation``  one sigma an axis; no sum of squares; learned beta against the same beta held fixed,
              replayed as it came, and shuffled in time: paired differences of the held-out ELBO
``alarms``    the four signatures provoked, and false alarms in fifty short live runs

Every run is one file under ``.benchmark_runs/l_vae``; a run that is there is not repeated. Tables
go to ``benchmarks/results/l_vae.json``. The real sets are read from BETASCVI_DATA and left out,
and said, where that is not set. ``--quick`` (one seed, few steps) writes nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy import stats

from benchmarks._l_vae_runs import N_STEPS, Row, Run, describe, result_of
from benchmarks._record import RESULTS, write
from betascvi.objectives import LVAE, BetaVAE
from betascvi.schedules import Staged

SIMULATED, REAL = "simulated", ("kang_pbmc_annotated", "fucci_ipsc_101genes")
LAW_SCALES = (1.0, 10.0, 100.0)
MORE_SCALES = (30.0, 300.0)
DEFAULT = LVAE()
N_SHORT_RUNS, SHORT_STEPS = 50, 150


def law(data: Sequence[str], seeds: Sequence[int], n_steps: int) -> list[Row]:
    """One row a run, and one that sums up the law over live runs."""
    runs = [
        Run(name, LVAE(scale=scale), seed, n_steps)
        for seed in seeds
        for scale in (*LAW_SCALES, *MORE_SCALES)
        for name in data
        if scale in LAW_SCALES or seed == seeds[0]
    ]
    rows = [describe(run) for run in runs]
    live = [row for row in rows if row["live_axes"] > 0]
    worst = max((abs(row["off_by"]) for row in live), default=float("nan"))
    settled = [abs(row["off_by"]) for row in live if row["state"] == "converged"]
    return [
        *rows,
        {
            "data": "all",
            "n_live": len(live),
            "n_collapsed": len(rows) - len(live),
            "worst": worst,
            "n_converged": len(settled),
            "converged_within_1_percent": sum(off <= 0.01 for off in settled),
            "worst_converged": max(settled, default=float("nan")),
        },
    ]


def ablation(data: Sequence[str], seeds: Sequence[int], n_steps: int) -> list[Row]:
    """Arms against the learned weight at the default scale, paired by seed."""
    rows = []
    for name in data:
        arms: dict[str, list[Row]] = {}
        for seed in seeds:
            for arm, run in _arms(Run(name, DEFAULT, seed, n_steps)):
                arms.setdefault(arm, []).append(describe(run))
        rows += [_compared(name, arm, found, arms["learned"]) for arm, found in arms.items()]
    return rows


def _arms(learned: Run) -> Iterable[tuple[str, Run]]:
    course = result_of(learned)["history"]["realised_beta"]
    order = np.random.default_rng(learned.seed).permutation(len(course))
    at = np.arange(len(course)) / len(course)
    return (
        ("learned", learned),
        ("one sigma an axis", replace(learned, objective=LVAE(per_axis=True))),
        ("no sum of squares", replace(learned, objective=replace(DEFAULT, sum_of_squares=False))),
        ("as published: a = 1, epsilon = 0", replace(learned, objective=LVAE(1.0, epsilon=0.0))),
        ("final beta, fixed", replace(learned, objective=BetaVAE(beta=course[-1]))),
        ("beta replayed", replace(learned, objective=_replayed(at, course))),
        ("beta shuffled in time", replace(learned, objective=_replayed(at, np.array(course)[order]))),
        ("beta = 1", replace(learned, objective=BetaVAE())),
    )  # fmt: skip


def _replayed(at: np.ndarray, course: Sequence[float] | np.ndarray) -> BetaVAE:
    return BetaVAE(beta=Staged(tuple(zip(at.tolist(), map(float, course), strict=True))))


def _compared(data: str, arm: str, rows: Sequence[Row], learned: Sequence[Row]) -> Row:
    gain = np.array(
        [a["held_out_elbo"] - b["held_out_elbo"] for a, b in zip(rows, learned, strict=True)]
    )
    half = stats.t.ppf(0.975, len(gain) - 1) * stats.sem(gain) if len(gain) > 1 else float("nan")
    columns = ("kl", "reconstruction", "live_axes", "held_out_elbo", "realised_beta", "sigma0")
    means = {c: float(np.mean([row[c] for row in rows])) for c in columns if c in rows[0]}
    states = sorted(
        {s for row in rows for s in (row.get("state"), *row.get("signatures", ())) if s}
    )
    return {
        "data": data,
        "arm": arm,
        **means,
        "gain_over_learned": float(gain.mean()),
        "gain_95": [float(gain.mean() - half), float(gain.mean() + half)],
        "said": states,
    }


def alarms(data: Sequence[str], seeds: Sequence[int], n_steps: int) -> list[Row]:  # noqa: ARG001
    """Signatures provoked one by one, then a count of alarms where nothing is wrong."""
    base = Run(SIMULATED, DEFAULT, 0, n_steps)
    provoked = {
        "sigma_explodes": replace(base, objective=replace(DEFAULT, sum_of_squares=False)),
        "sigma_vanishes": replace(base, objective=LVAE(scale=1.0, epsilon=0.0)),
        "sigma1_stuck": replace(base, plan_kwargs={"state_lr": 0.0}),
        "poor_reconstruction": replace(base, objective=LVAE(scale=1.0)),
    }
    rows: list[Row] = []
    for name, run in provoked.items():
        seen = describe(run)["signatures"]
        rows.append({"provoked": name, "seen": seen, "is_detected": name in seen})
    n_short = N_SHORT_RUNS if len(seeds) > 1 else 3
    short = [describe(replace(base, seed=seed, n_steps=SHORT_STEPS)) for seed in range(n_short)]
    live = [row for row in short if row["live_axes"] > 0]
    false = sum(bool(row["signatures"]) for row in live)
    return [*rows, {"short_live_runs": len(live), "of": n_short, "false_alarms": false}]


def main() -> None:
    """Run the parts asked for; the result file keeps the tables of the others."""
    tables: dict[str, Callable[..., list[Row]]] = {
        "law": law,
        "ablation": ablation,
        "alarms": alarms,
    }
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=", ".join(tables))
    parser.add_argument("--quick", action="store_true", help="one seed, few steps, nothing written")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data = (SIMULATED, *REAL) if os.environ.get("BETASCVI_DATA") else (SIMULATED,)
    if len(data) == 1:
        print("BETASCVI_DATA is not set: the real data sets are left out.")
    seeds, n_steps = ((0,), 100) if arguments.quick else ((0, 1, 2), N_STEPS)
    kept: list[Row] = []
    path = RESULTS / "l_vae.json"
    if path.exists():
        kept = json.loads(path.read_text())["rows"]
    for name in arguments.parts or tables:
        rows: list[dict[str, Any]] = [
            {"table": name, **r} for r in tables[name](data, seeds, n_steps)
        ]
        for row in rows:
            print(row, flush=True)
        kept = [row for row in kept if row["table"] != name] + rows
        if not arguments.quick:
            write(
                "l_vae", kept, {"n_steps": n_steps, "seeds": list(seeds), "default": repr(DEFAULT)}
            )


if __name__ == "__main__":
    main()
