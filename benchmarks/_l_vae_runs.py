"""Runs of the L-VAE study: trained once, kept as one file each, described by one row."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scvi
from anndata import AnnData

import betascvi as bs
from benchmarks._record import RUNS, keep
from betascvi import BetaSCVI
from betascvi.metrics._gene_means import fit_gene_means
from betascvi.metrics._sigma_verdict import SigmaVerdict, sigma_verdict
from betascvi.objectives import LVAE, Objective

N_STEPS = 1500
TAIL = 0.2
LIVE_NATS = 0.01
COLUMNS = {
    "sigma0": "sigma0",
    "sigma1": "sigma1",
    "beta_hat": "beta_hat",
    "realised_beta": "realised_beta",
    "reconstruction": "reconstruction_loss_train",
    "kl": "kl_local_train",
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """One training, from which everything else is read."""

    data: str
    objective: Objective
    seed: int
    n_steps: int = N_STEPS
    plan_kwargs: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Holds everything it depends on."""
        label = hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        return f"{self.data}-{type(self.objective).__name__}-{self.seed}-{label}"


def cells(name: str) -> AnnData:
    """A data set by name, registered."""
    if name == "simulated":
        adata = bs.datasets.simulated_atlas(n_cells=1500, n_genes=400, seed=0)
        BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch")
        return adata
    adata = bs.datasets.load(name)
    BetaSCVI.setup_anndata(adata, batch_key="batch" if "batch" in adata.obs else None)
    return adata


def result_of(run: Run) -> Row:
    """The record of a run, from its file or by training now."""
    path = RUNS / "l_vae" / f"{run.name}.json"
    if path.exists():
        return json.loads(path.read_text())
    record = keep(path, train(run))
    print(f"{run.name}: {record['summary']}", flush=True)
    return record


def train(run: Run) -> Row:
    """Train and read off what the tables need."""
    adata = cells(run.data)
    n_minibatches = math.ceil(0.9 * adata.n_obs / 128)
    scvi.settings.seed = run.seed
    model = BetaSCVI(adata, objective=run.objective)
    model.train(
        max_epochs=math.ceil(run.n_steps / n_minibatches),
        train_size=0.9,
        plan_kwargs=dict(run.plan_kwargs),
        accelerator="cpu",
        enable_progress_bar=False,
        check_val_every_n_epoch=10_000,
    )
    return {
        "run": repr(run),
        "history": histories(model),
        "axes": axis_rates(model),
        "held_out_loss": -float(model.get_elbo(indices=model.validation_indices)),
        "baseline": gene_means_loss(model),
        "n_cells": int(adata.n_obs),
        "n_genes": int(adata.n_vars),
        "summary": str(model.training_summary_),
    }


def histories(model: BetaSCVI) -> dict[str, list[Any]]:
    """One value an epoch of each column; ``axis_*`` hold one list of axes an epoch."""
    found = {
        name: model.history[column].iloc[:, 0].astype(float).tolist()
        for name, column in COLUMNS.items()
        if column in model.history
    }
    columns = [f"kl_axis_{i + 1}" for i in range(model.module.n_latent)]
    if f"{columns[0]}_weight" in model.history:
        weight = np.stack([model.history[f"{c}_weight"].iloc[:, 0] for c in columns], 1)
        rate = np.stack([model.history[f"{c}_train"].iloc[:, 0] for c in columns], 1)
        found["axis_sigma1"] = (weight.astype(float) ** -0.5).tolist()
        found["axis_kl"] = rate.astype(float).tolist()
    return found


def axis_rates(model: BetaSCVI) -> list[float]:
    """Mean KL of each axis over the training cells, nats."""
    mean, variance = model.get_latent_representation(indices=model.train_indices, return_dist=True)
    return (0.5 * (variance + mean**2 - 1.0 - np.log(variance))).mean(0).astype(float).tolist()


def gene_means_loss(model: BetaSCVI) -> float:
    """Reconstruction loss of gene means (one profile a batch) on the training cells."""
    rows = np.sort(model.train_indices)
    manager = model.adata_manager
    x = manager.get_from_registry("X")[rows]
    groups = np.asarray(manager.get_from_registry("batch")).ravel()[rows].astype(int)
    size = np.asarray(x.sum(1), dtype=float).ravel()
    null = fit_gene_means(x, size, groups)
    return float(null.negative_log_likelihood(x, size, groups).mean())


def end(record: Row, name: str) -> float:
    """Mean of a column over the last fifth of the epochs."""
    values = record["history"][name]
    return float(np.mean(values[-max(1, int(TAIL * len(values))) :]))


def verdict(record: Row, objective: LVAE) -> SigmaVerdict:
    """The verdict on a run's sigmas."""
    history = record["history"]
    per_axis = "axis_" if objective.per_axis else ""
    return sigma_verdict(
        history["sigma0"],
        history[f"{per_axis}sigma1"],
        history["reconstruction"],
        history[f"{per_axis}kl"],
        scale=objective.a,
        epsilon=objective.epsilon,
        baseline=record["baseline"],
    )


def describe(run: Run) -> Row:
    """One row of a table."""
    record = result_of(run)
    row = {
        "data": run.data,
        "objective": type(run.objective).__name__,
        "seed": run.seed,
        "live_axes": int((np.array(record["axes"]) >= LIVE_NATS).sum()),
        "kl": end(record, "kl"),
        "reconstruction": end(record, "reconstruction"),
        "gene_means": record["baseline"],
        "held_out_elbo": -record["held_out_loss"],
    }
    if not isinstance(run.objective, LVAE):
        return row
    objective = run.objective
    law = math.sqrt(objective.a * row["reconstruction"] / (row["kl"] + objective.epsilon))
    said = verdict(record, objective)
    return row | {
        "scale": objective.a,
        "beta_hat": end(record, "beta_hat"),
        "law": law,
        "off_by": end(record, "beta_hat") / law - 1.0,
        "realised_beta": end(record, "realised_beta"),
        "sigma0": end(record, "sigma0"),
        "sigma1": end(record, "sigma1"),
        "state": said.state,
        "signatures": list(said.signatures),
    }
