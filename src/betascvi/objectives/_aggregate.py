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

    with the weights of :func:`log_weights`; the sum runs over the minibatch.
    """
    weights = log_weights(len(z), n_cells, estimator).to(z)
    mixtures: Any = _LogMixtures.apply
    joint, marginals = mixtures(z, q.loc, q.scale, weights)
    return AggregateDensity(log_density(q, z), joint, marginals)


def log_weights(n_minibatch: int, n_cells: int, estimator: Estimator) -> Tensor:
    r"""Log weights (sample, posterior) of a minibatch of :math:`B` cells out of :math:`N`.

    Stratified: :math:`1/N` on the diagonal, since a sample's own cell is surely there, and
    :math:`(N-1)/(N(B-1))` off it; rows sum to one and :math:`B = N` is the exact sum.
    Weighted: :math:`1/(NB)` throughout, as published; :math:`\log B` too small at :math:`B = N`.
    """
    # a minibatch cannot hold more cells than there are: without a plan, it is all there is
    total = max(n_cells, n_minibatch)
    if estimator == "mws":
        return torch.full((n_minibatch, n_minibatch), -math.log(total * n_minibatch))
    if n_minibatch == 1:
        if total > 1:
            raise ValueError(
                "total correlation is not defined on a minibatch of one cell: the aggregate "
                "posterior needs at least two. Raise batch_size."
            )
        return torch.zeros(1, 1)
    others = math.log((total - 1) / (total * (n_minibatch - 1)))
    weights = torch.full((n_minibatch, n_minibatch), others, dtype=torch.float64)
    return weights.fill_diagonal_(-math.log(total))


class _LogMixtures(torch.autograd.Function):
    """Log of the mixture of all posteriors at each sample, jointly and axis by axis.

    Autograd would walk a dozen (axes, cells, cells) tensors back; here two are kept.
    """

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, loc: Tensor, scale: Tensor, log_weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        precision = (1.0 / scale).T  # (axes, posterior)
        distance = z.T[:, :, None] - loc.T[:, None, :]  # (axes, sample, posterior)
        distance *= precision[:, None, :]
        log_q = distance.square().mul_(-0.5)
        log_q += (precision.log() - _HALF_LOG_TWO_PI)[:, None, :]
        joint, joint_shares = _log_sum_exp(log_q.sum(0).add_(log_weights))
        marginals, shares = _log_sum_exp(log_q.add_(log_weights))
        ctx.save_for_backward(distance, precision, joint_shares, shares)
        return joint, marginals.sum(0)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_joint: Tensor, grad_marginals: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        distance, precision, joint_shares, shares = ctx.saved_tensors
        by_sample = grad_joint[:, None] * joint_shares + grad_marginals[:, None] * shares
        pull = by_sample * distance  # (axes, sample, posterior)
        pull_at_posterior = pull.sum(1)
        grad_z = -(pull @ precision[:, :, None]).squeeze(-1)
        grad_loc = precision * pull_at_posterior
        spread = (pull * distance).sum(1) - by_sample.sum(1)
        return grad_z.T, grad_loc.T, (precision * spread).T, None


def _log_sum_exp(x: Tensor) -> tuple[Tensor, Tensor]:
    """Log-sum-exp over the last axis, and each entry's share of the sum. Overwrites ``x``."""
    top = x.amax(-1, keepdim=True)
    shares = x.sub_(top).exp_()
    total = shares.sum(-1, keepdim=True)
    return (top + total.log()).squeeze(-1), shares.div_(total)
