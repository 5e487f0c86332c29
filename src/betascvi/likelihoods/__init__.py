"""Exact likelihoods of counts that do their costly work at the non-zeros only.

Each takes the non-zeros of a minibatch and a decoder's raw output, and returns the negative
log-likelihood of every cell in nats; value and gradient are computed together.
"""

from betascvi.likelihoods._gaussian import gaussian
from betascvi.likelihoods._negative_binomial import negative_binomial
from betascvi.likelihoods._poisson import poisson
from betascvi.likelihoods._rows import SparseRows
from betascvi.likelihoods._zero_inflated import zero_inflated_negative_binomial

__all__ = [
    "SparseRows",
    "gaussian",
    "negative_binomial",
    "poisson",
    "zero_inflated_negative_binomial",
]
