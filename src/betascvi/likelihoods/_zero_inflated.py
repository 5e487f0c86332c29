"""Zero-inflated negative binomial likelihood, exact and aware of zeros."""

from __future__ import annotations

import torch

from betascvi.likelihoods._fused import Evaluation, Needs, Parameters, fused
from betascvi.likelihoods._negative_binomial import differentiate, negative_binomial_terms
from betascvi.likelihoods._rate import Normalise
from betascvi.likelihoods._rows import SparseRows, positions
from betascvi.likelihoods._special import softplus
from betascvi.likelihoods._terms import sum_over_genes


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
    assert at.dropout_logits is not None
    terms = negative_binomial_terms(rows, at, normalise, needs)
    # kept: chance that a count is not dropped; own: chance that a zero is not, once it is seen.
    kept = torch.sigmoid(-at.dropout_logits)
    log_odds = -at.dropout_logits - terms.cost
    own = torch.sigmoid(log_odds)
    loss = torch.expm1(-terms.cost).mul_(kept)
    gain = terms.gain - softplus(at.dropout_logits.reshape(-1)[rows.index])
    cost = _cost_of_zero(loss, terms.cost, at.dropout_logits)
    cost.view(-1)[rows.index] = terms.cost.reshape(-1)[rows.index]
    outcome = Evaluation(sum_over_genes(cost, rows, gain))
    if needs.dropout_logits:
        by_dropout = loss.mul_(torch.sigmoid(-log_odds))
        by_dropout.view(-1)[rows.index] = 1.0 - kept.view(-1)[rows.index]
        outcome.by_dropout_logits = by_dropout
    own.view(-1)[rows.index] = 1.0
    return differentiate(outcome, terms, rows, needs, own)


def _cost_of_zero(
    loss: torch.Tensor, cost: torch.Tensor, dropout_logits: torch.Tensor
) -> torch.Tensor:
    """-log(pi + (1 - pi) exp(-cost)), given loss = (1 - pi) (exp(-cost) - 1)."""
    mixed = torch.log1p(loss).neg_()
    far = positions(loss.view(-1), lambda part: part < -0.5)  # log1p is losing digits there
    if far.numel():
        cost, kept = cost.view(-1)[far], -dropout_logits.reshape(-1)[far]
        mixed.view(-1)[far] = (
            torch.minimum(cost, torch.relu(kept))
            + torch.log1p(torch.exp(-kept.abs()))
            - torch.log1p(torch.exp(-(kept - cost).abs()))
        )
    return mixed
