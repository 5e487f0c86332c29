"""Poisson likelihood, exact and aware of zeros."""

from __future__ import annotations

import torch

from betascvi.likelihoods._fused import Evaluation, Needs, Parameters, fused
from betascvi.likelihoods._rate import Normalise, gradient_to_logits, log_share
from betascvi.likelihoods._rows import SparseRows, widest
from betascvi.likelihoods._terms import mend_at_large_counts, subtract_at_counts, sum_over_genes


def poisson(
    rows: SparseRows,
    logits: torch.Tensor,
    log_library: torch.Tensor,
    normalise: Normalise = "softmax",
) -> torch.Tensor:
    r"""Negative log-likelihood of counts under a Poisson, summed over genes, in nats.

    .. math:: -\log p(x) = \sum_g \mu_g - x_g \log \mu_g + \log x_g!

    The dense part is one exponential. Gradients are computed with the value, once.

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
    exact = widest(share.device)
    log_library, x = at.log_library.to(exact), rows.value.to(exact)
    library = torch.exp(log_library)
    log_rate = share.take(rows.index).to(exact) + log_library[:, 0].take(rows.row)
    rate = share.exp()  # per unit of library until it is needed in full
    gain, large = x * log_rate, rows.large
    cost = rate.take(rows.index[large]) * library[:, 0].take(rows.row[large])
    mend_at_large_counts(gain, cost, log_rate[large].exp(), rows)
    total = library * rate.sum(1, keepdim=True, dtype=exact)
    outcome = Evaluation(sum_over_genes(total, rows, gain).to(share.dtype))
    counts = rows.sum_per_cell(x)[:, None]
    if needs.log_library:
        outcome.by_log_library = (total - counts).to(share.dtype)
    if needs.logits:
        # Under a softmax the library leaves the slope: p times the counts of the cell, less x.
        rate.mul_((counts if normalise == "softmax" else library).to(rate.dtype))
        by_rate = subtract_at_counts(rate, rows, x.to(rate.dtype))
        outcome.by_logits = (
            by_rate
            if normalise == "softmax"
            else gradient_to_logits(by_rate, at.logits, share, normalise)
        )
    return outcome
