"""Poisson likelihood, exact and aware of zeros."""

from __future__ import annotations

import torch

from betascvi.likelihoods._fused import Evaluation, Needs, Parameters, fused
from betascvi.likelihoods._rate import Normalise, gradient_to_logits, log_share
from betascvi.likelihoods._rows import SparseRows
from betascvi.likelihoods._terms import subtract_at_counts, sum_over_genes


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
    library = torch.exp(at.log_library)
    x = rows.value.to(share.dtype)
    log_rate = share.view(-1).take(rows.index) + at.log_library[:, 0].take(rows.row)
    rate = share.exp()  # per unit of library until it is needed in full
    total = rate.sum(1, keepdim=True) if normalise != "softmax" else torch.ones_like(library)
    nll = sum_over_genes(library * total, rows, x * log_rate)
    outcome = Evaluation(nll)
    counts = rows.sum_per_cell(x)[:, None]
    if needs.log_library:
        outcome.by_log_library = library * total - counts
    if needs.logits:
        # Under a softmax the library leaves the slope: p times the counts of the cell, less x.
        rate.mul_(counts if normalise == "softmax" else library)
        by_rate = subtract_at_counts(rate, rows, x)
        outcome.by_logits = (
            by_rate
            if normalise == "softmax"
            else gradient_to_logits(by_rate, at.logits, share, normalise)
        )
    return outcome
