"""What the model expects of cells at given positions, and counts drawn from it, in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.special import expit, gammainc, gammaincinv
from scvi import REGISTRY_KEYS

from betascvi.model._cells import is_of_embedding
from betascvi.model._decoding import generative_inputs
from betascvi.model._handles import covariates_of
from betascvi.module import DECODED_KEY

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI


@dataclass(frozen=True, slots=True, eq=False)
class Predictive:
    """The likelihood of each cell and gene."""

    mean: np.ndarray
    """(cells, genes) expected expression, before zero inflation."""
    dispersion: np.ndarray | None = None
    """(genes,) or (cells, genes): inverse dispersion, or the deviation of a Gaussian."""
    dropout: np.ndarray | None = None
    """(cells, genes) probability of a zero of its own kind."""
    is_gaussian: bool = False

    @property
    def expected(self) -> np.ndarray:
        """(cells, genes) expected expression, zero inflation counted in."""
        return self.mean if self.dropout is None else self.mean * (1.0 - self.dropout)


@torch.inference_mode()
def predictive(
    model: BetaSCVI,
    z: np.ndarray,
    sizes: np.ndarray,
    setting: Mapping[str, np.ndarray],
    classes: np.ndarray | None = None,
) -> Predictive:
    """Decode one chunk of cells under one setting (codes) of the covariates.

    ``classes`` are codes of ``labels_key``; without them a dispersion that goes by label is None.
    """
    module: Any = model.module
    device = next(module.parameters()).device
    inputs = generative_inputs(z, sizes, covariates_of(model), setting, slice(None))
    inputs["y"] = None if classes is None else torch.as_tensor(classes)[:, None]
    inputs = {k: None if v is None else v.to(device) for k, v in inputs.items()}
    decoded = module.generative(**inputs, as_distribution=False)[DECODED_KEY]
    mean = module.likelihood.mean(decoded).cpu().numpy()
    theta = decoded.log_dispersion
    dropout = decoded.dropout_logits
    loadings = _loadings(model)
    return Predictive(
        mean if loadings is None else loadings.to_genes(mean),
        None if theta is None else theta.exp().cpu().numpy(),
        None if dropout is None else expit(dropout.cpu().numpy()),
        is_gaussian=is_gaussian(model),
    )


def is_gaussian(model: BetaSCVI) -> bool:
    """Whether it expects real values, of an embedding or of what stands for counts."""
    return is_of_embedding(model) or str(model.module.gene_likelihood) == "normal"


def output_names(model: BetaSCVI, var_names: Sequence[str]) -> list[str]:
    """Names of what comes out: genes, or the axes of an embedding without loadings."""
    if not is_of_embedding(model) or _loadings(model) is not None:
        return [str(name) for name in var_names]
    return [f"axis_{i + 1}" for i in range(model.module.n_input)]


def draw_pair(
    one: Predictive, other: Predictive, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    r"""Counts of the same cells under two likelihoods, with the same randomness.

    Both arms have their own distribution exactly. A negative binomial is a Poisson whose rate is
    scaled by a gamma variate; both arms share its quantile, and the Poisson counts are coupled:
    :math:`\lambda' < \lambda` keeps each count with probability :math:`\lambda' / \lambda`,
    :math:`\lambda' > \lambda` adds a Poisson of the difference. Equal arms draw equal counts.
    """
    is_inflated = one.dropout is not None and other.dropout is not None
    u = rng.random(one.mean.shape) if is_inflated else None  # first: the same whatever the other is
    scale, other_scale = _shared_scales(one, other, rng)
    rate = one.mean.astype(np.float64) * scale
    other_rate = other.mean.astype(np.float64) * other_scale
    counts = rng.poisson(rate)
    paired = _coupled(counts, rate, other_rate, rng)
    if u is not None and one.dropout is not None and other.dropout is not None:
        counts, paired = counts * (u >= one.dropout), paired * (u >= other.dropout)
    return counts.astype(np.float32), paired.astype(np.float32)


def carry(
    counts: np.ndarray, one: Predictive, other: Predictive, rng: np.random.Generator
) -> np.ndarray:
    r"""Counts under ``other``, given what was counted under ``one``.

    The pair of :func:`draw_pair` with its first half given. What the cell has beyond its mean,
    :math:`s = \lambda / \mu`, is drawn from :math:`\mathrm{Gamma}(\theta + x, \theta + \mu)`,
    its posterior given the count, and stays; the count is thinned or added to. If the counts do
    follow ``one``, what comes out follows ``other`` exactly. Equal arms give the counts back.
    """
    scale, other_scale = _shared_scales(one, other, rng, counts)
    rate = one.mean.astype(np.float64) * scale
    other_rate = other.mean.astype(np.float64) * other_scale
    return _coupled(counts, rate, other_rate, rng).astype(np.float32)


def carried_mean(counts: np.ndarray, one: Predictive, other: Predictive) -> np.ndarray:
    """What :func:`carry` gives on average, where both arms have one dispersion."""
    mean, moved = one.mean.astype(np.float64), other.mean.astype(np.float64)
    scale = 1.0
    if one.dispersion is not None:
        scale = (one.dispersion + counts) / (one.dispersion + mean)
    kept = np.divide(moved, mean, out=np.ones_like(mean), where=mean > moved)
    return np.asarray(counts * kept + scale * np.maximum(moved - mean, 0.0))


def _coupled(
    counts: np.ndarray, rate: np.ndarray, other_rate: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Poisson counts of ``rate``, thinned or added to until they are of ``other_rate``.

    Fractional ones (of corrected counts) are rounded where they are thinned, and else stay.
    """
    kept = np.divide(other_rate, rate, out=np.ones_like(rate), where=rate > other_rate)
    more = rng.poisson(np.maximum(other_rate - rate, 0.0))
    thinned = rng.binomial(np.rint(counts).astype(np.int64), kept)
    return np.asarray(np.where(kept < 1.0, thinned, counts) + more)


def _shared_scales(
    one: Predictive,
    other: Predictive,
    rng: np.random.Generator,
    counts: np.ndarray | None = None,
) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Gamma variates for both arms, at the same quantiles: of mean one, or given counts."""
    if one.dispersion is None or other.dispersion is None:
        return 1.0, 1.0
    theta = np.broadcast_to(one.dispersion, one.mean.shape).astype(np.float64)
    if counts is None:
        scale = rng.standard_gamma(theta) / theta
    else:
        scale = rng.standard_gamma(theta + counts) / (theta + one.mean)
    if np.array_equal(one.dispersion, other.dispersion):
        return scale, scale
    other_theta = np.broadcast_to(other.dispersion, one.mean.shape).astype(np.float64)
    quantile = np.clip(gammainc(theta, scale * theta), 1e-12, 1.0 - 1e-12)
    moved = gammaincinv(other_theta, quantile) / other_theta
    return scale, np.where(theta == other_theta, scale, moved)


def _loadings(model: BetaSCVI) -> Any:
    state = model.registry["field_registries"][REGISTRY_KEYS.X_KEY]["state_registry"]
    return state.get("loadings")
