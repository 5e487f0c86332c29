"""The parts of a negative binomial before anything is summed, evaluated in log space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from betascvi.likelihoods._fused import Needs, Parameters
from betascvi.likelihoods._rate import Normalise, gradient_to_logits, log_share
from betascvi.likelihoods._rows import SparseRows, widest
from betascvi.likelihoods._special import (
    log_rising_factorial,
    softplus,
    softplus_minus_sigmoid,
)


@dataclass
class Terms:
    """Dense parts are (cells, genes) and may be overwritten; the others lie at the non-zeros.

    With cost = theta log(1 + mu / theta), the log-likelihood of a zero is -cost and that of a
    count x is gain - cost - log x!.
    """

    cost: torch.Tensor
    cost_by_rate: torch.Tensor  # derivative by log mu
    cost_by_theta: Callable[[], torch.Tensor]  # derivative by log theta; may overwrite the cost
    gain: torch.Tensor
    gain_by_rate: torch.Tensor
    gain_by_theta: torch.Tensor | None
    to_logits: Callable[[torch.Tensor], torch.Tensor]  # from a gradient by log mu; may overwrite it


def log_space_terms(rows: SparseRows, at: Parameters, normalise: Normalise, needs: Needs) -> Terms:
    """Evaluate every term in log space: finite for all finite arguments, on any device."""
    assert at.log_dispersion is not None
    share = log_share(at.logits, normalise)
    log_rate = share + at.log_library
    # Beyond these the negative binomial is its Poisson limit to the last bit.
    bound = 80.0 if log_rate.dtype == torch.float64 else 40.0
    log_theta = at.log_dispersion.to(log_rate.dtype).clamp(max=bound)
    theta, u = torch.exp(log_theta), log_rate - log_theta
    exact = widest(log_rate.device)
    x = rows.value.to(exact)
    theta_at = at_counts(log_theta, rows).to(exact)
    u_at = log_rate.reshape(-1).take(rows.index).to(exact) - theta_at
    rising, rising_slope = log_rising_factorial(x, theta_at)
    # The rising factorial comes without x log theta where theta > 1; neither is it added here.
    log_odds = theta_at.clamp(min=0.0) - softplus(-u_at)
    gain, cost = rising + x * log_odds, theta * softplus(u)
    if cost.dtype != exact:
        large = rows.large
        exact_cost = theta_at[large].exp() * softplus(u_at[large])
        mend_at_large_counts(gain, cost.take(rows.index[large]), exact_cost, rows)
    by_theta = needs.log_dispersion
    return Terms(
        cost=cost,
        cost_by_rate=theta * torch.sigmoid(u),
        cost_by_theta=lambda: theta * softplus_minus_sigmoid(u),
        gain=gain,
        gain_by_rate=(x * torch.sigmoid(-u_at)).to(u.dtype),
        gain_by_theta=(rising_slope + x * torch.sigmoid(u_at)).to(u.dtype) if by_theta else None,
        to_logits=lambda by_rate: gradient_to_logits(by_rate, at.logits, share, normalise),
    )


def at_counts(parameter: torch.Tensor, rows: SparseRows) -> torch.Tensor:
    """Values of a (genes,) or (cells, genes) parameter at the non-zeros."""
    return parameter[rows.col] if parameter.ndim == 1 else parameter.reshape(-1)[rows.index]


def mend_at_large_counts(
    gain: torch.Tensor, cost: torch.Tensor, exact_cost: torch.Tensor, rows: SparseRows
) -> None:
    """Give the gain of large counts what rounding took from their cost: the two nearly cancel."""
    gain[rows.large] += cost.to(gain.dtype) - exact_cost


def subtract_at_counts(dense: torch.Tensor, rows: SparseRows, values: torch.Tensor) -> torch.Tensor:
    """Subtract ``values`` at the non-zeros, in place."""
    dense.view(-1).scatter_add_(0, rows.index, -values)
    return dense


def sum_over_genes(dense: torch.Tensor, rows: SparseRows, sparse: torch.Tensor) -> torch.Tensor:
    """Dense part less the sparse one plus log x!, per cell; added up in double precision."""
    total = dense.sum(1, dtype=widest(dense.device))
    return (rows.log_factorial - rows.sum_per_cell(sparse) + total).to(dense.dtype)
