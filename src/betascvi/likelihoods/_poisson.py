"""Poisson likelihood, exact and aware of zeros."""

from __future__ import annotations

import torch

from betascvi.likelihoods._fused import Evaluation, Needs, Parameters, fused
from betascvi.likelihoods._rate import Normalise, gradient_to_logits, log_share
from betascvi.likelihoods._rows import SparseRows


def poisson(
    rows: SparseRows,
    logits: torch.Tensor,
    log_library: torch.Tensor,
    normalise: Normalise = "softmax",
) -> torch.Tensor:
    r"""Negative log-likelihood of counts under a Poisson, summed over genes, in nats.

    .. math:: -\log p(x) = \sum_g \mu_g - x_g \log \mu_g + \log x_g!

    Under a softmax the rates of a cell sum to its library size, so that the dense part is one
    softmax. Gradients are computed with the value, once.

    Parameters
    ----------
    rows
        Counts of the minibatch.
    logits
        Output of the decoder, (cells, genes), or (samples, cells, genes).
    log_library
        Logarithm of the library size or size factor, (cells, 1), finite.
    normalise
        How logits become a rate per unit of library.

    Returns
    -------
    One figure per cell, (cells,) or (samples, cells).
    """
    return fused(_evaluate, rows, Parameters(logits, log_library), normalise)


def _evaluate(rows: SparseRows, at: Parameters, normalise: Normalise, needs: Needs) -> Evaluation:
    share = log_share(at.logits, normalise)
    rate = torch.exp(share + at.log_library)
    x = rows.value.to(rate.dtype)
    log_rate = share.reshape(-1)[rows.index] + at.log_library[:, 0][rows.row]
    total = torch.exp(at.log_library[:, 0]) if normalise == "softmax" else rate.sum(1)
    nll = total.index_add(0, rows.row, x * log_rate, alpha=-1.0)
    outcome = Evaluation(nll + rows.log_factorial.to(nll.dtype))
    if needs.rate:
        rate.view(-1).index_add_(0, rows.index, x, alpha=-1.0)
        outcome.by_log_library = rate.sum(1, keepdim=True)
        outcome.by_logits = gradient_to_logits(rate, at.logits, share, normalise)
    return outcome
