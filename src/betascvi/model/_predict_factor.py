"""What the block of a factor says of each cell's label."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from anndata import AnnData
from scipy.optimize import minimize_scalar
from torch import Tensor

from betascvi._errors import UnknownFactorError
from betascvi.data import FACTORS_KEY

if TYPE_CHECKING:
    import pandas as pd

    from betascvi.model._beta_scvi import BetaSCVI
    from betascvi.module import BlockPrior

_FEWEST_LABELS = 20
_LOG_TEMPERATURES = (-3.0, 7.0)


def predict_factor(model: BetaSCVI, adata: AnnData | None = None, key: str = "") -> pd.DataFrame:
    r"""Labels of cells from their counts, through the block of the factor.

    .. math::
        p(c \mid x) \propto \exp\left(-\frac{1}{2 T} \sum_j
        \frac{(\mu_j(x) - m_{cj})^2}{s^2 + \sigma_j^2(x)}\right)

    with the anchors :math:`m_c`, and :math:`T` fitted once, after training, to the labels of
    held-out cells (of training cells where none is held out; Guo et al., 2017).

    Parameters
    ----------
    adata
        Cells to read; those of the training by default. Labels in it are not looked at.
    key
        An anchored factor.

    Returns
    -------
    One row a cell: a probability for each level; ``mean`` and ``sd`` of a number; ``angle`` (in
    radians) and ``concentration`` (of a von Mises distribution) of an angle. A nested factor is
    read within its parent, which is itself read from its block, or where it has none taken from
    the labels of ``adata``.
    """
    import pandas as pd

    prior = _prior_of(model, key)
    mean, variance = _posterior(model, adata)
    temperature = getattr(model, "temperatures_", {}).get(key, 1.0)
    names = model.adata.obs_names if adata is None else adata.obs_names
    if prior.kind == "categorical":
        p = _level_probabilities(model, prior, mean, variance, adata)
        return pd.DataFrame(p, index=names, columns=list(prior.levels))
    own, spread = mean[:, prior.axes], variance[:, prior.axes]
    width = spread + prior.anchor.variance
    if prior.kind == "circular":
        angle = np.mod(np.arctan2(own[:, 1], own[:, 0]), 2 * np.pi)
        length = np.linalg.norm(own, axis=1)
        concentration = length / width.mean(1) / temperature
        return pd.DataFrame({"angle": angle, "concentration": concentration}, index=names)
    centre, scale = prior.scale.cpu().numpy().astype(float)
    sd = np.sqrt(width[:, 0] * temperature) * scale
    return pd.DataFrame({"mean": own[:, 0] * scale + centre, "sd": sd}, index=names)


def fit_temperatures(model: BetaSCVI, cells: np.ndarray) -> dict[str, float]:
    """Temperature of each block's predictions from the labels of these training-set cells.

    Where they have too few labels (a query has none, as a rule), the one that is known stays.
    """
    known = getattr(model, "temperatures_", {})
    if model.module.anchored is None or len(cells) == 0:
        return known
    mean, variance = _posterior(model, None, cells)
    factors = torch.as_tensor(_codes(model)[cells])
    found = {
        prior.name: _temperature(prior, mean[:, prior.axes], variance[:, prior.axes], factors)
        for prior in model.module.anchored.each
    }
    return {k: known.get(k, 1.0) if t is None else t for k, t in found.items()}


def _temperature(
    prior: BlockPrior, mean: np.ndarray, variance: np.ndarray, factors: Tensor
) -> float | None:
    values = prior.labels(factors).numpy().astype(float)
    known = np.isfinite(values)
    if known.sum() < _FEWEST_LABELS:
        return None
    own = torch.as_tensor(mean[known], dtype=torch.float32)
    sd = torch.as_tensor(np.sqrt(variance[known]), dtype=torch.float32)
    if prior.kind == "continuous":
        centre, scale = prior.scale.tolist()
        off = (mean[known, 0] - (values[known] - centre) / scale) ** 2
        return float((off / (variance[known, 0] + prior.anchor.variance)).mean())

    def loss(log_temperature: float) -> float:
        temperature = float(np.exp(log_temperature))
        if prior.kind == "circular":
            return _von_mises_loss(prior, mean[known], variance[known], values[known], temperature)
        log_p = prior.cpu_log_probabilities(own, sd, temperature, factors[torch.as_tensor(known)])
        code = torch.as_tensor(values[known]).long()
        return -float(log_p.gather(1, code[:, None]).mean())

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return float(np.exp(found.x))


def _von_mises_loss(
    prior: BlockPrior, mean: np.ndarray, variance: np.ndarray, angle: np.ndarray, t: float
) -> float:
    from scipy.special import i0e

    width = variance.mean(1) + prior.anchor.variance
    concentration = np.linalg.norm(mean, axis=1) / width / t
    off = np.cos(angle - np.arctan2(mean[:, 1], mean[:, 0])) - 1.0
    return float(-(concentration * off - np.log(i0e(concentration))).mean())


def _level_probabilities(
    model: BetaSCVI,
    prior: BlockPrior,
    mean: np.ndarray,
    variance: np.ndarray,
    adata: AnnData | None,
) -> np.ndarray:
    temperature = getattr(model, "temperatures_", {}).get(prior.name, 1.0)
    own = torch.as_tensor(mean[:, prior.axes], dtype=torch.float32)
    sd = torch.as_tensor(np.sqrt(variance[:, prior.axes]), dtype=torch.float32)
    if prior.parent_column is None:
        return prior.cpu_log_probabilities(own, sd, temperature, None).exp().numpy()
    of_parent = _parent_probabilities(model, prior, mean, variance, adata)
    p = np.zeros((len(own), len(prior.levels)))
    factors = torch.zeros(len(own), prior.parent_column + 1)
    for parent in range(of_parent.shape[1]):
        factors[:, prior.parent_column] = parent
        siblings = prior.cpu_log_probabilities(own, sd, temperature, factors).exp().numpy()
        has = prior.parent_of.cpu().numpy() == parent
        has |= not has.any()  # of a parent without a level of its own it may be any
        p[:, has] += siblings[:, has] * of_parent[:, [parent]]
    return p


def _parent_probabilities(
    model: BetaSCVI,
    prior: BlockPrior,
    mean: np.ndarray,
    variance: np.ndarray,
    adata: AnnData | None,
) -> np.ndarray:
    named = {p.name: p for p in model.module.anchored.each}
    parent = prior.anchor.within or ""
    if parent in named:
        return _level_probabilities(model, named[parent], mean, variance, adata)
    parent_of = prior.parent_of.cpu().numpy()
    share = np.bincount(parent_of, weights=prior.log_share.exp().cpu().numpy())
    p = np.tile(share / share.sum(), (len(mean), 1))
    codes = _codes(model, adata)[:, prior.parent_column]
    known = np.isfinite(codes)
    p[known] = np.eye(p.shape[1])[codes[known].astype(int)]
    return p


def _prior_of(model: BetaSCVI, key: str) -> BlockPrior:
    blocks = model.module.anchored
    named: Mapping[str, BlockPrior] = {} if blocks is None else {p.name: p for p in blocks.each}
    if not key and named:
        raise UnknownFactorError(f"key names the factor to predict; one of {list(named)}.")
    if key not in named:
        close = get_close_matches(key, named, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise UnknownFactorError(f"{key!r} is not anchored; the model anchors {list(named)}{hint}")
    return named[key]


def _posterior(
    model: BetaSCVI, adata: AnnData | None, cells: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = model.get_latent_representation(adata, indices=cells, return_dist=True)
    return mean.astype(float), variance.astype(float)


def _codes(model: BetaSCVI, adata: AnnData | None = None) -> np.ndarray:
    adata = model._validate_anndata(adata)
    manager: Any = model.get_anndata_manager(adata, required=True)
    return np.asarray(manager.get_from_registry(FACTORS_KEY), dtype=np.float32)
