"""Negative binomial likelihood, exact and aware of zeros."""

from __future__ import annotations

import torch

from betascvi.likelihoods._compiled import compiled_negative_binomial, is_in_reach
from betascvi.likelihoods._fused import Evaluation, Needs, Parameters, check, fused
from betascvi.likelihoods._linear import linear_terms
from betascvi.likelihoods._rate import Normalise
from betascvi.likelihoods._rows import SparseRows
from betascvi.likelihoods._terms import (
    Terms,
    log_space_terms,
    subtract_at_counts,
    sum_over_genes,
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
    if normalise == "softmax" and logits.shape == rows.shape and is_in_reach(parameters):
        check(rows, parameters, normalise)
        return compiled_negative_binomial(rows, logits, log_library, log_dispersion)
    return fused(_evaluate, rows, parameters, normalise)


def negative_binomial_terms(
    rows: SparseRows, at: Parameters, normalise: Normalise, needs: Needs
) -> Terms:
    """In linear space where that is exact and quick, else in log space."""
    terms = linear_terms(rows, at, normalise, needs)
    return log_space_terms(rows, at, normalise, needs) if terms is None else terms


def differentiate(
    outcome: Evaluation,
    terms: Terms,
    rows: SparseRows,
    needs: Needs,
    own: torch.Tensor | None = None,
) -> Evaluation:
    """Fill in the derivatives by logits, library and dispersion; uses the terms up.

    ``own`` scales the cost of each entry: the chance that it is the negative binomial's own.
    """
    if terms.gain_by_theta is not None:
        by_theta = terms.cost_by_theta()
        if own is not None:
            by_theta.mul_(own)
        outcome.by_log_dispersion = subtract_at_counts(by_theta, rows, terms.gain_by_theta)
    if needs.rate:
        by_rate = terms.cost_by_rate if own is None else terms.cost_by_rate.mul_(own)
        subtract_at_counts(by_rate, rows, terms.gain_by_rate)
        outcome.by_log_library = by_rate.sum(1, keepdim=True) if needs.log_library else None
        outcome.by_logits = terms.to_logits(by_rate)
    return outcome


def _evaluate(rows: SparseRows, at: Parameters, normalise: Normalise, needs: Needs) -> Evaluation:
    terms = negative_binomial_terms(rows, at, normalise, needs)
    outcome = Evaluation(sum_over_genes(terms.cost, rows, terms.gain))
    return differentiate(outcome, terms, rows, needs)
