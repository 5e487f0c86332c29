"""Embeddings without the batch, ours and of peers: an AnnData and a seed in, positions out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import scanpy as sc
from anndata import AnnData
from scvi.model import SCANVI, SCVI

import betascvi as bs
from betascvi.objectives import BetaVAE
from betascvi.schedules import Linear


class PeerMissingError(RuntimeError):
    """A peer that is not installed."""


Method = Callable[[AnnData, int, int], np.ndarray]
"""Cells (obs: batch, label), seed and epochs -> (cells, axes)."""


def _seeded(seed: int) -> None:
    import scvi

    scvi.settings.seed = seed


def _train(model: Any, epochs: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.train(max_epochs=epochs, accelerator="cpu", enable_progress_bar=False)


def pca(adata: AnnData, seed: int, _epochs: int) -> np.ndarray:
    """50 principal components of log counts per 10,000."""
    logged = adata.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    n = min(50, min(logged.shape) - 1)
    return np.asarray(sc.pp.pca(logged.X, n_comps=n, random_state=seed))


def harmony(adata: AnnData, seed: int, _epochs: int) -> np.ndarray:
    """Harmony on the same components."""
    if find_spec("harmonypy") is None:
        raise PeerMissingError("harmonypy is not installed (pip install betascvi[bench])")
    run = import_module("harmonypy").run_harmony
    found = np.asarray(run(pca(adata, seed, 0), adata.obs, "batch", random_state=seed).Z_corr)
    return found.T if found.shape[0] != adata.n_obs else found


def _fitted_scvi(adata: AnnData, seed: int, epochs: int) -> SCVI:
    _seeded(seed)
    SCVI.setup_anndata(adata, batch_key="batch", labels_key="label")
    model = SCVI(adata, gene_likelihood="nb")
    _train(model, epochs)
    return model


def scvi_latent(adata: AnnData, seed: int, epochs: int) -> np.ndarray:
    """ScVI with the batch."""
    return np.asarray(_fitted_scvi(adata.copy(), seed, epochs).get_latent_representation())


def scanvi_latent(adata: AnnData, seed: int, epochs: int) -> np.ndarray:
    """scANVI, which reads the labels it is scored by."""
    theirs = _fitted_scvi(adata.copy(), seed, epochs)
    model = SCANVI.from_scvi_model(theirs, unlabeled_category="unknown")
    _train(model, max(epochs // 10, 1))
    return np.asarray(model.get_latent_representation())


def drvi(adata: AnnData, seed: int, epochs: int) -> np.ndarray:
    """DRVI with the batch as a covariate."""
    if find_spec("drvi") is None:
        raise PeerMissingError("drvi-py is not installed (pip install betascvi[bench])")
    _seeded(seed)
    cells = adata.copy()
    model_class = import_module("drvi.model").DRVI
    model_class.setup_anndata(cells, categorical_covariate_keys=["batch"], is_count_data=True)
    model = model_class(cells, categorical_covariates=["batch"])
    _train(model, epochs)
    return np.asarray(model.get_latent_representation())


def ours_covariate(adata: AnnData, seed: int, epochs: int) -> np.ndarray:
    """BetaSCVI, the decoder conditioned on the batch."""
    _seeded(seed)
    cells = adata.copy()
    bs.BetaSCVI.setup_anndata(cells, batch_key="batch")
    model = bs.BetaSCVI(cells)
    _train(model, epochs)
    return np.asarray(model.get_latent_representation())


def ours_additive(adata: AnnData, seed: int, epochs: int, **changes: Any) -> np.ndarray:
    """The preset of axes without labels, its decoder conditioned on the batch."""
    _seeded(seed)
    cells = adata.copy()
    preset = bs.presets.unsupervised()
    bs.BetaSCVI.setup_anndata(cells, batch_key="batch")
    model = bs.BetaSCVI(cells, **{**preset.model, **changes})
    quiet = {"max_epochs": epochs, "accelerator": "cpu", "enable_progress_bar": False}
    model.train(**{**preset.train, **quiet})
    return np.asarray(model.get_latent_representation())


def ours_additive_slower(adata: AnnData, seed: int, epochs: int) -> np.ndarray:
    """The same with the decoder's own rate for its profiles, 1e-2 in place of the preset's."""
    return ours_additive(adata, seed, epochs, extra_decoder_kwargs={"gate": "sigmoid"})


def _anchored(
    adata: AnnData, seed: int, epochs: int, anchors: list[str], objective: Any = None
) -> np.ndarray:
    _seeded(seed)
    cells = adata.copy()
    bs.BetaSCVI.setup_anndata(cells, factor_keys=anchors)
    model = bs.BetaSCVI(cells, anchors=anchors, objective=objective)
    _train(model, epochs)
    return np.asarray(model.get_latent_representation(drop=["batch"]))


def ours_anchored(adata: AnnData, seed: int, epochs: int) -> np.ndarray:
    """BetaSCVI, the batch anchored and its block dropped: no label of a cell's type is read."""
    return _anchored(adata, seed, epochs, ["batch"])


def ours_at_scvi_s_weight(adata: AnnData, seed: int, epochs: int) -> np.ndarray:
    """The same, with the KL weighted as in the rows of scVI.

    scvi-tools raises the weight over 400 epochs, so that it ends at .5 after 200 of them.
    """
    weight = Linear(0.0, min(epochs / 400, 1.0), end=min(400 / epochs, 1.0))
    return _anchored(adata, seed, epochs, ["batch"], BetaVAE(beta=weight))


def ours_with_labels(adata: AnnData, seed: int, epochs: int) -> np.ndarray:
    """The same with the labels anchored as well; to be compared with scANVI alone."""
    return _anchored(adata, seed, epochs, ["batch", "label"])


METHODS: dict[str, Method] = {
    "ours (block dropped)": ours_anchored,
    "ours (block dropped), scVI's KL weight": ours_at_scvi_s_weight,
    "ours (batch as covariate)": ours_covariate,
    "ours (additive axes, batch as covariate)": ours_additive,
    "ours (additive axes at 1e-2, batch as covariate)": ours_additive_slower,
    "scVI": scvi_latent,
    "Harmony": harmony,
    "PCA": pca,
    "DRVI": drvi,
    "scANVI (reads labels)": scanvi_latent,
    "ours (labels anchored)": ours_with_labels,
}
