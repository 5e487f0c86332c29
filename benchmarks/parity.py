"""Does BetaSCVI with beta = 1 reach the held-out ELBO of SCVI on real data?

``python -m benchmarks.parity`` trains both to convergence on three data sets, five seeds, the same
split and widths, KL weight 1 throughout on both sides, and compares the ELBO of cells neither was
trained on nor stopped by. Runs are kept one by one in ``.benchmark_runs/parity`` and not repeated.
``--quick`` takes one data set, one seed and a few epochs.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scvi
import torch
from anndata import AnnData
from scipy import sparse, stats

import betascvi as bs
from benchmarks._record import RUNS, keep, write

DATA_SETS = ("kang_pbmc_annotated", "papalexi_thp1_crispr", "fucci_ipsc_101genes")
MODELS = ("scvi", "betascvi")
SETTINGS = {
    "n_hidden": 128,
    "n_latent": 10,
    "gene_likelihood": "nb",
    "batch_size": 128,
    "train_size": 0.8,
    "validation_size": 0.1,
    "n_genes": 2000,
    "most_steps": 3000,
    "patience_steps": 300,
}


def main() -> None:
    """Run what is missing, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backwards", action="store_true", help="a second process meets the first")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    names = DATA_SETS[:1] if options.quick else DATA_SETS
    seeds = range(1 if options.quick else options.seeds)
    most_steps = 50 if options.quick else int(SETTINGS["most_steps"])
    folder = RUNS / ("parity_quick" if options.quick else "parity")
    if options.backwards:
        for name in reversed(names):
            for seed in reversed(seeds):
                for model in MODELS:
                    _run(folder, name, model, seed, most_steps)
    runs = [
        _run(folder, name, model, seed, most_steps)
        for name in names
        for seed in seeds
        for model in MODELS
    ]
    rows = [_compare(runs, name) for name in names]
    for row in rows:
        print(
            f"{row['data']:24s} SCVI {row['scvi']:9.2f}  BetaSCVI {row['betascvi']:9.2f}  "
            f"difference {row['difference_percent']:+.3f} % "
            f"[{row['low_percent']:+.3f}, {row['high_percent']:+.3f}]"
        )
    if not options.quick:
        write("parity", [*rows, *runs], {**SETTINGS, "seeds": len(list(seeds))})


def _run(folder: Path, name: str, model: str, seed: int, most_steps: int) -> dict[str, Any]:
    path = folder / f"{name}-{model}-{seed}.json"
    if path.exists():
        return json.loads(path.read_text())
    result = {"data": name, "model": model, "seed": seed, **_fit(name, model, seed, most_steps)}
    return keep(path, result)


def _fit(name: str, which: str, seed: int, most_steps: int) -> dict[str, Any]:
    adata = _variable_genes(bs.datasets.load(name), seed)
    cls = scvi.model.SCVI if which == "scvi" else bs.BetaSCVI
    scvi.settings.seed = seed
    cls.setup_anndata(adata, layer="counts")
    model = cls(adata, n_hidden=128, n_latent=10, gene_likelihood="nb")
    # scVI's warm-up off: its KL weight is 1 from the first step, as ours
    plan = {"n_epochs_kl_warmup": None, "n_steps_kl_warmup": None} if which == "scvi" else {}
    steps_in_epoch = SETTINGS["train_size"] * adata.n_obs / SETTINGS["batch_size"]
    model.train(
        int(np.ceil(most_steps / steps_in_epoch)),
        train_size=SETTINGS["train_size"],
        validation_size=SETTINGS["validation_size"],
        early_stopping=True,
        early_stopping_patience=int(np.ceil(SETTINGS["patience_steps"] / steps_in_epoch)),
        plan_kwargs=plan,
        enable_progress_bar=False,
    )
    torch.manual_seed(0)
    held_out = np.sort(model.test_indices)
    elbos = [float(model.get_elbo(indices=held_out)) for _ in range(10)]
    return {"held_out_elbo": float(np.mean(elbos)), "epochs": len(model.history["elbo_train"])}


def _variable_genes(adata: AnnData, seed: int) -> AnnData:
    """The most variable genes of the cells that will be trained on, as scvi-tools splits them."""
    n_train = int(np.ceil(SETTINGS["train_size"] * adata.n_obs))
    n_val = int(np.floor(SETTINGS["validation_size"] * adata.n_obs))
    order = np.random.RandomState(seed).permutation(adata.n_obs)
    counts = sparse.csr_matrix(adata.layers["counts"])[np.sort(order[n_val : n_val + n_train])]
    scaled = sparse.diags(1e4 / np.asarray(counts.sum(1)).ravel()) @ counts
    logged = scaled.log1p()
    mean = np.asarray(logged.mean(0)).ravel()
    variance = np.asarray(logged.multiply(logged).mean(0)).ravel() - mean**2
    kept = np.sort(np.argsort(-variance, kind="stable")[: SETTINGS["n_genes"]])
    adata = adata[:, kept].copy()
    return adata[np.asarray(adata.layers["counts"].sum(1)).ravel() > 0].copy()


def _compare(runs: list[dict[str, Any]], name: str) -> dict[str, Any]:
    elbo = {
        model: np.array(
            [r["held_out_elbo"] for r in runs if r["data"] == name and r["model"] == model]
        )
        for model in MODELS
    }
    percent = 100.0 * (elbo["betascvi"] - elbo["scvi"]) / np.abs(elbo["scvi"])
    half = stats.t.ppf(0.975, len(percent) - 1) * stats.sem(percent) if len(percent) > 1 else np.nan
    return {
        "data": name,
        "seeds": len(percent),
        "scvi": elbo["scvi"].mean(),
        "betascvi": elbo["betascvi"].mean(),
        "difference_percent": percent.mean(),
        "low_percent": percent.mean() - half,
        "high_percent": percent.mean() + half,
        "worst_percent": percent.min(),
    }


if __name__ == "__main__":
    main()
