"""Density of the aggregate posterior q(z), estimated from a minibatch."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Normal

from betascvi.objectives._estimators import log_density

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
# exp(-60) is far below the rounding of a sum that holds a one, and far above the denormal numbers
# that narrow posteriors would fill these tensors with: arithmetic on those is ten times as slow
_LEAST = -60.0

Estimator = Literal["mss", "mws"]


class AggregateDensity(NamedTuple):
    """Log densities at one posterior sample a cell, each (cells,)."""

    posterior: Tensor
    """log q(z | x)."""
    joint: Tensor
    """log q(z)."""
    marginals: Tensor
    """log q(z_1) + ... + log q(z_D)."""


def aggregate_density(
    q: Normal, z: Tensor, n_cells: int, estimator: Estimator = "mss"
) -> AggregateDensity:
    r"""Estimate :math:`q(z) = \frac{1}{N} \sum_n q(z \mid x_n)` and its marginals.

    .. math::
        \log \hat q(z_i) = \log \sum_j w_{ij} \, q(z_i \mid x_j)

    with the weights of :func:`minibatch_weights`; the sum runs over the minibatch.
    """
    weights = minibatch_weights(len(z), n_cells, estimator)
    mixtures: Any = _LogMixtures.apply
    joint, marginals = mixtures(z, q.loc, q.scale, weights)
    return AggregateDensity(log_density(q, z), joint, marginals)


class Weights(NamedTuple):
    """Weight of the posteriors of a minibatch in the mixture at one of its samples."""

    own: float
    """Of the posterior the sample came from."""
    other: float
    """Of any other posterior."""


def minibatch_weights(n_minibatch: int, n_cells: int, estimator: Estimator) -> Weights:
    r"""Weights of a minibatch of :math:`B` cells out of :math:`N`.

    Stratified: :math:`1/N` for a sample's own cell, since that is surely there, and
    :math:`(N-1)/(N(B-1))` for each other: they sum to one, and :math:`B = N` is the exact sum.
    Weighted: :math:`1/(NB)` for all, as published; a factor :math:`B` too small at :math:`B = N`.
    """
    # a minibatch cannot hold more cells than there are: without a plan, it is all there is
    total = max(n_cells, n_minibatch)
    if n_minibatch == 1 and total > 1:
        raise ValueError(
            "total correlation is not defined on a minibatch of one cell: the aggregate "
            "posterior needs at least two. Raise batch_size."
        )
    if estimator == "mws" or n_minibatch == 1:
        return Weights(1.0 / (total * n_minibatch), 1.0 / (total * n_minibatch))
    return Weights(1.0 / total, (total - 1) / (total * (n_minibatch - 1)))


class _LogMixtures(torch.autograd.Function):
    """Log of the mixture of all posteriors at each sample, jointly and axis by axis.

    Autograd would walk a dozen (axes, cells, cells) tensors back; here two are kept.
    """

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, loc: Tensor, scale: Tensor, weights: Weights
    ) -> tuple[Tensor, Tensor]:
        # axes first and laid out so: sums over cells then run along memory, ten times as fast
        at, centre = z.T.contiguous(), loc.T.contiguous()
        precision = (1.0 / scale).T.contiguous()  # (axes, posterior)
        distance = at[:, :, None] - centre[:, None, :]  # (axes, sample, posterior)
        distance *= precision[:, None, :]
        log_q = distance.square().mul_(-0.5)
        log_q += (precision.log() - _HALF_LOG_TWO_PI)[:, None, :]
        joint, joint_shares = _log_mixture(log_q.sum(0), weights)
        marginals, shares = _log_mixture(log_q, weights)
        ctx.save_for_backward(distance, precision, joint_shares, shares)
        return joint, marginals.sum(0)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_joint: Tensor, grad_marginals: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        distance, precision, joint_shares, shares = ctx.saved_tensors
        # one (axes, sample, posterior) tensor, reused: new memory costs more than the arithmetic
        moment = grad_marginals[:, None] * shares
        moment += grad_joint[:, None] * joint_shares
        spread = -moment.sum(1)
        moment *= distance
        grad_z = -(moment @ precision[:, :, None]).squeeze(-1)
        grad_loc = precision * moment.sum(1)
        moment *= distance
        spread += moment.sum(1)
        return grad_z.T, grad_loc.T, (precision * spread).T, None


def _log_mixture(log_q: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """Log of the weighted sum over posteriors (the last axis), and each one's share of it.

    Overwrites ``log_q``.
    """
    log_q.diagonal(dim1=-2, dim2=-1).add_(math.log(weights.own / weights.other))
    top = log_q.amax(-1, keepdim=True)
    shares = log_q.sub_(top).clamp_(min=_LEAST).exp_()
    total = shares.sum(-1, keepdim=True)
    return (top + total.log()).squeeze(-1) + math.log(weights.other), shares.div_(total)
