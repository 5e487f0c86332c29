"""Ours and every baseline, under one signature: a split and a seed in, predicted cells out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from anndata import AnnData
from scvi.model import SCANVI, SCVI
from sklearn.decomposition import PCA

import betascvi as bs
from benchmarks._counterfactual_scores import log_per_10k
from benchmarks._counterfactual_sets import Split
from betascvi.model._cells import cells_of
from betascvi.model._predictive import draw_pair, predictive


class PeerMissingError(RuntimeError):
    """A peer that is not here, or a method that does not apply."""


class Predicted(NamedTuple):
    """Log counts per 10,000 of predicted cells, and gene means as expectations would have them."""

    drawn: np.ndarray
    expected: np.ndarray
    fitted: Any = None


Method = Callable[[Split, int, int], Predicted]
"""Split, seed and epochs."""


def _logged(adata: AnnData) -> np.ndarray:
    return log_per_10k(adata.X)


def _cells(logged: np.ndarray) -> Predicted:
    return Predicted(logged, logged.mean(0))


def _arms(split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Logged training cells, which of them are target or control, and their groups."""
    training = split.training
    condition = training.obs["condition"].astype(str).to_numpy()
    groups = training.obs["group"].astype(str).to_numpy()
    return _logged(training), condition == split.target, condition == split.control, groups


def _shifts(split: Split, space: np.ndarray) -> dict[str, np.ndarray]:
    """Group -> mean of target minus mean of control, for groups that have both."""
    _, is_target, is_control, groups = _arms(split)
    found = {}
    for group in np.unique(groups):
        here = groups == group
        if (here & is_target).sum() and (here & is_control).sum():
            found[str(group)] = space[here & is_target].mean(0) - space[here & is_control].mean(0)
    return found


def _mean_shift(split: Split, space: np.ndarray) -> np.ndarray:
    return np.mean(list(_shifts(split, space).values()), axis=0)


def no_change(split: Split, _seed: int, _epochs: int) -> Predicted:
    """The control cells of the held-out group, as they are."""
    return _cells(_logged(split.adata[split.start]))


def mean_shift(split: Split, _seed: int, _epochs: int) -> Predicted:
    """Control cells plus the mean over groups of (target - control), in log space."""
    logged = _arms(split)[0]
    shifted = _logged(split.adata[split.start]) + _mean_shift(split, logged)
    return _cells(np.maximum(shifted, 0.0))


def nearest_shift(split: Split, _seed: int, _epochs: int) -> Predicted:
    """Control cells plus the shift of the group whose control cells are nearest to them."""
    logged, _, is_control, groups = _arms(split)
    start = _logged(split.adata[split.start])
    shifts = _shifts(split, logged)
    apart = {
        group: np.linalg.norm(logged[is_control & (groups == group)].mean(0) - start.mean(0))
        for group in shifts
    }
    return _cells(np.maximum(start + shifts[min(apart, key=lambda g: apart[g])], 0.0))


def pca_shift(split: Split, seed: int, _epochs: int) -> Predicted:
    """The mean shift of 50 principal components."""
    logged = _arms(split)[0]
    pca = PCA(min(50, *logged.shape), random_state=seed).fit(logged)
    z = pca.transform(_logged(split.adata[split.start]))
    moved = z + _mean_shift(split, pca.transform(logged))
    return _cells(np.maximum(pca.inverse_transform(moved), 0.0))


def fitted_shifts(split: Split, _seed: int, _epochs: int) -> Predicted:
    """The sum of the groups' shifts that is nearest to the answer, which it reads.

    No method: what can be had of the responses of the groups that were seen.
    """
    shifts = np.stack(list(_shifts(split, _arms(split)[0]).values()))
    start, answer = _logged(split.adata[split.start]), _logged(split.adata[split.held_out])
    weights = np.linalg.lstsq(shifts.T, answer.mean(0) - start.mean(0), rcond=None)[0]
    return _cells(np.maximum(start + weights @ shifts, 0.0))


def _train(model: Any, epochs: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.train(max_epochs=epochs, accelerator="cpu", enable_progress_bar=False)


def _scvi(split: Split, seed: int, epochs: int, batch_key: str | None) -> tuple[SCVI, AnnData]:
    import scvi

    scvi.settings.seed = seed
    training = split.training
    SCVI.setup_anndata(training, batch_key=batch_key, labels_key="group")
    model = SCVI(training, gene_likelihood="nb")
    _train(model, epochs)
    return model, training


def scvi_latent_shift(split: Split, seed: int, epochs: int) -> Predicted:
    """ScGen's arithmetic in scVI's latent: z plus the mean over groups of the shifts."""
    theirs, training = _scvi(split, seed, epochs, None)
    model = bs.BetaSCVI.from_scvi(theirs)
    shift = _mean_shift(split, model.get_latent_representation(training))
    start = split.adata[split.start].copy()
    z = model.get_latent_representation(start) + shift.astype(np.float32)
    sizes = cells_of(model, start, None).sizes
    expected = predictive(model, z, sizes, {})
    drawn, _ = draw_pair(expected, expected, np.random.default_rng(seed))
    return Predicted(log_per_10k(drawn), log_per_10k(expected.mean).mean(0), model)


@lru_cache(maxsize=1)
def _scvi_of_condition(split: Split, seed: int, epochs: int) -> SCVI:
    return _scvi(split, seed, epochs, "condition")[0]


def scvi_transform_batch(split: Split, seed: int, epochs: int) -> Predicted:
    """ScVI with the condition as its batch, decoded under the target."""
    theirs = _scvi_of_condition(split, seed, epochs)
    return _by_counterfactual(bs.BetaSCVI.from_scvi(theirs), split, seed)


def scvi_carried(split: Split, seed: int, epochs: int) -> Predicted:
    """The same scVI, with our way of carrying the counts of the cells over."""
    theirs = _scvi_of_condition(split, seed, epochs)
    return _by_counterfactual(bs.BetaSCVI.from_scvi(theirs), split, seed, "carried")


def scanvi_transform_batch(split: Split, seed: int, epochs: int) -> Predicted:
    """ScANVI with the condition as its batch and groups as labels, decoded under the target."""
    theirs = _scvi_of_condition(split, seed, epochs)
    model = SCANVI.from_scvi_model(theirs, unlabeled_category="unknown")
    _train(model, max(epochs // 10, 1))
    start = split.adata[split.start].copy()
    sizes = np.asarray(start.X.sum(1))
    mean = sizes * model.get_normalized_expression(
        start, transform_batch=split.target, n_samples=5, return_numpy=True
    )
    theta = model.module.px_r.exp().detach().cpu().numpy()
    rng = np.random.default_rng(seed)
    drawn = rng.poisson(mean * rng.standard_gamma(theta, mean.shape) / theta)
    return Predicted(log_per_10k(drawn), log_per_10k(mean).mean(0), model)


def _by_counterfactual(
    model: bs.BetaSCVI,
    split: Split,
    seed: int,
    output: Any = "counts",
    by: str | None = None,
) -> Predicted:
    start = split.adata[split.start].copy()
    target = {"condition": split.target}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # never seen together: that is the question
        drawn = bs.tl.counterfactual(
            model, start, target, output=output, seed=seed, calibrate_by=by
        )
        expected = bs.tl.counterfactual(model, start, target, calibrate_by=by)
    of = [record.to_anndata().X for record in (drawn, expected)]
    return Predicted(log_per_10k(of[0]), log_per_10k(of[1]).mean(0), model)


@lru_cache(maxsize=1)
def _covariate(split: Split, seed: int, epochs: int) -> bs.BetaSCVI:
    import scvi

    scvi.settings.seed = seed
    training = split.training
    bs.BetaSCVI.setup_anndata(
        training, categorical_covariate_keys=["condition"], factor_keys=["group"]
    )
    model = bs.BetaSCVI(training)
    _train(model, epochs)
    return model


@lru_cache(maxsize=2)  # with the held-out cells, and without
def _anchored(split: Split, seed: int, epochs: int, effect: Any) -> bs.BetaSCVI:
    import scvi

    scvi.settings.seed = seed
    training = split.training
    bs.BetaSCVI.setup_anndata(training, factor_keys=["condition", "group"])
    model = bs.BetaSCVI(training, anchors=[bs.Anchor("condition", effect=effect)])
    _train(model, epochs)
    return model


def ours_covariate(split: Split, seed: int, epochs: int) -> Predicted:
    """BetaSCVI, the decoder conditioned on the condition; counts from the predictive."""
    return _by_counterfactual(_covariate(split, seed, epochs), split, seed)


def ours_covariate_carried(split: Split, seed: int, epochs: int) -> Predicted:
    """The same model, the counts of the control cells carried over."""
    return _by_counterfactual(_covariate(split, seed, epochs), split, seed, "carried")


def ours_anchored(
    split: Split,
    seed: int,
    epochs: int,
    effect: str = "joint",
    output: str = "counts",
    by: str | None = None,
) -> Predicted:
    """BetaSCVI, the condition anchored in a block of its own: counts drawn, or carried over."""
    return _by_counterfactual(_anchored(split, seed, epochs, effect), split, seed, output, by)


_calibrated = partial(ours_anchored, output="carried", by="group")
"""Carried over, with what the model misses of groups that were seen in both conditions."""


def floor(split: Split, seed: int, _epochs: int) -> Predicted:
    """Half of the held-out cells for the other half: as near as sampling allows."""
    held = _logged(split.adata[split.held_out])
    half = np.random.default_rng(seed).permutation(len(held))[: len(held) // 2]
    return _cells(held[half])


METHODS: dict[str, Method] = {
    "ours (anchored)": ours_anchored,
    "ours (anchored), drawn, calibrated": partial(ours_anchored, effect="joint", by="group"),
    "ours (anchored), carried": partial(ours_anchored, output="carried"),
    "ours (anchored), calibrated": partial(_calibrated, effect="joint"),
    "ours (linear)": partial(ours_anchored, effect="linear"),
    "ours (linear), drawn, calibrated": partial(ours_anchored, effect="linear", by="group"),
    "ours (linear), carried": partial(ours_anchored, effect="linear", output="carried"),
    "ours (linear), calibrated": partial(_calibrated, effect="linear"),
    "ours (added)": partial(ours_anchored, effect="added"),
    "ours (added), drawn, calibrated": partial(ours_anchored, effect="added", by="group"),
    "ours (added), carried": partial(ours_anchored, effect="added", output="carried"),
    "ours (added), calibrated": partial(_calibrated, effect="added"),
    "ours (covariate)": ours_covariate,
    "ours (covariate), carried": ours_covariate_carried,
    "no change": no_change,
    "mean shift": mean_shift,
    "nearest-type shift": nearest_shift,
    "PCA + shift": pca_shift,
    "scVI latent shift (scGen's arithmetic)": scvi_latent_shift,
    "scVI transform_batch": scvi_transform_batch,
    "scVI transform_batch, carried": scvi_carried,
    "scANVI transform_batch": scanvi_transform_batch,
    "shifts weighted by the answer": fitted_shifts,
    "split-half floor": floor,
}
