"""What each objective is for, measured: part of ``benchmarks.objectives``."""

from __future__ import annotations

import math
from typing import Any

import anndata as ad
import numpy as np
import scvi
import torch
from anndata import AnnData
from scipy import sparse

import betascvi as bs
from betascvi import BetaSCVI
from betascvi.objectives import (
    DIPVAE,
    LVAE,
    BetaTCVAE,
    BetaVAE,
    CapacityVAE,
    FactorVAE,
    Objective,
    TargetRate,
)

Row = dict[str, Any]
INDEPENDENCE: tuple[Objective, ...] = (
    BetaVAE(),
    BetaTCVAE(beta=4.0),
    DIPVAE(kind="i"),
    DIPVAE(kind="ii"),
    FactorVAE(gamma=10.0),
)
N_FACTORS, PRUNED_NATS = 5, 0.05


def purpose(*, quick: bool) -> list[Row]:
    """One row a measurement."""
    n_steps, seeds = (150, (0,)) if quick else (1500, (0, 1, 2))
    atlas = bs.datasets.simulated_atlas(n_cells=1500, n_genes=400, seed=0)
    BetaSCVI.setup_anndata(atlas, layer="counts", batch_key="batch")
    rows = [_independence(atlas, o, seeds, n_steps) for o in INDEPENDENCE]
    rows += [_rate(atlas, TargetRate(rate=rate), n_steps) for rate in (3.0, 8.0)]
    rows += [_rate(atlas, CapacityVAE(capacity=rate), n_steps) for rate in (3.0, 8.0)]
    rows.append(_free_bits(atlas, BetaVAE(beta=4.0, free_bits=0.3), n_steps))
    return [*rows, *_n_factors(range(1 if quick else 10), n_steps)]


def _trained(adata: AnnData, objective: Objective, seed: int, n_steps: int) -> BetaSCVI:
    scvi.settings.seed = seed
    model = BetaSCVI(adata, objective=objective)
    epochs = math.ceil(n_steps / math.ceil(adata.n_obs / 128))
    model.train(max_epochs=epochs, train_size=1.0, accelerator="cpu", enable_progress_bar=False)
    return model


def _moments(model: BetaSCVI) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posterior means and variances, and the mean KL of each axis."""
    mean, variance = model.get_latent_representation(return_dist=True)
    return mean, variance, (0.5 * (variance + mean**2 - 1 - np.log(variance))).mean(0)


def _end(model: BetaSCVI, column: str) -> float:
    values = model.history[column].iloc[:, 0].astype(float)
    return float(values.iloc[-max(1, len(values) // 10) :].mean())


def _independence(
    adata: AnnData, objective: Objective, seeds: tuple[int, ...], n_steps: int
) -> Row:
    found = []
    for seed in seeds:
        model = _trained(adata, objective, seed, n_steps)
        mean, variance, kl = _moments(model)
        live = kl >= 0.01
        off = np.corrcoef(mean[:, live].T)[np.triu_indices(int(live.sum()), 1)]
        found.append(
            [
                total_correlation(mean, variance, seed),
                np.abs(off).max(initial=0.0),
                kl.sum(),
                _end(model, "reconstruction_loss_train"),
            ]
        )
    names = ("total_correlation", "largest_correlation", "kl", "reconstruction")
    means, spread = np.mean(found, 0), np.std(found, 0)
    row: Row = {"objective": repr(objective)}
    for name, value, sd in zip(names, means, spread, strict=True):
        row |= {name: float(value), f"{name}_sd": float(sd)}
    return row


def total_correlation(mean: np.ndarray, variance: np.ndarray, seed: int) -> float:
    """Of the aggregate posterior, every cell's density evaluated at every cell's sample."""
    generator = torch.Generator().manual_seed(seed)
    loc, sd = torch.tensor(mean).double(), torch.tensor(variance).double().sqrt()
    z = loc + sd * torch.randn(loc.shape, generator=generator, dtype=loc.dtype)
    values = []
    for some in z.split(64):
        log_q = torch.distributions.Normal(loc, sd).log_prob(some[:, None])
        joint = log_q.sum(-1).logsumexp(1) - math.log(len(loc))
        values.append(joint - (log_q.logsumexp(1) - math.log(len(loc))).sum(-1))
    return float(torch.cat(values).mean())


def _rate(adata: AnnData, objective: TargetRate | CapacityVAE, n_steps: int) -> Row:
    asked = objective.rate if isinstance(objective, TargetRate) else objective.capacity
    model = _trained(adata, objective, 0, n_steps)
    rate = _end(model, "kl_local_train")
    evaluated = float(_moments(model)[2].sum())
    return {
        "objective": repr(objective),
        "rate": rate,
        "off_by": rate / float(asked) - 1.0,  # type: ignore[arg-type]
        "rate_in_evaluation": evaluated,
    }


def _free_bits(adata: AnnData, objective: BetaVAE, n_steps: int) -> Row:
    kl = _moments(_trained(adata, objective, 0, n_steps))[2]
    return {
        "objective": repr(objective),
        "smallest_axis_kl": float(kl.min()),
        "promised": objective.free_bits,
    }


def five_factors(seed: int, n_cells: int = 2000, n_genes: int = 200) -> AnnData:
    """Negative-binomial counts driven by five independent Gaussian factors."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n_cells, N_FACTORS))
    logits = rng.normal(0.0, 1.0, n_genes) + factors @ rng.normal(0.0, 0.5, (N_FACTORS, n_genes))
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    mean = 2000.0 * share * np.exp(0.3 * rng.standard_normal((n_cells, 1)))
    counts = rng.poisson(rng.gamma(10.0, mean / 10.0))
    adata = ad.AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    BetaSCVI.setup_anndata(adata)
    return adata


def _n_factors(seeds: range, n_steps: int) -> list[Row]:
    rows = []
    for seed in seeds:
        objective = LVAE(per_axis=True)
        kl = _moments(_trained(five_factors(seed), objective, seed, 2 * n_steps))[2]
        rows.append(
            {
                "objective": repr(objective),
                "seed": seed,
                "axes_used": int((kl >= PRUNED_NATS).sum()),
                "factors": N_FACTORS,
                "axis_kl": np.round(np.sort(kl)[::-1], 3).tolist(),
            }
        )
    return rows
