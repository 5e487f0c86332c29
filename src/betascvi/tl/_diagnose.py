"""``tl.diagnose``: has the latent collapsed, does the decoder listen, what is the regime."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from betascvi._errors import TrainingError
from betascvi._random_state import seeded
from betascvi._whole_numbers import refuse_count
from betascvi.metrics._diagnosis import Diagnosis, Fit, axes_of, problems_of
from betascvi.metrics._gene_means import Family, GeneMeans, fit_gene_means
from betascvi.metrics._information_identity import information_identity
from betascvi.metrics._regime import Support, regime_of, support
from betascvi.metrics._sigma_verdict import SENTENCES, SigmaVerdict
from betascvi.model import BetaSCVI, prior_draws
from betascvi.model._cells import training_rows
from betascvi.model._predictive import is_gaussian
from betascvi.model._sigmas import sigma_verdict_of
from betascvi.objectives import resolve
from betascvi.tl._own_settings import (
    argument_of,
    batch_codes,
    data_of,
    is_embedding,
    own_covariates,
    per_10k,
    sizes_of,
)

_MOST_CELLS_DECODED = 600
_N_PRIOR_DRAWS = 300
_LEAST_CELLS = 12
"""Half of them are more than the five neighbours that ``support`` looks at."""


def diagnose(model: BetaSCVI, *, n_cells: int = 2000, seed: int = 0) -> Diagnosis:
    r"""What is right and wrong with the latent of a trained model.

    Reports, for the free axes: active units (variance of the posterior means over 0.01, Burda et
    al., 2016); the KL of each axis; how far the decoder listens to it; the reconstruction against
    gene means; the identity

    .. math::
        \mathbb{E}_x \mathrm{KL}(q(z \mid x) \,\|\, p(z)) = I(x; z)
        + \mathrm{KL}(q(z) \,\|\, p(z))

    with both terms; the regime in a word (islands, balanced, noise); the gap between training
    and held-out cells; realised weights.

    Parameters
    ----------
    model
        A trained model with the cells it was trained on.
    n_cells
        Training (and held-out) cells whose ELBO and reconstruction are compared with gene
        means, at most. Posteriors are those of all training cells.
    seed
        Of the draws and of the choice of cells.

    Returns
    -------
    The record: ``print`` it for sentences, ``.to_frame()`` has one row an axis, ``.figures()``
    those of the whole model, ``.problems`` what to act on (empty for a healthy model).

    Notes
    -----
    The aggregate posterior is evaluated over all training cells at every draw; up to 20,000
    cells every cell is drawn from, beyond that a sample of them (2,000 at least). I(x; z) cannot
    pass the logarithm of the number of cells. The sensitivity of an axis is the mean squared
    change of log1p(counts per 10,000) when it moves by one standard deviation of its codes, over
    the variance of the same between cells, each cell in its own batch and covariates.

    Examples
    --------
    >>> diagnosis = bs.tl.diagnose(model)
    >>> print(diagnosis)
    >>> diagnosis.to_frame()
    """
    refuse_count("n_cells", n_cells)
    training, held_out = _cells_of(model)
    rng = np.random.default_rng(seed)
    mean, variance = _posterior(model, training)
    free = model.blocks["free"]
    sensitivity, spread, look = _decoded(model, training, mean, variance, rng)
    axes = axes_of(model.axis_names[free], mean[:, free], variance[:, free], sensitivity[free])
    identity = information_identity(mean[:, free], variance[:, free], rng=rng)
    train, unseen = _fits(model, training, held_out, n_cells, rng)
    regime, reason = regime_of(identity.information, identity.overlap, train.gain)
    sigmas = sigma_verdict_of(
        resolve(argument_of(model, "objective")), model.history or {}, train.null_distortion
    )
    return Diagnosis(
        axes, identity, train, unseen, look, spread, regime, reason,
        weights=MappingProxyType(realised_weights(model.history or {})),
        verdicts=() if sigmas is None else (str(sigmas),),
        problems=(*problems_of(axes, regime, reason, train, unseen), *_of_sigmas(sigmas)),
    )  # fmt: skip


def realised_weights(history: Mapping[str, Any]) -> dict[str, float]:
    """Weight of each penalty in the last epoch, by the penalty's name."""
    last = {name: float(frame.iloc[-1, 0]) for name, frame in history.items() if len(frame)}
    weights = {k.removesuffix("_weight"): v for k, v in last.items() if k.endswith("_weight")}
    if "realised_beta" in last:
        weights["realised_beta"] = last["realised_beta"]
    return weights


def _of_sigmas(verdict: SigmaVerdict | None) -> tuple[str, ...]:
    if verdict is None:
        return ()
    swings = ("sigmas oscillate: lower plan_kwargs={'state_lr': ...}",)
    named = tuple(f"{name}: {SENTENCES[name]}" for name in verdict.signatures)
    return (*(swings if verdict.state == "oscillating" else ()), *named)


def _cells_of(model: BetaSCVI) -> tuple[np.ndarray, np.ndarray]:
    if not model.is_trained:
        raise TrainingError("diagnose needs a trained model; call model.train() first.")
    if model.adata is None or model.minified_data_type is not None:
        raise ValueError(
            "diagnose needs the counts of the training cells, which this model has not got; load "
            "it with adata= the full AnnData."
        )
    training = training_rows(model)
    if training is None:
        raise ValueError(
            "diagnose needs the cells that the model was trained on, and those of model.adata are "
            "others (or stand in another order); load it with adata= the AnnData of the training."
        )
    if len(training) < _LEAST_CELLS:
        raise ValueError(
            f"diagnose compares prior draws with halves of the training cells and needs "
            f"{_LEAST_CELLS} of them; the model was trained on {len(training)}."
        )
    held_out = np.sort(np.asarray(model.validation_indices, dtype=np.int64))
    return training, held_out


def _posterior(model: BetaSCVI, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = model.get_latent_representation(indices=cells.tolist(), return_dist=True)
    return mean.astype(np.float64), variance.astype(np.float64)


def _some(cells: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    return cells if len(cells) <= n else np.sort(rng.choice(cells, n, replace=False))


def _fits(
    model: BetaSCVI,
    training: np.ndarray,
    held_out: np.ndarray,
    n_cells: int,
    rng: np.random.Generator,
) -> tuple[Fit, Fit | None]:
    seen = _some(training, n_cells, rng)
    x = data_of(model, seen)
    likelihood: Any = "normal" if is_embedding(model) else argument_of(model, "gene_likelihood")
    family: Family = "nb" if likelihood == "zinb" else likelihood
    n_batches = int(model.summary_stats.n_batch)
    null = fit_gene_means(x, sizes_of(model, x, seen), batch_codes(model, seen), family, n_batches)
    unseen = _some(held_out, n_cells, rng)
    draws = int(rng.integers(2**31))
    return (
        _fit(model, seen, null, draws),
        _fit(model, unseen, null, draws) if len(unseen) else None,
    )


def _fit(model: BetaSCVI, cells: np.ndarray, null: GeneMeans, draws: int) -> Fit:
    """ELBO and distortion are of the same posterior draws."""
    x = data_of(model, cells)
    loss = null.negative_log_likelihood(x, sizes_of(model, x, cells), batch_codes(model, cells))
    with seeded(draws):
        elbo = float(model.get_elbo(indices=cells))
    with seeded(draws):
        distortion = model.get_reconstruction_error(indices=cells)["reconstruction_loss"]
    return Fit(len(cells), elbo, float(distortion), float(loss.mean()))


def _decoded(
    model: BetaSCVI,
    training: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float, Support]:
    """Sensitivity of each axis, spread between cells, and whether prior draws look like cells."""
    chosen = _some(np.arange(len(training)), _MOST_CELLS_DECODED, rng)
    rng.shuffle(chosen)
    covariates = own_covariates(model, model.adata, training[chosen])
    own_scale = np.sqrt(mean.var(0) + variance.mean(0))

    def expression(z: np.ndarray) -> np.ndarray:
        of_cells = {name: values[: len(z)] for name, values in covariates.items()}
        decoded = model.decode(z, covariates=of_cells).astype(np.float64)
        return decoded if is_gaussian(model) else np.log1p(per_10k(decoded))

    z = mean[chosen] + np.sqrt(variance[chosen]) * rng.standard_normal(mean[chosen].shape)
    at_cells = expression(z)
    spread = float(((at_cells - at_cells.mean(0)) ** 2).mean())
    steps = own_scale * np.eye(len(own_scale))
    change = [((expression(z + s) - expression(z - s)) ** 2).mean() / 4.0 for s in steps]
    draws = prior_draws(model, min(_N_PRIOR_DRAWS, len(z)), rng)
    half = len(z) // 2
    look = support(expression(draws), at_cells[half:], at_cells[:half])
    return np.array(change) / max(spread, np.finfo(float).tiny), spread**0.5, look
