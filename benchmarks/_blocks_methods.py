"""Named blocks in ``benchmarks.blocks``: training cells in, held-out cells encoded without labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import scanpy as sc
import scvi
from anndata import AnnData
from sklearn.preprocessing import StandardScaler

import betascvi as bs
from benchmarks._blocks_sets import DataSet, Split, factor_of
from benchmarks._blocks_supervised import linear

N_FREE = 10
FEW_SHARE, FEW_CELLS, WRONG_SHARE = 0.01, 20, 0.2
_TRAIN: dict[str, Any] = {
    "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False,
    "train_size": 1.0,
}  # fmt: skip
_NLL_DRAWS = 3


@dataclass(frozen=True)
class Encoded:
    """Held-out cells as a method places them."""

    mean: np.ndarray
    blocks: Mapping[str, slice]
    own: Mapping[str, np.ndarray]
    """Anchored factor -> what its block (of a method without blocks: a linear probe that was
    fitted to the training cells) says of each held-out cell."""
    sample: np.ndarray | None = None
    nll: float | None = None
    cpu_seconds: float | None = None
    about: Mapping[str, Any] = field(default_factory=dict)


Labels = Callable[[pd.Series, np.random.Generator], pd.Series]


def few(labels: pd.Series, rng: np.random.Generator) -> pd.Series:
    """One in a hundred labels of each level, 20 at least; the others missing."""
    rank = pd.Series(rng.permutation(len(labels)), index=labels.index)
    level = labels.astype(str) if labels.dtype.kind != "f" else pd.Series(0, index=labels.index)
    rank = rank.groupby(level).rank()
    n = (FEW_SHARE * level.groupby(level).transform("size")).clip(lower=FEW_CELLS)
    return labels.where(rank <= n)


def wrong(labels: pd.Series, rng: np.random.Generator) -> pd.Series:
    """A fifth of the labels replaced by another cell's of another level."""
    given = labels.to_numpy().copy()
    levels = np.unique(given)
    for row in rng.permutation(len(given))[: round(WRONG_SHARE * len(given))]:
        given[row] = rng.choice(levels[levels != given[row]])
    return pd.Series(given, index=labels.index).astype("category")


def permuted(labels: pd.Series, rng: np.random.Generator) -> pd.Series:
    """Labels dealt anew."""
    return pd.Series(rng.permutation(labels.to_numpy()), index=labels.index, dtype=labels.dtype)


def blocks(
    asked: DataSet, split: Split, seed: int, epochs: int,
    *, labels: Labels | None = None, is_anchored: bool = True, **weights: Any,
) -> Encoded:  # fmt: skip
    """BetaSCVI, its factors anchored."""
    training, rng = split.training.copy(), np.random.default_rng([seed, 1])
    for name in asked.anchored if labels else ():
        training.obs[name] = labels(training.obs[name], rng)  # type: ignore[misc]
    names = dict.fromkeys([*asked.anchored, *(a.within for a in _given(asked) if a.within)])
    bs.BetaSCVI.setup_anndata(training, layer="counts", factor_keys=[factor_of(n) for n in names])
    scvi.settings.seed = seed
    anchors = [replace(a, **weights) for a in _given(asked)]
    width = N_FREE if is_anchored else n_axes(asked, split)
    model = bs.BetaSCVI(training, n_latent=width, anchors=anchors if is_anchored else None)
    seconds = trained(model, epochs)
    held = split.held_out
    mean, slices = model.get_latent_representation(held), model.blocks
    own = {name: _said(model, held, name) for name in asked.anchored} if is_anchored else {}
    own = own or probed(asked, split, model.get_latent_representation(split.training), mean)
    sample = model.get_latent_representation(held, give_mean=False)
    about = {"dead_axes": len(getattr(model, "dead_axes_", ())), "n_axes": mean.shape[1]}
    return Encoded(mean, slices, own, sample, nll_of(model, held), seconds, about)


def n_axes(asked: DataSet, split: Split) -> int:
    """Axes of ours, all blocks together."""
    width = N_FREE
    for name in asked.anchored:
        labels = labels_of(split.training, name)
        of_levels = min(8, len(np.unique(labels)) - 1)
        width += {"c": 2, "f": 1}.get(labels.dtype.kind, of_levels)
    return width


def labels_of(adata: AnnData, name: str) -> np.ndarray:
    """Level names, numbers, or angles as points on the unit circle of complex numbers."""
    column, factor = adata.obs[name], factor_of(name)
    if isinstance(factor, str):
        return column.astype(str).to_numpy()
    values = column.to_numpy(float)
    return np.exp(1j * values) if factor.kind == "circular" else values


def log_counts(adata: AnnData) -> np.ndarray:
    """log1p of counts per 1,000."""
    copy = sc.pp.normalize_total(adata, target_sum=1e3, copy=True)
    return np.log1p(copy.X.toarray() if hasattr(copy.X, "toarray") else np.asarray(copy.X))


def both_scaled(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Log counts of training and held-out cells, standardised by the training cells."""
    x, held = log_counts(split.training), log_counts(split.held_out)
    scaler = StandardScaler().fit(x)
    return scaler.transform(x), scaler.transform(held)


def _given(asked: DataSet) -> Sequence[bs.Anchor]:
    return [bs.Anchor(a) if isinstance(a, str) else a for a in asked.anchors]


def trained(model: Any, epochs: int, **arguments: Any) -> float:
    """Processor seconds of the training: of one core, whatever else runs beside it."""
    start = time.process_time()
    model.train(max_epochs=epochs, **_TRAIN, **arguments)
    return time.process_time() - start


def nll_of(model: Any, held: AnnData) -> float:
    """-log p(x | z) at posterior samples, nats per cell, mean of three draws."""
    draws = [model.get_reconstruction_error(adata=held) for _ in range(_NLL_DRAWS)]
    return float(np.mean([float(draw["reconstruction_loss"]) for draw in draws]))


def _said(model: bs.BetaSCVI, held: AnnData, name: str) -> np.ndarray:
    frame = model.predict_factor(held, name)
    if "angle" in frame:
        return np.asarray(np.exp(1j * frame["angle"].to_numpy()))
    if "mean" in frame and "sd" in frame:
        return frame["mean"].to_numpy()
    return frame.columns.to_numpy(str)[frame.to_numpy().argmax(1)]


def probed(asked: DataSet, split: Split, z: np.ndarray, held: np.ndarray) -> dict[str, np.ndarray]:
    """What a linear probe of a method's training cells says of held-out ones."""
    return {n: linear(z, labels_of(split.training, n), held) for n in asked.anchored}


Method = Callable[[DataSet, Split, int, int], Encoded]
OURS: dict[str, Method] = {
    "blocks": blocks,
    "blocks, no penalty": partial(blocks, mmd=0.0, swap=0.0),
    "blocks, permuted labels": partial(blocks, labels=permuted),
    # labels of two factors drawn apart share too few cells to show that the design is crossed
    "blocks, few labels": partial(blocks, labels=few, accept_confounding=True),
    "blocks, wrong labels": partial(blocks, labels=wrong, label_noise=WRONG_SHARE),
    "blocks, added effect": partial(blocks, effect="added"),
    "blocks, linear effect": partial(blocks, effect="linear"),
    "no blocks": partial(blocks, is_anchored=False),
}
