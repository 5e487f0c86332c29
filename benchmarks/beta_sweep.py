"""The tutorial's experiment 1: ``python -m benchmarks.beta_sweep [--quick] [--data NAME ...]``.

Beta in 0.1, 0.5, 1, 2, 4, 10 and an L-VAE, three seeds, on a simulated atlas and on
``kang_pbmc_annotated`` (read from BETASCVI_DATA; left out, and said, where that is not set).
Vanilla, beta = 2, beta = 4 and L-VAE side by side are the same runs. Every run is a folder under
``.benchmark_runs/beta_sweep`` and is not repeated. The tables go to
``benchmarks/results/beta_sweep.json``, the figures to ``docs/concepts/figures``; ``--quick`` (two
betas, one seed, few epochs) writes to neither.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

import betascvi as bs
from betascvi import BetaSCVI

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
RUNS = ROOT / ".benchmark_runs" / "beta_sweep"
RESULT = Path(__file__).parent / "results" / "beta_sweep.json"
FIGURES = ROOT / "docs" / "concepts" / "figures"

BETAS = (0.1, 0.5, 1.0, 2.0, 4.0, 10.0)
SIDE_BY_SIDE = (1.0, 2.0, 4.0)
MAPPED = (0.1, 1.0, 4.0, 10.0)
EPOCHS = {"simulated": 80, "kang_pbmc_annotated": 40}
COLOURS = {"simulated": "cell_type", "kang_pbmc_annotated": "cell_type"}
SHOWN = (
    "rate", "distortion", "elbo", "gap", "information", "overlap", "gain_over_gene_means",
    "n_active", "realised_beta", "mig", "dci", "sap", "modularity",
)  # fmt: skip


def cells_of(name: str) -> AnnData:
    """The data set, set up with its factors."""
    if name == "simulated":
        adata = bs.datasets.simulated_atlas(n_cells=3000, n_genes=800, seed=0)
        angle = bs.Factor("phase_angle", kind="circular")
        factors = ["cell_type", "condition", "batch", "donor", angle]
        BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=factors)
        return adata
    adata = bs.datasets.load(name)
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["cell_type", "condition", "donor"])
    return adata


def spec_of(name: str, *, quick: bool) -> bs.sweep.Spec:
    """The grid of one data set."""
    return bs.sweep.Spec(
        objectives=["beta_vae", "l_vae"],
        betas=(0.5, 4.0) if quick else BETAS,
        seeds=(0,) if quick else (0, 1, 2),
        train={"max_epochs": 10 if quick else EPOCHS[name], "accelerator": "cpu"},
        held_out=0.2,
    )


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds, with the spread, one row for each objective and beta."""
    table = bs.tl.rate_distortion(frame).to_frame()
    regimes = frame.groupby(["objective", "beta"], dropna=False, sort=False)["regime"]
    words = regimes.agg(lambda seeds: ", ".join(sorted(set(seeds)))).reset_index()
    return table.merge(words, on=["objective", "beta"])


def shown(table: pd.DataFrame) -> str:
    """The table as text: mean +- standard deviation."""
    columns = [name for name in SHOWN if name in table]
    lines = pd.DataFrame({"objective": table["objective"], "beta": table["beta"]})
    for name in columns:
        pairs = zip(table[name], table[f"{name}_sd"], strict=True)
        lines[name] = [f"{mean:.2f} ± {spread:.2f}" for mean, spread in pairs]
    return lines.assign(regime=table["regime"]).to_string(index=False)


def side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    """Vanilla, beta = 2, beta = 4 and the learned beta."""
    return table[table["beta"].isin(SIDE_BY_SIDE) | (table["objective"] == "LVAE")]


def curve_figure(frames: Mapping[str, pd.DataFrame]) -> None:
    """Rate against distortion, one panel a data set."""
    _, axes = plt.subplots(1, len(frames), figsize=(5.2 * len(frames), 4.2), layout="constrained")
    for ax, (name, frame) in zip(np.atleast_1d(axes), frames.items(), strict=True):
        bs.pl.rate_distortion(frame, ax=ax).set_title(name, loc="left", size=10)
    plt.gcf().savefig(FIGURES / "rate_distortion.png", dpi=110)


def map_figure(name: str, adata: AnnData, spec: bs.sweep.Spec, folder: Path) -> None:
    """UMAPs across beta: the same cells from the same starting positions."""
    data = bs.sweep.fingerprint(adata)
    runs = [r for r in spec.runs() if r.seed == 0 and r.beta in MAPPED]
    log_counts = sc.pp.log1p(sc.pp.normalize_total(AnnData(adata.X.copy()), copy=True), copy=True)
    start = sc.pp.pca(log_counts.X, n_comps=2)[:, :2]
    start = 10.0 * (start - start.min(0)) / np.ptp(start, axis=0)
    _, axes = plt.subplots(1, len(runs), figsize=(3.6 * len(runs), 3.2), layout="constrained")
    for ax, run in zip(axes, runs, strict=True):
        model = BetaSCVI.load(str(folder / run.folder(data) / "model"), adata=adata)
        bs.tl.embed(model, adata)
        sc.pp.neighbors(adata, use_rep="X_betascvi")
        sc.tl.umap(adata, init_pos=start.astype(np.float32))
        bs.pl.latent(adata, COLOURS[name], basis="X_umap", ax=ax)
        ax.set_title(f"beta = {run.beta:g}", loc="left", size=10)
        if run is not runs[-1]:
            ax.get_legend().remove()
    plt.gcf().savefig(FIGURES / f"umap_across_beta_{name}.png", dpi=110)


def as_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for JSON; a missing beta is null."""
    rows: list[dict[str, Any]] = json.loads(table.round(4).to_json(orient="records"))
    return rows


def write_results(tables: Mapping[str, pd.DataFrame]) -> None:
    """All tables with what made them."""
    about = {
        "command": "python -m benchmarks.beta_sweep",
        "versions": {p: version(p) for p in ("betascvi", "scvi-tools", "torch")},
        "epochs": EPOCHS,
        "held_out": 0.2,
        "seeds": [0, 1, 2],
    }
    results = {name: as_rows(table) for name, table in tables.items()}
    RESULT.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")


def available(wanted: Sequence[str]) -> list[str]:
    """Data sets that can be read here."""
    if "BETASCVI_DATA" in os.environ:
        return list(wanted)
    left_out = [name for name in wanted if name != "simulated"]
    if left_out:
        print(f"BETASCVI_DATA is not set: {', '.join(left_out)} left out")
    return [name for name in wanted if name == "simulated"]


def main() -> None:
    """Run what is missing, print the tables, write results and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", nargs="+", choices=tuple(EPOCHS), default=tuple(EPOCHS))
    options = parser.parse_args()
    logging.getLogger("betascvi").setLevel(logging.INFO)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    warnings.filterwarnings("ignore")
    frames: dict[str, pd.DataFrame] = {}
    for name in available(options.data):
        adata, spec = cells_of(name), spec_of(name, quick=options.quick)
        folder = RUNS / (f"{name}_quick" if options.quick else name)
        frames[name] = bs.sweep.run(spec, adata, out=folder, keep_models=not options.quick)
        table = summary(frames[name])
        print(f"\n{name}: {bs.tl.rate_distortion(frames[name])}\n{shown(table)}")
        print(f"\n{name}, side by side\n{shown(side_by_side(table))}")
        if not options.quick:
            FIGURES.mkdir(parents=True, exist_ok=True)
            map_figure(name, adata, spec, folder)
    if not options.quick:
        write_results({name: summary(frame) for name, frame in frames.items()})
        curve_figure(frames)


if __name__ == "__main__":
    main()
