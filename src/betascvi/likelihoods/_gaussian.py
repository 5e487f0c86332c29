"""Gaussian likelihood of dense values, such as principal components."""

from __future__ import annotations

import math

import torch


def gaussian(x: torch.Tensor, mean: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    r"""Negative log-likelihood under independent Gaussians, summed over features, in nats.

    .. math:: -\log p(x) = \sum_j \tfrac{1}{2} e^{-2 s_j} (x_j - m_j)^2 + s_j
        + \tfrac{1}{2} \log 2\pi

    Parameters
    ----------
    x
        Values, (cells, features).
    mean
        m, (cells, features) or (samples, cells, features).
    log_scale
        s, logarithm of the standard deviation, (features,) or shaped as the mean.

    Returns
    -------
    One figure per cell, (cells,) or (samples, cells).
    """
    if mean.shape[-2:] != x.shape[-2:]:
        raise ValueError(
            f"mean must end in (cells, features) = {tuple(x.shape)}; got {tuple(mean.shape)}."
        )
    standardised = (x - mean) * torch.exp(-log_scale)
    per_feature = 0.5 * standardised.square() + log_scale + 0.5 * math.log(2.0 * math.pi)
    return per_feature.sum(-1)
