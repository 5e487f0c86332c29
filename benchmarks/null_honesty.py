"""Are nulls uniform and intervals honest? ``python -m benchmarks.null_honesty``.

Three questions about ``tl.score_disentanglement`` and ``tl.leakage``:

1. on random embeddings, are the permutation p-values uniform (Kolmogorov-Smirnov)?
2. do nominal 95 % intervals hold the expected score at that number of cells? The simulated
   atlas, embedded once by PCA, is the population; every repeat is a fresh draw of cells;
3. what does the best of four probes read out of noise, and what is left with the probe chosen
   on the other folds and the null subtracted?

Every repeat is a small file under ``.benchmark_runs``: a run that was stopped goes on where it
was, and ``--parts`` runs some of them. ``--quick`` does two repeats of each and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from joblib import Parallel, delayed
from scipy.stats import kstest
from sklearn.decomposition import PCA

import betascvi as bs
from benchmarks._record import RESULTS, RUNS, write
from betascvi.tl import Budget, Probing
from betascvi.tl._leak import cross_read, figure_of, folds_of
from betascvi.tl._probes import PROBES, Target

RESULT = RESULTS / "null_honesty.json"
ENDS = ("value", "low", "high")
COUNTED, FITTED = ["mig", "modularity"], ["dci", "sap", "explicitness", "condition_prediction"]
Row = dict[str, float]
PHASE = bs.Factor("phase_angle", kind="circular")


def random_cells(seed: int, n_cells: int = 400, n_axes: int = 6, n_donors: int = 8) -> AnnData:
    """An embedding that knows nothing, beside factors of three kinds."""
    rng = np.random.default_rng(seed)
    obs = pd.DataFrame(
        {
            "condition": pd.Categorical.from_codes(rng.integers(0, 2, n_cells), ["a", "b"]),
            "donor": pd.Categorical.from_codes(
                rng.integers(0, n_donors, n_cells), list("abcdefgh")[:n_donors]
            ),
            "depth": rng.gamma(2.0, size=n_cells),
            "phase_angle": rng.uniform(0, 2 * np.pi, n_cells),
        },
        index=[f"c{i}" for i in range(n_cells)],
    )
    adata = AnnData(obs=obs)
    adata.obsm["X"] = rng.normal(size=(n_cells, n_axes))
    return adata


def p_values(seed: int, metrics: list[str], n_cells: int) -> Row:
    """p-value of every figure on one random embedding."""
    budget = Budget(n_null=100, n_resamples=0, n_null_fitted=20, n_resamples_fitted=0, n_jobs=1)
    if metrics == COUNTED:
        adata, keys = random_cells(seed, n_cells), ["condition", "donor", "depth", PHASE]
    else:  # a fit for every permutation: less of everything
        adata = random_cells(seed, n_cells, n_axes=4, n_donors=3)
        keys = ["condition", "donor"]
    table = bs.tl.score_disentanglement(adata, "X", keys, metrics=metrics, seed=seed, budget=budget)
    return {f"{r.metric} {r.part} {r.factor}": float(r.p_value or 0) for r in table.rows}


def leak_p_values(seed: int, null: Literal["logistic", "all"], n_cells: int) -> Row:
    """p-value and size of leaks of noise."""
    record = bs.tl.leakage(
        random_cells(seed, n_cells), "X", ["condition", "donor", PHASE], seed=seed,
        probing=Probing(null=null, n_resamples=20),
    )  # fmt: skip
    found = {}
    for leak in record.leaks:
        if leak.reading is not None:
            found[f"p {leak.factor}"] = leak.reading.p_value
            found[f"leak {leak.factor}"] = leak.reading.leak
    return found


def best_of_four(seed: int, n_cells: int) -> Row:
    """What is read of a two-level factor out of noise, before any null is subtracted."""
    adata, rng = random_cells(seed, n_cells), np.random.default_rng(seed)
    codes = adata.obs["condition"].cat.codes.to_numpy().astype(int)
    target = Target("categorical", codes, np.arange(n_cells))
    folds, z = folds_of(target, 5, rng), adata.obsm["X"]
    single = {p: figure_of(cross_read(z, target, folds, [p], 0)[0], target) for p in PROBES}
    chosen = figure_of(cross_read(z, target, folds, list(PROBES), 0)[0], target)
    return {**single, "largest of four": max(single.values()), "chosen on other folds": chosen}


def uniformity(rows: list[Row]) -> dict[str, dict[str, float]]:
    """KS p-value against uniform, and the share at or below 0.05."""
    frame = pd.DataFrame(rows)
    result = {}
    for name in frame:
        # (1 + k) / (1 + n) is uniform on a grid: spread each value over its own step.
        step = 1 / (101 if name.split()[0] in COUNTED else 21)
        spread = frame[name] - step * np.random.default_rng(0).random(len(frame))
        result[str(name)] = {
            "ks_p": float(kstest(spread, "uniform").pvalue),
            "share_below_0.05": float((frame[name] <= 0.05).mean()),
        }
    return result


@cache
def population(n_cells: int = 20_000) -> AnnData:
    """The simulated atlas, embedded once."""
    atlas = bs.datasets.simulated_atlas(n_cells=n_cells, n_genes=100, design="correlated", seed=0)
    counts = atlas.X.toarray()
    log = np.log1p(counts / counts.sum(1, keepdims=True) * np.median(counts.sum(1)))
    embedded = AnnData(obs=atlas.obs)
    embedded.obsm["X"] = PCA(8, random_state=0).fit_transform(log)
    return embedded


def fresh(seed: int, n_cells: int = 800) -> AnnData:
    """A fresh draw of cells."""
    cells = population()
    return cells[np.random.default_rng(seed).choice(cells.n_obs, n_cells, replace=False)].copy()


def fresh_scores(seed: int, metrics: list[str], n_cells: int) -> Row:
    """Value and interval of every figure of a fresh draw."""
    budget = Budget(n_null=0, n_null_fitted=0, n_jobs=1)
    keys = ["cell_type", "condition", "batch", PHASE]
    table = bs.tl.score_disentanglement(
        fresh(seed, n_cells), "X", keys, metrics=metrics, seed=seed, budget=budget
    )
    named = {f"{r.metric} {r.part} {r.factor}": r for r in table.rows if not r.reason}
    return {f"{n}|{k}": getattr(r, k) for n, r in named.items() for k in ENDS}


def fresh_leaks(seed: int) -> Row:
    """Leaks of a fresh draw; its last four axes stand for a free block."""
    frame = bs.tl.leakage(
        fresh(seed), "X", ["condition", "cell_type", PHASE], blocks={"last": slice(4, 8)},
        seed=seed, probing=Probing(null="logistic"),
    ).to_frame()  # fmt: skip
    frame = frame.assign(value=frame["leak"]).set_index("factor")
    return {f"leak {n}|{k}": float(frame.loc[n, k]) for n in frame.index for k in ENDS}


def coverage(rows: list[Row]) -> dict[str, Row]:
    """How many intervals hold the mean over all draws."""
    frame = pd.DataFrame(rows)
    frame.columns = pd.MultiIndex.from_tuples([tuple(c.split("|")) for c in frame.columns])
    result = {}
    for name in frame.columns.levels[0]:
        draws = frame[name]
        expected = draws["value"].mean()
        held = (draws["low"] <= expected) & (expected <= draws["high"])
        result[str(name)] = {
            "coverage": float(held.mean()),
            "expected": float(expected),
            "sd_over_draws": float(draws["value"].std()),
            "mean_half_width": float((draws["high"] - draws["low"]).mean() / 2),
        }
    return result


def spread(rows: list[Row]) -> dict[str, Row]:
    """Mean and standard deviation of each column."""
    frame = pd.DataFrame(rows)
    return {str(c): {"mean": float(frame[c].mean()), "sd": float(frame[c].std())} for c in frame}


def leak_nulls(rows: list[Row]) -> dict[str, Row]:
    """p-values of leaks of noise against uniform, and the mean leak."""
    frame = pd.DataFrame(rows)
    p = uniformity(frame.filter(like="p ").to_dict("records"))
    return p | spread(frame.filter(like="leak ").to_dict("records"))


PARTS: dict[str, tuple[Callable[[int], Row], int, Callable[[list[Row]], Any]]] = {
    "p_values_counted": (partial(p_values, metrics=COUNTED, n_cells=400), 200, uniformity),
    "coverage_counted": (partial(fresh_scores, metrics=COUNTED, n_cells=800), 200, coverage),
    "p_values_fitted": (partial(p_values, metrics=FITTED, n_cells=200), 200, uniformity),
    "coverage_fitted": (partial(fresh_scores, metrics=FITTED, n_cells=400), 80, coverage),
    "leak_null_logistic": (partial(leak_p_values, null="logistic", n_cells=400), 200, leak_nulls),
    "leak_null_all": (partial(leak_p_values, null="all", n_cells=400), 40, leak_nulls),
    "leak_coverage": (fresh_leaks, 60, coverage),
    "noise_400": (partial(best_of_four, n_cells=400), 100, spread),
    "noise_1200": (partial(best_of_four, n_cells=1200), 40, spread),
}


def one(part: str, seed: int) -> Row:
    """One repeat, from its file where there is one."""
    path = RUNS / "null_honesty" / part / f"{seed}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = PARTS[part][0](seed)
        half = path.with_suffix(".half")
        half.write_text(json.dumps(found))
        half.rename(path)
    return dict(json.loads(path.read_text()))


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two repeats of each part")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    for part in options.parts:
        ask, n, summary = PARTS[part]
        if options.quick:
            print(part, json.dumps(summary([ask(seed) for seed in range(2)])))
            continue
        run = Parallel(n_jobs=options.jobs)
        repeat = import_module("benchmarks.null_honesty").one  # other processes have no __main__
        summed = summary(run(delayed(repeat)(part, s) for s in range(n)))
        rows = [{"part": part, "repeats": n, "figure": f, **row} for f, row in summed.items()]
        before = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
        write("null_honesty", [row for row in before if row["part"] != part] + rows, {})
        print("\n".join(json.dumps(row) for row in rows), flush=True)


if __name__ == "__main__":
    main()
