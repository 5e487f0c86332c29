"""Methods that the unsupervised benchmark compares: counts in, positions of cells out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
import scanpy as sc
import scvi
from anndata import AnnData
from scvi.model import SCVI
from sklearn.decomposition import NMF, PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import betascvi as bs

N_AXES = 32
BATCH = "benchmark_batch"
"""Column of ``obs`` for methods that read a batch."""
QUIET: dict[str, Any] = {
    "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False,
    "train_size": 0.9,
}  # fmt: skip
if os.environ.get("BETASCVI_PEERS"):
    sys.path.append(os.environ["BETASCVI_PEERS"])
HAS_DRVI = find_spec("drvi") is not None


@dataclass(frozen=True)
class Embedded:
    """What a method made of a data set."""

    z: np.ndarray
    held_out_nll: float | None = None
    """-log p(x | z) at posterior samples of the held-out tenth, nats per cell."""
    programs: np.ndarray | None = None
    """(programs, genes) log-fold changes, where the method reads them off."""
    about: Mapping[str, Any] = field(default_factory=dict)


Embed = Callable[[AnnData, int, int], Embedded]
"""Counts, a seed and a number of epochs in; positions of cells out."""


def log_counts(adata: AnnData) -> np.ndarray:
    """log1p of counts per median cell."""
    normalised = sc.pp.normalize_total(adata, copy=True)
    values = sc.pp.log1p(normalised, copy=True).X
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def ours(
    adata: AnnData,
    seed: int,
    epochs: int,
    train: Mapping[str, Any] | None = None,
    before: Callable[[bs.BetaSCVI], None] | None = None,
    batch: str | None = None,
    **changes: Any,
) -> Embedded:
    """BetaSCVI with the preset, or changes to its model and its training."""
    preset = bs.presets.unsupervised(N_AXES)
    bs.BetaSCVI.setup_anndata(adata, layer="counts", batch_key=batch)
    scvi.settings.seed = seed
    model = bs.BetaSCVI(adata, **{**preset.model, **changes})
    if before is not None:
        before(model)
    model.train(**{**preset.train, "max_epochs": epochs, **QUIET, **(train or {})})
    programs = bs.tl.attribute_genes(model)
    alive = ~programs.is_vanished
    return Embedded(
        model.get_latent_representation(),
        _held_out(model),
        programs.effects[alive].reshape(-1, adata.n_vars),
        {"axes_alive": int(alive.sum()), "duplicates": len(programs.duplicates)},
    )


def scvi_vae(adata: AnnData, seed: int, epochs: int) -> Embedded:
    """A negative binomial scVI, its KL warm-up over half of the epochs."""
    SCVI.setup_anndata(adata, layer="counts")
    scvi.settings.seed = seed
    model = SCVI(adata, n_latent=N_AXES, gene_likelihood="nb")
    model.train(max_epochs=epochs, plan_kwargs={"n_epochs_kl_warmup": epochs // 2}, **QUIET)
    return Embedded(model.get_latent_representation(), _held_out(model))


def drvi(adata: AnnData, seed: int, epochs: int, **changes: Any) -> Embedded:
    """drvi-py as it documents itself: KL annealed over all epochs."""
    from drvi.model import DRVI

    DRVI.setup_anndata(adata, layer="counts", is_count_data=True)
    scvi.settings.seed = seed
    dims = {"encoder_dims": [128, 128], "decoder_dims": [128, 128]}
    model = DRVI(adata, n_latent=N_AXES, **dims, **changes)
    plan = {"n_epochs_kl_warmup": epochs}
    model.train(max_epochs=epochs, early_stopping=False, plan_kwargs=plan, **QUIET)
    return Embedded(np.asarray(model.get_latent_representation()), _held_out(model))


def pca(adata: AnnData, seed: int, epochs: int) -> Embedded:  # noqa: ARG001 (it has no epochs)
    """Principal components of log counts."""
    return Embedded(PCA(N_AXES, random_state=seed).fit_transform(log_counts(adata)))


def ica(adata: AnnData, seed: int, epochs: int) -> Embedded:
    """The same components, turned by ICA."""
    return Embedded(bs.tl.rotate(pca(adata, seed, epochs).z, "ica", seed=seed).z)


def nmf(adata: AnnData, seed: int, epochs: int) -> Embedded:  # noqa: ARG001 (it has no epochs)
    """Non-negative factors of log counts."""
    model = NMF(N_AXES, init="nndsvda", random_state=seed, max_iter=300)
    return Embedded(model.fit_transform(log_counts(adata)))


def _held_out(model: Any) -> float | None:
    try:
        error = model.get_reconstruction_error(indices=model.validation_indices)
    except (AttributeError, KeyError, NotImplementedError, TypeError, ValueError):
        return None
    return float(error["reconstruction_loss"])


def _joint(adata: AnnData, seed: int, epochs: int) -> Embedded:
    return ours(adata, seed, epochs, decoder="joint", extra_decoder_kwargs=None)


def _logit(adata: AnnData, seed: int, epochs: int) -> Embedded:
    return ours(adata, seed, epochs, extra_decoder_kwargs={"pooling": "logit"})


def _softplus(adata: AnnData, seed: int, epochs: int) -> Embedded:
    return ours(adata, seed, epochs, extra_decoder_kwargs=None)


def _average(adata: AnnData, seed: int, epochs: int) -> Embedded:
    return drvi(adata, seed, epochs, split_aggregation="sum")  # their name of the mean


def _batch(adata: AnnData, seed: int, epochs: int) -> Embedded:
    return ours(adata, seed, epochs, batch=BATCH)


def _joint_batch(adata: AnnData, seed: int, epochs: int) -> Embedded:
    changes: dict[str, Any] = {"decoder": "joint", "extra_decoder_kwargs": None}
    return ours(adata, seed, epochs, batch=BATCH, **changes)


METHODS: dict[str, Embed] = {
    "additive": ours,
    "joint": _joint,
    "additive, batch": _batch,
    "joint, batch": _joint_batch,
    "additive, logits": _logit,
    "additive, softplus gates": _softplus,
    "scVI": scvi_vae,
    "PCA": pca,
    "ICA": ica,
    "NMF": nmf,
    "DRVI": drvi,
    "DRVI-AP": _average,
}
NEED_BATCH = ("additive, batch", "joint, batch")
"""The decoder is conditioned on the batch."""
CLASSIFIER = "classifier (labels)"
NEED_DRVI = ("DRVI", "DRVI-AP")
TURNED = {"scVI + ICA": "scVI", "additive + ICA": "additive"}
"""Axes of another method's run, turned by ICA."""


def turned(z: np.ndarray, held_out_nll: float | None, seed: int) -> Embedded:
    """Positions of a run, turned by ICA; axes that do not move are left out."""
    return Embedded(bs.tl.rotate(z[:, z.std(0) > 0], "ica", seed=seed).z, held_out_nll)


def classifier(labels: Sequence[str], adata: AnnData, seed: int, _epochs: int) -> Embedded:
    """Probabilities of the labels for cells a classifier has not seen: an axis for each level.

    What somebody with the labels gets from the same counts; no method here sees them.
    """
    x = PCA(50, random_state=seed).fit_transform(log_counts(adata))
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    reader = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    codes = [adata.obs[name].astype("category").cat.codes.to_numpy() for name in labels]
    each = [cross_val_predict(reader, x, y, cv=folds, method="predict_proba") for y in codes]
    return Embedded(np.hstack(each))
