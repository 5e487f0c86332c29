"""Counts of cells as they would be under other expectations, with the same randomness."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Gamma

from betascvi.module._decoded import Decoded
from betascvi.module._likelihood import Likelihood

_LARGEST = 1e8  # dispersion: beyond it a negative binomial is a Poisson


def carried(likelihood: Likelihood, x: Tensor, one: Decoded, other: Decoded) -> Tensor:
    r"""Data under ``other``, given what was seen under ``one``: (cells, genes).

    What the cell has beyond its mean :math:`\mu` stays: a negative binomial's gamma variate is
    drawn from its posterior :math:`s \sim \mathrm{Gamma}(\theta + x, \theta + \mu)`, and the
    Poisson count of rate :math:`s \mu` is thinned or added to until it is of rate
    :math:`s \mu'`. Genes with equal means keep their counts to the last one. A Gaussian keeps its
    residual. Dispersion and zero inflation are those of ``one``. It is what
    ``tl.counterfactual(output="carried")`` does to arrays, on the device of a training.
    """
    mean, moved = likelihood.mean(one), likelihood.mean(other)
    if not likelihood.is_of_counts:
        return x + moved - mean
    scale: Tensor | float = 1.0
    if likelihood.is_overdispersed:
        theta = one.dispersion.exp().clamp(max=_LARGEST).expand_as(mean)
        scale = Gamma(theta + x, theta + mean, validate_args=False).sample()
    added = torch.poisson((moved - mean).clamp(min=0.0) * scale)
    if likelihood.has_dropout:
        added = torch.where(_is_dropped(x, mean, one), 0.0, added)
    kept = (moved / mean.clamp(min=1e-30)).clamp(max=1.0)
    seen = (kept < 1.0) & (x > 0)
    stays = x.clone()
    stays[seen] = torch.binomial(x[seen].round(), kept[seen])
    return stays + added


def _is_dropped(x: Tensor, mean: Tensor, decoded: Decoded) -> Tensor:
    """Drawn given the data: a count is not dropped, a zero may have been one anyway."""
    theta = decoded.dispersion.exp().clamp(max=_LARGEST)
    log_zero = -theta * torch.log1p(mean / theta)
    # odds of a dropped zero against one of the negative binomial
    share = torch.sigmoid(decoded.dropout - log_zero)
    return (x == 0) & (torch.rand_like(share) < share)
