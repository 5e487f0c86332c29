"""What the diagnosis says along beta, and its false alarms: ``python -m benchmarks.diagnostics``.

``regimes``        information, overlap and verdict at beta 0.01 to 50 on each data set, two seeds
``alarms``         healthy short runs (three data sets, three widths, beta 0.5 and 1, three seeds): how
                   many have a problem or a collapse warning; and runs at beta = 1000, which must
``impossibility``  a path of rotations of z away from axes chosen with the labels: bound and scores

Figures for the docs go to ``docs/concepts/figures``, tables to ``benchmarks/results/diagnostics.json``.
Trained runs are kept under ``.benchmark_runs/diagnostics`` and not repeated. The real sets are read
from BETASCVI_DATA. ``--quick`` trains for few epochs on the simulated atlas alone and writes nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import os
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy.linalg import expm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import nn
from torch.distributions import Normal

import betascvi as bs
from betascvi import BetaSCVI

ROOT = Path(__file__).parents[1]
RUNS = ROOT / ".benchmark_runs" / "diagnostics"
RESULT = Path(__file__).parent / "results" / "diagnostics.json"
FIGURES = ROOT / "docs" / "concepts" / "figures"

EPOCHS = {"simulated": 80, "kang_pbmc_annotated": 25, "mouse_pancreas_e15": 40}
BETAS = (0.01, 0.1, 0.5, 1.0, 4.0, 10.0, 50.0)
SHOWN_REGIMES = (0.01, 1.0, 50.0)
WIDTHS = (5, 10, 30)
ANGLES = np.linspace(0.0, 1.0, 9)
FACTORS = ("cell_type", "condition", "batch", "donor")

Table = list[dict[str, Any]]


@cache
def cells_of(name: str) -> AnnData:
    """The data set, set up."""
    if name == "simulated":
        adata = bs.datasets.simulated_atlas(n_cells=3000, n_genes=800, seed=0)
    else:
        adata = bs.datasets.load(name)
    BetaSCVI.setup_anndata(adata, layer="counts")
    return adata


def sweep(name: str, epochs: int, **grid: Any) -> pd.DataFrame:
    """Runs of one data set, from disk where they are there."""
    spec = bs.sweep.Spec(train={"max_epochs": epochs, "accelerator": "cpu"}, held_out=0.2, **grid)
    frame = bs.sweep.run(spec, cells_of(name), out=RUNS / name, keep_models=True)
    return frame.assign(data=name)


def regimes(epochs: Mapping[str, int]) -> Table:
    """Verdicts along beta."""
    frames = [sweep(name, n, betas=BETAS, seeds=(0, 1)) for name, n in epochs.items()]
    columns = ["rate", "information", "overlap", "n_active", "gain_over_gene_means", "gap"]
    frame = pd.concat(frames)[["data", "beta", "seed", *columns, "regime", "problems"]]
    return json.loads(frame.round(3).to_json(orient="records"))


def alarms(epochs: Mapping[str, int]) -> Table:
    """Healthy runs that are called ill, and collapsed runs that are called healthy."""
    rows = []
    for name, n in epochs.items():
        for width in WIDTHS:
            model = {"n_latent": width}
            healthy = sweep(name, n, betas=(0.5, 1.0), seeds=(0, 1, 2), model=model)
            dead = sweep(name, n, betas=(1000.0,), seeds=(0,), model=model)
            rows.append(
                {
                    "data": name, "n_latent": width, "healthy_runs": len(healthy),
                    "false_alarms": int((healthy["problems"] != "").sum()),
                    "what": sorted(set(healthy["problems"]) - {""}),
                    "collapsed_runs": len(dead),
                    "detected": int(dead["problems"].str.startswith("collapse").sum()),
                }
            )  # fmt: skip
    return rows


def impossibility(epochs: Mapping[str, int]) -> Table:
    """Bound of every cell and scores of the means, along a path of rotations."""
    model = _model_of("simulated", epochs["simulated"], beta=1.0)
    module = copy.deepcopy(model.module).double()
    factors = model.adata.obs[list(FACTORS)]
    start = aligned(model.get_latent_representation(), factors)
    generator = np.random.default_rng(0).normal(size=start.shape)
    (tensors,) = model._make_data_loader(adata=model.adata, batch_size=model.adata.n_obs)
    tensors = {name: value.double() for name, value in tensors.items()}
    torch.manual_seed(0)
    outputs = module.inference(**module._get_inference_input(tensors))
    reference, rows = None, []
    for share in ANGLES:
        turn = start @ expm(0.5 * share * (generator - generator.T))
        bound = _bound(module, tensors, outputs, torch.as_tensor(turn))
        reference = bound if reference is None else reference
        z = model.get_latent_representation() @ turn
        rows.append(
            {
                "share": float(share),
                "largest_change_of_a_cell_s_bound": float((bound - reference).abs().max()),
                "elbo": float(bound.mean()),
                "mig": float(bs.metrics.mig(z, factors)),
                "sap": float(bs.metrics.sap(z, factors)),
                "modularity": float(bs.metrics.modularity(z, factors)),
            }
        )
    return rows


def aligned(z: np.ndarray, factors: pd.DataFrame) -> np.ndarray:
    """A rotation chosen with the labels: one axis a factor, the others at right angles."""
    directions = [
        LinearDiscriminantAnalysis().fit(z, factors[name]).scalings_[:, 0] for name in factors
    ]
    rest = np.random.default_rng(1).normal(size=(z.shape[1], z.shape[1] - len(directions)))
    return np.linalg.qr(np.column_stack([*directions, rest]))[0]


@torch.no_grad()
def _bound(
    module: nn.Module, tensors: dict[str, Any], outputs: dict[str, Any], turn: torch.Tensor
) -> torch.Tensor:
    """ELBO of each cell when z and the decoder's input are turned."""
    turned = copy.deepcopy(module)
    first = next(m for m in turned.decoder.modules() if isinstance(m, nn.Linear))
    n_axes = turn.shape[0]
    first.weight.data[:, :n_axes] = first.weight.data[:, :n_axes] @ turn
    z, qz = outputs["z"] @ turn, outputs["qz"]
    inputs = turned._get_generative_input(tensors, {**outputs, "z": z})
    log_px = turned.generative(**inputs)["px"].log_prob(tensors["X"]).sum(-1)
    covariance = turn.T @ torch.diag_embed(qz.scale**2) @ turn
    entropy = 0.5 * torch.logdet(2 * torch.pi * torch.e * covariance)
    prior = Normal(torch.zeros_like(z), torch.ones_like(z))
    return log_px + prior.log_prob(z).sum(-1) + entropy


def _model_of(name: str, epochs: int, beta: float) -> BetaSCVI:
    spec = bs.sweep.Spec(
        betas=(beta,), seeds=(0,), held_out=0.2,
        train={"max_epochs": epochs, "accelerator": "cpu"},
    )  # fmt: skip
    adata = cells_of(name)
    bs.sweep.run(spec, adata, out=RUNS / name, keep_models=True)
    folder = RUNS / name / spec.runs()[0].folder(bs.sweep.fingerprint(adata))
    return BetaSCVI.load(str(folder / "model"), adata=adata)


def draw(epochs: Mapping[str, int], path: Table) -> None:
    """The figures of the page on diagnostics."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    name = "simulated"
    figure, axes = plt.subplots(3, 3, figsize=(10.8, 9.6), layout="constrained")
    for row, beta in zip(axes, SHOWN_REGIMES, strict=True):
        bs.pl.diagnosis(bs.tl.diagnose(_model_of(name, epochs[name], beta)), ax=row)
        row[0].set_title(f"beta = {beta:g}: {row[0].get_title(loc='left')}", loc="left", size=10)
    figure.savefig(FIGURES / "diagnosis_regimes.png", dpi=90)
    model = _model_of(name, epochs[name], 1.0)
    bs.pl.training(model)[0].figure.savefig(FIGURES / "training.png", dpi=90)
    frame = pd.DataFrame(path)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0), layout="constrained")
    left.plot(frame["share"], frame["elbo"] - frame["elbo"][0], marker="o", color="#222222")
    left.set(title="change of the ELBO, nats", ylim=(-1, 1))
    for metric in ("mig", "sap"):
        right.plot(frame["share"], frame[metric], marker="o", label=metric.upper())
    right.set(title="scores of the same model", ylim=(0, None))
    right.legend(frameon=False)
    for ax in (left, right):
        ax.set_xlabel("rotation away from the best axes")
        ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(FIGURES / "impossibility.png", dpi=90)


PARTS: Mapping[str, Callable[[Mapping[str, int]], Table]] = {
    "regimes": regimes, "alarms": alarms, "impossibility": impossibility,
}  # fmt: skip


def main() -> None:
    """Run what is missing, print and write the tables, draw the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"among {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    mpl.use("Agg")
    warnings.filterwarnings("ignore")
    for noisy in ("betascvi", "lightning.pytorch"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    only_simulated = options.quick or "BETASCVI_DATA" not in os.environ
    epochs = {"simulated": 8 if options.quick else EPOCHS["simulated"]}
    epochs |= {} if only_simulated else {k: v for k, v in EPOCHS.items() if k != "simulated"}
    written = json.loads(RESULT.read_text()) if RESULT.exists() else {"results": {}}
    tables = dict(written["results"])
    for part in options.parts or PARTS:
        tables[part] = PARTS[part](epochs)
        print(f"\n{part}\n{pd.DataFrame(tables[part]).to_string(index=False)}")
    if options.quick:
        return
    about = {
        "command": "python -m benchmarks.diagnostics",
        "versions": {p: version(p) for p in ("betascvi", "scvi-tools", "torch")},
        "epochs": epochs,
    }
    RESULT.write_text(json.dumps({"about": about, "results": tables}, indent=1) + "\n")
    draw(epochs, tables["impossibility"])


if __name__ == "__main__":
    main()
