"""Do the metrics agree with their references, and what do they cost? ``python -m benchmarks.metrics``.

Agreement: each metric beside the definition of disentanglement_lib, written out with scikit-learn
(``_metric_references.py``), over good and bad codes of discrete and continuous factors. Speed: wall
seconds on the cores there are (OMP_NUM_THREADS caps them), data made before the clock starts.
``--quick`` takes smaller codes and stays under a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
import psutil
from anndata import AnnData

import betascvi as bs
from benchmarks import _metric_references as reference
from benchmarks import _record

MARKS = {
    "mutual information": (1e-6, 1e-6),
    "mig": (1e-6, 1e-6),
    "modularity": (1e-6, 1e-6),
    "sap, continuous": (1e-6, 1e-6),
    "sap, discrete": (0.01, 0.01),
    "explicitness": (0.005, 0.005),
    "dci, disentanglement": (0.03, 0.12),
    "dci, completeness": (0.03, 0.12),
}
"""Largest mean and largest single difference allowed; for most of them one figure."""
RESULT = _record.RESULTS / "metrics.json"
PARTS = ("agreement", "speed", "table")
Row = dict[str, Any]


def differences(case: reference.Case) -> dict[str, float]:
    """Ours minus the reference, one figure a metric."""
    z, factors = case.z, case.factors
    levels = factors
    if case.is_continuous:
        levels = np.column_stack([np.digitize(c, np.histogram(c, 20)[1][1:-1]) for c in factors.T])
    ours = bs.metrics.dci(z, factors, not case.is_continuous, informativeness=False)
    expected = reference.dci(case)
    matrix = bs.metrics.mutual_information_matrix(z, factors) - reference.mutual_information(
        z, levels
    )
    found = {
        "mutual information": float(np.abs(matrix).max()),
        "mig": float(bs.metrics.mig(z, factors)) - reference.mig(z, levels),
        "modularity": float(bs.metrics.modularity(z, factors)) - reference.modularity(z, levels),
        f"sap, {'continuous' if case.is_continuous else 'discrete'}": float(
            bs.metrics.sap(z, factors)
        )
        - reference.sap(case),
        "dci, disentanglement": float(ours) - expected[0],
        "dci, completeness": ours.parts["completeness"] - expected[1],
    }
    if not case.is_continuous:  # two folds: both sides fit on half of the cells
        halves = bs.metrics.explicitness(z, factors, n_folds=2)
        found["explicitness"] = float(halves) - reference.explicitness(z, factors)
    return found


def agreement(sizes: tuple[int, ...], kinds: tuple[str, ...]) -> list[Row]:
    """Mean and worst difference of each metric over the cases, beside its mark."""
    by_case = {case.name: differences(case) for case in reference.cases(sizes, kinds)}
    rows = []
    for metric, (mean_mark, worst_mark) in MARKS.items():
        found = {name: abs(d[metric]) for name, d in by_case.items() if metric in d}
        worst = max(found, key=lambda name: found[name])
        mean = float(np.mean(list(found.values())))
        rows.append(
            {
                "what": metric, "cases": len(found), "mean": mean,
                "worst": found[worst], "worst_case": worst, "mark": [mean_mark, worst_mark],
                "reached": mean <= mean_mark and found[worst] <= worst_mark,
            }
        )  # fmt: skip
    return rows


def atlas(n: int, n_axes: int = 32) -> tuple[np.ndarray, list[np.ndarray], list[bool]]:
    """A mixed code of six factors: four of levels, a number, an angle."""
    rng = np.random.default_rng(0)
    levels = [rng.integers(k, size=n) for k in (2, 4, 8, 10)]
    number, angle = rng.normal(size=n), rng.uniform(0, 2 * np.pi, size=n)
    source = np.column_stack([*(c / c.std() for c in levels), number, np.cos(angle), np.sin(angle)])
    noise = 0.5 * rng.normal(size=(n, n_axes))
    z = source @ rng.normal(size=(source.shape[1], n_axes)) + noise
    return z.astype(np.float32), [*levels, number, angle], [False] * 5 + [True]


def seconds(function: Callable[[], Any], repeats: int) -> list[float]:
    """Wall seconds of each call."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return taken


def speed(n: int, n_large: int, repeats: int) -> list[Row]:
    """Median seconds of every metric at n cells, and of MIG at many."""
    z, factors, circular = atlas(n)
    calls: dict[str, tuple[Callable[[], Any], float | None]] = {
        name: (lambda fn=getattr(bs.metrics, name): fn(z, factors, circular=circular), mark)
        for name, mark in (
            ("dci", 60.0), ("mig", None), ("modularity", None), ("sap", None),
            ("explicitness", None), ("condition_prediction", None), ("beta_vae_score", None),
            ("factor_vae_score", None), ("latent_matching", None), ("most_similar_gap", None),
        )
    }  # fmt: skip
    calls["total_correlation"] = (lambda: bs.metrics.total_correlation(z), None)
    rows = [_timed(name, n, call, mark, repeats) for name, (call, mark) in calls.items()]
    large, many, round_ones = atlas(n_large)
    call = lambda: bs.metrics.mig(large, many, circular=round_ones)  # noqa: E731
    return [*rows, _timed("mig", n_large, call, 20.0, repeats)]


def default_table(n: int) -> list[Row]:
    """Seconds and memory of one ``tl.score_disentanglement`` as it comes, its processes included."""
    z, factors, _ = atlas(n)
    names = ["two", "four", "eight", "ten", "number", "angle"]
    columns = dict(zip(names, factors, strict=True))
    obs = pd.DataFrame({k: pd.Categorical(c) if c.dtype == int else c for k, c in columns.items()})
    adata = AnnData(obs=obs.set_index(obs.index.astype(str)), obsm={"X": z})
    keys = [*names[:5], bs.Factor("angle", kind="circular")]
    with _Memory() as memory:
        row = _timed(
            "default table", n, lambda: bs.tl.score_disentanglement(adata, "X", keys), 600.0, 1
        )
    row |= {"peak_gb": memory.peak_gb, "reached": row["reached"] and memory.peak_gb <= 2.0}
    return [row]


class _Memory:
    """Largest memory (shared pages counted once) of this process and its children."""

    peak_gb = 0.0

    def __enter__(self) -> Self:
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        here = psutil.Process()
        while not self._done.wait(0.5):
            found = 0
            for process in (here, *here.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    found += process.memory_full_info().pss
            self.peak_gb = max(self.peak_gb, found / 2**30)


def _timed(name: str, n: int, call: Callable[[], Any], mark: float | None, repeats: int) -> Row:
    taken = seconds(call, repeats)
    middle = float(np.median(taken))
    return {
        "what": name, "cells": n, "axes": 32, "factors": 6, "seconds": middle,
        "all": taken, "mark": mark, "reached": mark is None or middle <= mark,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }  # fmt: skip


def show(rows: Sequence[Row]) -> None:
    """Print what was found."""
    for row in rows:
        verdict = "" if row["mark"] is None else ("reached" if row["reached"] else "MISSED")
        if "cases" in row:
            print(
                f"{row['what']:24s} mean {row['mean']:.2e}  worst {row['worst']:.2e} "
                f"({row['worst_case']}, {row['cases']} cases)  {verdict}"
            )
        else:
            print(
                f"{row['what']:24s} {row['cells']:>9,} x 32  {row['seconds']:8.2f} s  "
                f"{row['peak_gb']:.2f} GB  {verdict}"
            )


def main() -> None:
    """Run the parts and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute; writes nothing")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    arguments = parser.parse_args()
    sizes, n, n_large = ((300,), 3000, 50_000) if arguments.quick else ((1000, 2500), 50_000, 10**6)
    bs.metrics.dci(*atlas(200)[:2])  # libraries load before the clock starts
    tables: dict[str, Callable[[], list[Row]]] = {
        "agreement": lambda: agreement(
            sizes, reference.KINDS[:4] if arguments.quick else reference.KINDS
        ),
        "speed": lambda: speed(n, n_large, 1 if arguments.quick else 3),
        "table": lambda: [] if arguments.quick else default_table(n),
    }
    for part in arguments.parts:
        rows = [{**row, "part": part} for row in tables[part]()]
        show(rows)
        if not arguments.quick:
            before = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
            kept = [row for row in before if row["part"] != part]
            _record.write("metrics", kept + rows, {"sizes": sizes, "cells": n, "many": n_large})


if __name__ == "__main__":
    main()
