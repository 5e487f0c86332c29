"""Negative binomial likelihood, exact and aware of zeros."""

from __future__ import annotations

from typing import NamedTuple

import torch

from betascvi.likelihoods._fused import Evaluation, Needs, Parameters, fused
from betascvi.likelihoods._rate import Normalise, gradient_to_logits, log_share
from betascvi.likelihoods._rows import SparseRows
from betascvi.likelihoods._special import (
    log_rising_factorial,
    softplus,
    softplus_minus_sigmoid,
)


def negative_binomial(
    rows: SparseRows,
    logits: torch.Tensor,
    log_library: torch.Tensor,
    log_dispersion: torch.Tensor,
    normalise: Normalise = "softmax",
) -> torch.Tensor:
    r"""Negative log-likelihood of counts under a negative binomial, summed over genes, in nats.

    .. math:: -\log p(x) = \sum_g \log x_g! - \log\frac{\Gamma(x_g + \theta_g)}{\Gamma(\theta_g)}
        + \theta_g \log(1 + \mu_g / \theta_g) - x_g \log\frac{\mu_g}{\mu_g + \theta_g}

    where :math:`\mu = \ell \cdot \mathrm{softmax}(\mathrm{logits})` (or softplus, or exp). At x = 0
    only the third term is left, so log-gamma is evaluated at the non-zeros alone; no constant is
    added inside logarithms. The gradients are computed with the value, once: second derivatives
    are not available.

    Parameters
    ----------
    rows
        Counts of the minibatch.
    logits
        Output of the decoder, (cells, genes), or (samples, cells, genes).
    log_library
        Logarithm of the library size or size factor, (cells, 1). It must be finite: a cell without
        counts has no observed library, and its caller decides what stands in for it.
    log_dispersion
        log theta, (genes,) or (cells, genes). Beyond theta = e^40 (e^80 in double precision) the
        Poisson limit is reached and theta is cut there.
    normalise
        How logits become a rate per unit of library.

    Returns
    -------
    One figure per cell, (cells,) or (samples, cells).
    """
    parameters = Parameters(logits, log_library, log_dispersion)
    return fused(_evaluate, rows, parameters, normalise)


class Terms(NamedTuple):
    """The parts of a negative binomial before anything is summed."""

    cost: torch.Tensor  # theta log(1 + mu / theta), dense: what a zero costs
    slope: torch.Tensor  # its derivative by log mu
    log_theta: torch.Tensor
    u: torch.Tensor  # log mu - log theta, dense
    gain: torch.Tensor  # at the non-zeros: log-likelihood plus cost plus log x!
    gain_by_rate: torch.Tensor  # derivative of the gain by log mu
    gain_by_theta: torch.Tensor  # derivative of the gain by log theta


def negative_binomial_terms(
    rows: SparseRows, log_rate: torch.Tensor, log_dispersion: torch.Tensor
) -> Terms:
    """Evaluate every term in log space; finite for all finite arguments."""
    log_theta = log_dispersion.clamp(max=80.0 if log_dispersion.dtype == torch.float64 else 40.0)
    theta, u = torch.exp(log_theta), log_rate - log_theta
    sigmoid = torch.sigmoid(u)
    x = rows.value.to(log_rate.dtype)
    theta_at, u_at = _at_counts(log_theta, rows), u.reshape(-1)[rows.index]
    rising, rising_slope = log_rising_factorial(x, theta_at)
    # The rising factorial comes without x log theta where theta > 1, so it is not added here either.
    log_odds = torch.where(
        theta_at > 0.0, log_rate.reshape(-1)[rows.index] - softplus(u_at), -softplus(-u_at)
    )
    return Terms(
        cost=theta * softplus(u),
        slope=theta * sigmoid,
        log_theta=log_theta,
        u=u,
        gain=rising + x * log_odds,
        gain_by_rate=x * torch.sigmoid(-u_at),
        gain_by_theta=rising_slope + x * torch.sigmoid(u_at),
    )


def cost_by_dispersion(terms: Terms) -> torch.Tensor:
    """Derivative of the cost of a zero by log theta, dense."""
    return torch.exp(terms.log_theta) * softplus_minus_sigmoid(terms.u)


def _at_counts(parameter: torch.Tensor, rows: SparseRows) -> torch.Tensor:
    """Values of a (genes,) or (cells, genes) parameter at the non-zeros."""
    return parameter[rows.col] if parameter.ndim == 1 else parameter.reshape(-1)[rows.index]


def _evaluate(rows: SparseRows, at: Parameters, normalise: Normalise, needs: Needs) -> Evaluation:
    assert at.log_dispersion is not None
    share = log_share(at.logits, normalise)
    terms = negative_binomial_terms(rows, share + at.log_library, at.log_dispersion)
    nll = terms.cost.sum(1).index_add_(0, rows.row, terms.gain, alpha=-1.0)
    outcome = Evaluation(nll + rows.log_factorial.to(nll.dtype))
    if needs.log_dispersion:
        outcome.by_log_dispersion = subtract_at_counts(
            cost_by_dispersion(terms), rows, terms.gain_by_theta
        )
    if needs.rate:
        by_rate = subtract_at_counts(terms.slope, rows, terms.gain_by_rate)
        outcome.by_log_library = by_rate.sum(1, keepdim=True)
        outcome.by_logits = gradient_to_logits(by_rate, at.logits, share, normalise)
    return outcome


def subtract_at_counts(dense: torch.Tensor, rows: SparseRows, values: torch.Tensor) -> torch.Tensor:
    """Subtract ``values`` at the non-zeros, in place."""
    dense.view(-1).index_add_(0, rows.index, values, alpha=-1.0)
    return dense
