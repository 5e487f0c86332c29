"""Is the batch gone and biology left? ``python -m benchmarks.integration``.

scib-metrics' table, one version, raw columns as well as totals, for every method on every data
set; all on the same genes. The row of ours that counts reads no cell-type label. Silhouette batch
scores are disputed; BRAS and CiLISI stand beside them where the installed scib-metrics has them.

Each run (data set, method, seed) is a small file under ``.benchmark_runs``, so a run that was
stopped goes on where it was. ``--quick``: the simulated atlas, one seed, few epochs; without
scib-metrics it scores two columns of scikit-learn's, named as such, and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

import betascvi as bs
from benchmarks._integration_methods import METHODS, PeerMissingError
from benchmarks._record import RUNS, keep, recall, write

MOST_GENES = 2000
SLOW = ("DRVI", "scANVI (reads labels)", "ours (labels anchored)")
SMALLEST = ("mixology_5cl_plates", "mixology_cellmix", "mixology_rnamix")
UNTRAINED = ("PCA", "Harmony")


def _real(name: str, batch: str, label: str) -> Callable[[], AnnData]:
    def load() -> AnnData:
        adata = bs.datasets.load(name)
        return _prepared(adata, batch, label)

    return load


def _simulated() -> AnnData:
    atlas = bs.datasets.simulated_atlas(n_cells=2000, n_genes=400, design="correlated", seed=0)
    return _prepared(atlas, "batch", "cell_type")


DATA_SETS: dict[str, Callable[[], AnnData]] = {
    "simulated_correlated": _simulated,
    "mixology_5cl_plates": _real("mixology_5cl_plates", "batch", "cell_line"),
    "mixology_cellmix": _real("mixology_cellmix", "batch", "mixture"),
    "mixology_rnamix": _real("mixology_rnamix", "batch", "mixture"),
    "kang_pbmc_ifnb": _real("kang_pbmc_ifnb", "donor", "cell_type_predicted"),
    "worm_l2_neurons": _real("worm_l2_neurons", "batch", "cell_type"),
    "onek1k_subset": _real("onek1k_subset", "batch", "cell_type"),
}


def _prepared(adata: AnnData, batch: str, label: str) -> AnnData:
    """Batch and label under one name, most variable genes, no batch of fewer than three cells."""
    cells = adata[adata.obs[[batch, label]].notna().all(axis=1).to_numpy()].copy()
    cells.obs = pd.DataFrame(
        {
            "batch": cells.obs[batch].astype(str).astype("category"),
            "label": cells.obs[label].astype(str).astype("category"),
        },
        index=cells.obs_names,
    )
    sizes = cells.obs["batch"].value_counts()
    cells = cells[cells.obs["batch"].isin(sizes.index[sizes >= 3]).to_numpy()].copy()
    if cells.n_vars > MOST_GENES:
        logged = cells.copy()
        sc.pp.normalize_total(logged, target_sum=1e4)
        sc.pp.log1p(logged)
        sc.pp.highly_variable_genes(logged, n_top_genes=MOST_GENES)
        cells = cells[:, logged.var["highly_variable"].to_numpy()].copy()
    return cells


def scores_of(adata: AnnData, z: np.ndarray) -> dict[str, float]:
    """scib-metrics' columns; two silhouettes where it is not installed."""
    if find_spec("scib_metrics") is None:
        labels, batches = adata.obs["label"], adata.obs["batch"]
        return {
            "silhouette_label (scikit-learn)": float(silhouette_score(z, labels)),
            "silhouette_batch (scikit-learn)": float(silhouette_score(z, batches)),
        }
    from benchmarks._integration_methods import pca

    cells = AnnData(adata.X, obs=adata.obs)
    z = z[:, z.std(0) > 0]  # an axis of zeros alone is a NaN to scib-metrics' regression
    cells.obsm["X"], cells.obsm["X_pca"] = z, pca(adata, 0, 0)
    module = import_module("scib_metrics.benchmark")
    table = module.Benchmarker(
        cells, "batch", "label", ["X"], pre_integrated_embedding_obsm_key="X_pca", n_jobs=1,
        progress_bar=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table.prepare(exact_neighbours)
        table.benchmark()
        row = table.get_results(min_max_scale=False).loc["X"]
    return {str(name): float(value) for name, value in row.items()}


def exact_neighbours(z: np.ndarray, n_neighbours: int) -> Any:
    """scib-metrics' own are approximate, and compile for a minute in each process."""
    found = NearestNeighbors(n_neighbors=n_neighbours).fit(z).kneighbors(z)
    module = import_module("scib_metrics.nearest_neighbors")
    return module.NeighborsResults(indices=found[1], distances=found[0])


def path_of(name: str, method: str, seed: int, epochs: int) -> Path:
    """Where a run is kept."""
    words = re.sub(r"[^A-Za-z0-9=_-]+", "_", f"{name}-{method}-{seed}-{epochs}")
    return RUNS / "integration" / f"{words}.json"


def once(name: str, adata: AnnData, method: str, seed: int, options: Any) -> dict[str, Any]:
    """One run, from its file where there is one."""
    path = path_of(name, method, seed, options.epochs)
    if path.exists() and not options.quick:
        return dict(json.loads(path.read_text()))
    row: dict[str, Any] = {"data": name, "method": method, "seed": seed}
    try:
        row |= scores_of(adata, METHODS[method](adata, seed, options.epochs))
    except PeerMissingError as reason:
        print(f"skipped: {method} on {name}: {reason}")
        return {**row, "skipped": str(reason)}  # not kept: it may be there next time
    return row if options.quick else keep(path, row)


def seeds_of(method: str, n_seeds: int) -> range:
    """Methods without training have one seed, slow ones two."""
    if method in UNTRAINED:
        return range(1)
    return range(min(n_seeds, 2) if method in SLOW else n_seeds)


def rows_of(name: str, options: Any) -> list[dict[str, Any]]:
    """Every method and seed on one data set."""
    adata = DATA_SETS[name]()
    rows = []
    for method in options.methods:
        if method == "DRVI" and name not in SMALLEST and not options.quick:
            print(f"skipped: DRVI on {name}: run on the three smallest data sets only")
            continue
        seeds = seeds_of(method, options.seeds)
        rows += [once(name, adata, method, seed, options) for seed in seeds]
    return rows


def all_rows(epochs: int) -> list[dict[str, Any]]:
    """Every run there is, in the order of data sets and methods."""
    paths = (RUNS / "integration").glob(f"*-{epochs}.json")
    data, methods = list(DATA_SETS), list(METHODS)
    return sorted(
        (json.loads(path.read_text()) for path in paths),
        key=lambda row: (data.index(row["data"]), methods.index(row["method"]), row["seed"]),
    )


def main() -> None:
    """Run what is missing, print and write the table of all runs there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", nargs="+", choices=list(DATA_SETS), default=list(DATA_SETS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=200)
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("scvi").setLevel(logging.WARNING)
    if options.quick:
        options.seeds, options.epochs, options.data = 1, 2, options.data[:1]
    elif find_spec("scib_metrics") is None:
        raise SystemExit("scib-metrics is not installed: pip install betascvi[bench]")
    else:
        recall(
            "integration",
            lambda r: path_of(r["data"], r["method"], r["seed"], options.epochs),
            epochs=options.epochs,
        )
    found: list[dict[str, Any]] = []
    for name in options.data:
        if not name.startswith("simulated") and not os.environ.get("BETASCVI_DATA"):
            print(f"skipped: {name}: BETASCVI_DATA is not set")
            continue
        found += rows_of(name, options)
    rows = found if options.quick else all_rows(options.epochs)
    frame = pd.DataFrame([row for row in rows if "skipped" not in row])
    print(
        frame.drop(columns="seed")
        .groupby(["data", "method"], sort=False)
        .mean(numeric_only=True)
        .round(3)
        .to_string()
    )
    if not options.quick:
        settings = {"epochs": options.epochs, "scib-metrics": version("scib-metrics")}
        write("integration", rows, settings)


if __name__ == "__main__":
    main()
