"""What can be read from a simulated atlas: ``python -m benchmarks.simulated_atlas``.

Figures of ``docs/decisions/0006-simulated-atlas.md``: sparsity and depth, what a supervised
probe and an ideal observer read of each factor, what PCA and ICA disentangle, how well the
true programs can be estimated by somebody who knows every factor, and the price of drawing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from sklearn.decomposition import PCA, FastICA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import betascvi as bs
from betascvi.datasets import Sequencing, Truth

DESIGNS = ("independent", "correlated", "nested", "confounded")
SIZES = ((3000, 800, 0.2), (6000, 1000, 0.2), (12000, 1000, 0.2), (3000, 800, 1.0))
LEVELLED = ("cell_type", "condition", "batch", "donor")
N_ANGLES, N_LIBRARY_BINS = 24, 12
RESULT = Path(__file__).parent / "results" / "simulated_atlas.json"

Row = dict[str, float]


def expression(adata: AnnData) -> np.ndarray:
    """Log counts, normalised to the median depth."""
    counts = adata.X.toarray()
    depth = counts.sum(1, keepdims=True)
    return np.log1p(counts / depth * np.median(depth))


def description(adata: AnnData) -> Row:
    """Share of entries that are not zero, and what a median cell holds."""
    return {
        "density": adata.X.nnz / adata.n_obs / adata.n_vars,
        "median_counts": float(np.median(np.asarray(adata.X.sum(1)))),
        "median_genes": float(np.median(np.diff(adata.X.indptr))),
    }


def mean_cosine(angle: np.ndarray, guess: np.ndarray) -> float:
    """1 where every angle is guessed, 0 at chance."""
    return float(np.cos(angle - guess).mean())


def probe(adata: AnnData) -> Row:
    """Ridge-penalised linear probes on normalised log counts, one third of the cells held out."""
    z = expression(adata)
    train, test = train_test_split(np.arange(adata.n_obs), test_size=1 / 3, random_state=0)
    scores = {}
    for factor in LEVELLED:
        level = adata.obs[factor].to_numpy()
        model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=300))
        guess = model.fit(z[train], level[train]).predict(z[test])
        scores[factor] = float(balanced_accuracy_score(level[test], guess))
    angle = adata.obs["phase_angle"].to_numpy()
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    model = make_pipeline(StandardScaler(), Ridge(3000.0)).fit(z[train], circle[train])
    guess = np.arctan2(*model.predict(z[test]).T[::-1])
    return scores | {"phase_angle": mean_cosine(angle[test], guess)}


def ideal_observer(adata: AnnData) -> Row:
    """Posterior of each factor for one who knows every parameter and each library size."""
    truth = Truth.of(adata)
    combined = np.stack([truth.codes[f] for f in LEVELLED], axis=1)
    states, frequency = np.unique(combined, axis=0, return_counts=True)
    angles = np.arange(N_ANGLES) * 2 * np.pi / N_ANGLES
    profiles = _profiles(truth, np.repeat(states, N_ANGLES, axis=0), np.tile(angles, len(states)))
    log_posterior = np.repeat(np.log(frequency), N_ANGLES) + _log_likelihood(adata, profiles)
    posterior = np.exp(log_posterior - log_posterior.max(1, keepdims=True))
    posterior = posterior.reshape(adata.n_obs, len(states), N_ANGLES)
    by_state, by_angle = posterior.sum(2), posterior.sum(1)
    scores = {}
    for k, factor in enumerate(LEVELLED):
        levels = np.eye(len(truth.levels[factor]))[states[:, k]]
        guess = (by_state @ levels).argmax(1)
        scores[factor] = float(balanced_accuracy_score(truth.codes[factor], guess))
    guess = np.angle(by_angle @ np.exp(1j * angles))
    return scores | {"phase_angle": mean_cosine(truth.codes["phase_angle"], guess)}


def _profiles(truth: Truth, states: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """(states, genes) noise-free expression of one count, drawn from the simulator's own code."""
    names = {f: np.array(truth.levels[f])[states[:, k]] for k, f in enumerate(LEVELLED)}
    fixed: Mapping[str, Any] = {**names, "phase_angle": angles, "library_size": 1e4}
    return Truth.of(bs.datasets.draw_cells(truth, len(states), fixed)).rates() / 1e4


def _log_likelihood(adata: AnnData, profiles: np.ndarray) -> np.ndarray:
    """(cells, states), terms that do not depend on the state left out; library in bins."""
    truth = Truth.of(adata)
    library, theta = truth.codes["library_size"], truth.dispersion
    out = np.empty((adata.n_obs, len(profiles)))
    edges = np.quantile(library, np.linspace(0, 1, N_LIBRARY_BINS + 1)[1:-1])
    bins = np.searchsorted(edges, library)
    for b in np.unique(bins):
        cells = np.flatnonzero(bins == b)
        rates = np.median(library[cells]) * profiles
        charge = (theta * np.log1p(rates / theta)).sum(1)
        out[cells] = adata.X[cells] @ np.log(rates / (rates + theta)).T - charge
    return out


def disentangled(adata: AnnData) -> Row:
    """DCI and MIG of ten axes of PCA and of ICA on normalised log counts."""
    z = expression(adata)
    axes = {
        "pca": PCA(10, random_state=0).fit_transform(z),
        "ica": FastICA(10, random_state=0, max_iter=2000, tol=1e-3).fit_transform(z),
    }
    circular = [False] * len(LEVELLED) + [True]
    factors = adata.obs[[*LEVELLED, "phase_angle"]]
    scores = {}
    for name, code in axes.items():
        dci = bs.metrics.dci(code, factors, circular=circular)
        scores[f"{name}_dci_d"] = dci.parts["disentanglement"]
        scores[f"{name}_dci_c"] = dci.parts["completeness"]
        scores[f"{name}_mig"] = float(bs.metrics.mig(code, factors, circular=circular))
    return scores


def recovered(adata: AnnData) -> Row:
    """Correlation over genes of true and estimated programs, by kind, for known factors."""
    truth = Truth.of(adata)
    columns, design = _design(truth)
    estimate = dict(zip(columns, _regress(adata, design, truth.dispersion), strict=True))
    true = truth.to_frame()
    groups = {
        factor: [f"{factor}={level}" for level in truth.levels[factor]] for factor in LEVELLED
    }
    shift = "condition=stim"
    groups["response"] = [f"cell_type={t}:{shift}" for t in truth.levels["cell_type"]]
    groups["phase_angle"] = ["phase_angle=cos", "phase_angle=sin"]
    del groups["condition"]
    scores = {}
    for kind, names in groups.items():
        one, other = true[names].to_numpy(), np.stack([estimate[n] for n in names], axis=1)
        if kind == "response":  # what a cell type's own cells show: the whole response
            one, other = one + true[[shift]].to_numpy(), other + estimate[shift][:, None]
        elif kind != "phase_angle":  # only differences between levels are in the counts
            one, other = (m - m.mean(1, keepdims=True) for m in (one, other))
        pairs = zip(one.T, other.T, strict=True)
        scores[kind] = float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]))
    return scores


def borrowed(adata: AnnData) -> Row:
    """Correlation of a type's true response with the mean of the other types': a ceiling.

    It bounds every method that has not seen the stimulated cells of that type.
    """
    programs = Truth.of(adata).to_frame()
    own = (
        programs.filter(like=":condition=stim").to_numpy() + programs[["condition=stim"]].to_numpy()
    )
    others = (own.sum(1, keepdims=True) - own) / (own.shape[1] - 1)
    pairs = zip(own.T, others.T, strict=True)
    return {"borrowed_response": float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]))}


def _design(truth: Truth) -> tuple[list[str], np.ndarray]:
    columns = {"intercept": np.ones(len(truth.cells))}
    for factor in LEVELLED:
        for code, level in enumerate(truth.levels[factor]):
            columns[f"{factor}={level}"] = truth.codes[factor] == code
    for t, level in enumerate(truth.levels["cell_type"]):
        both = (truth.codes["cell_type"] == t) & (truth.codes["condition"] == 1)
        columns[f"cell_type={level}:condition=stim"] = both
    columns["phase_angle=cos"] = np.cos(truth.codes["phase_angle"])
    columns["phase_angle=sin"] = np.sin(truth.codes["phase_angle"])
    return list(columns), np.stack(list(columns.values()), axis=1).astype(np.float64)


def _regress(adata: AnnData, design: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """(columns, genes) of a negative binomial regression with a ridge of 3, by scoring."""
    counts = adata.X.toarray().astype(np.float64)
    offset = np.log(counts.sum(1, keepdims=True))
    width = design.shape[1]
    weights = np.zeros((width, counts.shape[1]))
    weights[0] = np.log((counts.sum(0) + 0.5) / counts.sum())
    ridge = np.full(width, 3.0)
    ridge[0] = 1e-6
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    for _ in range(12):
        rates = np.exp(np.clip(offset + design @ weights, -20, 12))
        shrink = 1 + rates / theta
        slope = design.T @ ((counts - rates) / shrink) - ridge[:, None] * weights
        curvature = ((rates / shrink).T @ products).reshape(-1, width, width) + np.diag(ridge)
        step = np.linalg.solve(curvature, slope.T[:, :, None])[:, :, 0].T
        weights += np.clip(step, -1.5, 1.5)
    return weights


def rounded(row: Row) -> Row:
    """Four digits are more than three seeds can tell apart."""
    return {name: round(float(value), 4) for name, value in row.items()}


def price() -> Row:
    """Seconds of CPU and peak memory of 50,000 cells x 2,000 genes, in a fresh process."""
    script = (
        "import resource, time, betascvi as bs\n"
        "bs.datasets.simulated_atlas(100, 50)\n"
        "wall, cpu = time.perf_counter(), time.process_time()\n"
        "bs.datasets.simulated_atlas(50_000, 2_000)\n"
        "print(time.perf_counter() - wall, time.process_time() - cpu,"
        " resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    wall, cpu, gigabytes = map(float, out.stdout.split())
    return rounded({"wall_seconds": wall, "cpu_seconds": cpu, "peak_gb": gigabytes})


def main() -> None:
    """Measure, print line by line, and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one seed, default size only")
    options = parser.parse_args()
    seeds = range(1 if options.quick else options.seeds)
    measures = (description, probe, ideal_observer, disentangled)
    # first: a child's peak memory is never less than what its parent holds
    result: dict[str, Any] = {"betascvi": version("betascvi"), "price": price()}
    print(json.dumps(result["price"]), flush=True)
    result["designs"] = table = []
    for design in DESIGNS:
        for seed in seeds:
            adata = bs.datasets.simulated_atlas(design=design, seed=seed)
            row = {f.__name__: rounded(f(adata)) for f in measures}
            table.append({"design": design, "seed": seed, **row})
            print(json.dumps(table[-1]), flush=True)
    result["programs"] = programs = []
    for n_cells, n_genes, depth in SIZES[: 1 if options.quick else None]:
        sequencing = Sequencing(counts_per_gene=depth)
        adata = bs.datasets.simulated_atlas(n_cells, n_genes, sequencing=sequencing)
        row = rounded({**recovered(adata), **borrowed(adata)})
        size = {"n_cells": n_cells, "n_genes": n_genes, "counts_per_gene": depth}
        programs.append(size | row)
        print(json.dumps(programs[-1]), flush=True)
    if not options.quick:
        RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
