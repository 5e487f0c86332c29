"""Likelihoods by name: the fast sum for training, scvi-tools' distribution for everybody else."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import torch
from scvi.distributions import (
    NegativeBinomial,
    Normal,
    Poisson,
    ZeroInflatedNegativeBinomial,
)
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional
from typing_extensions import override

from betascvi import likelihoods
from betascvi.likelihoods import SparseRows
from betascvi.module._decoded import Decoded


class Likelihood(abc.ABC):
    """How decoded logits and data meet."""

    has_dispersion: bool = True
    is_of_counts: bool = True
    is_overdispersed: bool = False
    """Whether the dispersion is the negative binomial's theta."""
    has_dropout: bool = False

    @abc.abstractmethod
    def negative_log_likelihood(self, x: Tensor | SparseRows, decoded: Decoded) -> Tensor:
        """-log p(x | z) in nats, summed over genes: (..., cells)."""

    @abc.abstractmethod
    def distribution(self, decoded: Decoded) -> Distribution:
        """The dense distribution, as scvi-tools' own methods expect it."""

    def draw(self, decoded: Decoded) -> Tensor:
        """One draw of the data, (cells, genes)."""
        return self.distribution(decoded).sample()

    @abc.abstractmethod
    def mean(self, decoded: Decoded) -> Tensor:
        """Expected expression (before zero inflation), (..., cells, genes)."""


class _Counts(Likelihood):
    @override
    def mean(self, decoded: Decoded) -> Tensor:
        return decoded.log_size.exp() * relative_expression(decoded)


class NegativeBinomialLikelihood(_Counts):
    """Counts with a dispersion per gene (or gene and batch, label, cell)."""

    is_overdispersed = True

    @override
    def negative_log_likelihood(self, x: Tensor | SparseRows, decoded: Decoded) -> Tensor:
        return likelihoods.negative_binomial(
            _rows(x), decoded.logits, decoded.log_size, decoded.dispersion,
            normalise=decoded.normalise,
        )  # fmt: skip

    @override
    def distribution(self, decoded: Decoded) -> Distribution:
        scale = relative_expression(decoded)
        return NegativeBinomial(
            mu=decoded.log_size.exp() * scale, theta=decoded.dispersion.exp(), scale=scale
        )


class ZeroInflatedNegativeBinomialLikelihood(_Counts):
    """Counts with zeros beyond the negative binomial's."""

    is_overdispersed = True
    has_dropout = True

    @override
    def negative_log_likelihood(self, x: Tensor | SparseRows, decoded: Decoded) -> Tensor:
        return likelihoods.zero_inflated_negative_binomial(
            _rows(x), decoded.logits, decoded.log_size, decoded.dispersion,
            decoded.dropout, normalise=decoded.normalise,
        )  # fmt: skip

    @override
    def distribution(self, decoded: Decoded) -> Distribution:
        scale = relative_expression(decoded)
        return ZeroInflatedNegativeBinomial(
            mu=decoded.log_size.exp() * scale,
            theta=decoded.dispersion.exp(),
            zi_logits=decoded.dropout,
            scale=scale,
        )


class PoissonLikelihood(_Counts):
    """Counts without dispersion beyond the mean's."""

    has_dispersion = False

    @override
    def negative_log_likelihood(self, x: Tensor | SparseRows, decoded: Decoded) -> Tensor:
        return likelihoods.poisson(
            _rows(x), decoded.logits, decoded.log_size, normalise=decoded.normalise
        )

    @override
    def distribution(self, decoded: Decoded) -> Distribution:
        scale = relative_expression(decoded)
        return Poisson(rate=decoded.log_size.exp() * scale, scale=scale)


class NormalLikelihood(_Counts):
    """scvi-tools' Gaussian around library size times relative expression."""

    is_of_counts = False

    @override
    def negative_log_likelihood(self, x: Tensor | SparseRows, decoded: Decoded) -> Tensor:
        return likelihoods.gaussian(dense(x), self.mean(decoded), decoded.dispersion)

    @override
    def distribution(self, decoded: Decoded) -> Distribution:
        scale = relative_expression(decoded)
        return Normal(decoded.log_size.exp() * scale, decoded.dispersion.exp(), normal_mu=scale)


class EmbeddingLikelihood(Likelihood):
    """A Gaussian on real-valued inputs such as a PCA: logits are the mean as they are."""

    is_of_counts = False

    @override
    def negative_log_likelihood(self, x: Tensor | SparseRows, decoded: Decoded) -> Tensor:
        return likelihoods.gaussian(dense(x), decoded.logits, decoded.dispersion)

    @override
    def distribution(self, decoded: Decoded) -> Distribution:
        return Normal(decoded.logits, decoded.dispersion.exp(), normal_mu=decoded.logits)

    @override
    def mean(self, decoded: Decoded) -> Tensor:
        return decoded.logits


LIKELIHOODS: Mapping[str, Likelihood] = {
    "nb": NegativeBinomialLikelihood(),
    "zinb": ZeroInflatedNegativeBinomialLikelihood(),
    "poisson": PoissonLikelihood(),
    "normal": NormalLikelihood(),
}


def relative_expression(decoded: Decoded) -> Tensor:
    """Expression of each gene relative to the library size."""
    if decoded.normalise == "softmax":
        return torch.softmax(decoded.logits, dim=-1)
    return functional.softplus(decoded.logits)


def _rows(x: Tensor | SparseRows) -> SparseRows:
    return x if isinstance(x, SparseRows) else SparseRows.from_dense(x)


def dense(x: Tensor | SparseRows) -> Tensor:
    """The data as a (cells, genes) matrix."""
    return x.dense() if isinstance(x, SparseRows) else x
