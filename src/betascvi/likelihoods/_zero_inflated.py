"""Zero-inflated negative binomial likelihood, exact and aware of zeros."""

from __future__ import annotations

import torch

from betascvi.likelihoods._fused import Evaluation, Needs, Parameters, fused
from betascvi.likelihoods._negative_binomial import (
    Terms,
    cost_by_dispersion,
    negative_binomial_terms,
    subtract_at_counts,
)
from betascvi.likelihoods._rate import Normalise, gradient_to_logits, log_share
from betascvi.likelihoods._rows import SparseRows
from betascvi.likelihoods._special import softplus


def zero_inflated_negative_binomial(
    rows: SparseRows,
    logits: torch.Tensor,
    log_library: torch.Tensor,
    log_dispersion: torch.Tensor,
    dropout_logits: torch.Tensor,
    normalise: Normalise = "softmax",
) -> torch.Tensor:
    r"""Negative log-likelihood of counts under a zero-inflated negative binomial, in nats.

    .. math:: p(x) = \pi\,[x = 0] + (1 - \pi)\,\mathrm{NB}(x; \mu, \theta), \qquad
        \pi = \sigma(\mathrm{dropout\_logits})

    summed over genes; everything else is as in :func:`negative_binomial`, to which it tends as the
    dropout logits fall. Two more exponentials and logarithms per entry make it dearer.

    Parameters
    ----------
    rows
        Counts of the minibatch.
    logits
        Output of the decoder, (cells, genes), or (samples, cells, genes).
    log_library
        Logarithm of the library size or size factor, (cells, 1), finite.
    log_dispersion
        log theta, (genes,) or (cells, genes).
    dropout_logits
        Log odds of a zero that owes nothing to the rate, shaped as the logits.
    normalise
        How logits become a rate per unit of library.

    Returns
    -------
    One figure per cell, (cells,) or (samples, cells).
    """
    parameters = Parameters(logits, log_library, log_dispersion, dropout_logits)
    return fused(_evaluate, rows, parameters, normalise)


def _evaluate(rows: SparseRows, at: Parameters, normalise: Normalise, needs: Needs) -> Evaluation:
    assert at.log_dispersion is not None
    assert at.dropout_logits is not None
    share = log_share(at.logits, normalise)
    terms = negative_binomial_terms(rows, share + at.log_library, at.log_dispersion)
    kept = -at.dropout_logits  # log odds of not being dropped
    kept_at = kept.reshape(-1)[rows.index]
    cost = _cost_of_zero(kept, terms.cost)
    at_counts = terms.cost.reshape(-1)[rows.index] + softplus(-kept_at) - terms.gain
    cost.view(-1)[rows.index] = at_counts
    outcome = Evaluation(cost.sum(1) + rows.log_factorial.to(cost.dtype))
    # Chance that a zero is the negative binomial's own; every count is.
    own = torch.sigmoid(kept - terms.cost)
    own.view(-1)[rows.index] = 1.0
    _differentiate(outcome, rows, terms, own, needs)
    if needs.dropout_logits:
        by_dropout = torch.sigmoid(kept) * torch.sigmoid(terms.cost - kept)
        by_dropout *= torch.expm1(-terms.cost)
        by_dropout.view(-1)[rows.index] = torch.sigmoid(-kept_at)
        outcome.by_dropout_logits = by_dropout
    if outcome.by_logits is not None:
        outcome.by_logits = gradient_to_logits(outcome.by_logits, at.logits, share, normalise)
    return outcome


def _cost_of_zero(kept: torch.Tensor, cost: torch.Tensor) -> torch.Tensor:
    """-log(pi + (1 - pi) exp(-cost)), from the log odds of 1 - pi."""
    small = -torch.log1p(torch.sigmoid(kept) * torch.expm1(-cost))
    large = (
        torch.minimum(cost, torch.relu(kept))
        + torch.log1p(torch.exp(-kept.abs()))
        - torch.log1p(torch.exp(-(kept - cost).abs()))
    )
    return torch.where(cost < 0.5, small, large)


def _differentiate(
    outcome: Evaluation, rows: SparseRows, terms: Terms, own: torch.Tensor, needs: Needs
) -> None:
    """Fill in the derivatives by log rate (as ``by_logits``), library and dispersion."""
    if needs.log_dispersion:
        outcome.by_log_dispersion = subtract_at_counts(
            own * cost_by_dispersion(terms), rows, terms.gain_by_theta
        )
    if needs.rate:
        by_rate = subtract_at_counts(own * terms.slope, rows, terms.gain_by_rate)
        outcome.by_log_library = by_rate.sum(1, keepdim=True)
        outcome.by_logits = by_rate
