from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from betascvi._whole_numbers import refuse_count
from betascvi.objectives._contract import Draws, LossTerms, Objective, Step, Term
from betascvi.objectives._estimators import detached, log_density


@dataclass(frozen=True)
class IWAE(Objective):
    r"""The importance-weighted autoencoder (Burda et al., 2016, eq. 8).

    .. math::
        -\log \frac{1}{K} \sum_{k=1}^{K} w_k, \qquad
        w_k = \frac{p(x \mid z_k) \, p(z_k)}{q(z_k \mid x)}, \quad z_k \sim q(z \mid x)

    a bound on the evidence that tightens as K grows; ``n_samples = 1`` is the evidence lower
    bound with a sampled KL.

    Parameters
    ----------
    n_samples
        K, posterior samples decoded for each cell; the decoder's part of a step grows with it.

    Notes
    -----
    **The gradient** is the doubly reparametrised one (DReG; Tucker et al., 2019, eq. 8), not the
    paper's: with shares :math:`v_k = w_k / \sum_l w_l` the decoder gets
    :math:`\sum_k v_k \nabla_\theta \log w_k`, the encoder
    :math:`\sum_k v_k^2 \, \partial_{z_k} \log w_k \, \nabla_\phi z_k`. Same expectation, and its
    noise does not grow over the signal as K grows.

    The bound is the loss (``train_loss_epoch`` in the history, without anchors): the mean
    reconstruction of the K samples plus ``importance_weighted_kl``. ``reconstruction_loss_*`` is of
    one further sample, and ``elbo_*`` stays the evidence lower bound. For evaluation with
    any number of samples use :meth:`BetaSCVI.get_marginal_ll`, this very bound.

    References
    ----------
    Burda, Grosse, Salakhutdinov (2016), Importance Weighted Autoencoders. Tucker, Lawson, Gu,
    Maddison (2019), Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives.
    """

    n_samples: int = 5

    def __post_init__(self) -> None:
        refuse_count("n_samples", self.n_samples)

    @override
    def __call__(self, step: Step) -> LossTerms:
        draws = self._draws(step)
        # q's own parameters are held: what they move in log w has expectation zero (DReG)
        log_q = log_density(detached(step.qz), draws.z)
        log_w = log_density(step.pz, draws.z) - log_q - draws.reconstruction
        shares = log_w.detach().softmax(0)
        if self.n_samples > 1 and draws.z.requires_grad:
            draws.z.register_hook(lambda gradient: gradient * shares[..., None])  # type: ignore[no-untyped-call]  # torch's stub
        bound = importance_bound(log_w.detach())
        with_gradient = (shares * (log_w - log_w.detach())).sum(0) + bound
        reconstruction = draws.reconstruction.mean(0)
        return LossTerms(
            Term(reconstruction), {"importance_weighted_kl": Term(-with_gradient - reconstruction)}
        )

    def _draws(self, step: Step) -> Draws:
        if self.n_samples == 1:
            return Draws(step.z[None], step.reconstruction[None])
        if step.resample is None:
            raise ValueError(f"{self!r} needs a step that can draw and decode further samples.")
        return step.resample(self.n_samples)


def importance_bound(log_w: Tensor) -> Tensor:
    """Log of the mean importance weight over samples (the first axis)."""
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))
