"""What the bound loses by encoding: beside the best Gaussian of each cell, and beside the evidence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from scvi import REGISTRY_KEYS
from scvi.module._constants import MODULE_KEYS
from torch import Tensor
from torch.distributions import Normal

from betascvi.module._decoded import DECODED_KEY
from betascvi.module._marginal import log_prior
from betascvi.objectives._estimators import log_density

if TYPE_CHECKING:
    from betascvi.module._vae import BetaVAEModule

Encoded = dict[str, Any]
_DRAWS_A_STEP = 4
_LEARNING_RATE = 0.05


class Bounds(NamedTuple):
    """Lower bounds of log p(x), nats, one a cell; each from the same draws."""

    encoder: Tensor
    refined: Tensor
    """Of the Gaussian that suits the cell best, found by gradient from the encoder's."""
    evidence: Tensor
    """Importance-sampled from the refined Gaussian."""


def inference_gaps(
    module: BetaVAEModule, tensors: dict[str, Tensor], n_steps: int, n_samples: int
) -> Bounds:
    """Refine each cell's posterior by gradient, the decoder as it is, and bound its evidence."""
    module.eval()
    with torch.no_grad():
        given = module._get_inference_input(tensors, full_forward_pass=True)
        encoded = module.inference(**given)
    qz = encoded[MODULE_KEYS.QZ_KEY]
    refined = _refined(module, tensors, encoded, qz, n_steps)
    with torch.no_grad():
        draws = [
            [_log_weight(module, tensors, encoded, q, noise) for q in (qz, refined)]
            for noise in (torch.randn_like(qz.loc) for _ in range(n_samples))
        ]
    of_encoder, of_refined = (torch.stack(weights) for weights in zip(*draws, strict=True))
    evidence = torch.logsumexp(of_refined, 0) - math.log(n_samples)
    return Bounds(of_encoder.mean(0), of_refined.mean(0), evidence)


def _refined(
    module: BetaVAEModule, tensors: dict[str, Tensor], encoded: Encoded, qz: Normal, n_steps: int
) -> Normal:
    """The Gaussian of each cell with the highest bound; the steps get smaller towards the end."""
    loc, log_scale = (t.detach().clone().requires_grad_() for t in (qz.loc, qz.scale.log()))
    optimizer = torch.optim.Adam([loc, log_scale], lr=_LEARNING_RATE)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(n_steps):
        q = Normal(loc, log_scale.exp())
        draws = [
            _log_weight(module, tensors, encoded, q, torch.randn_like(loc))
            for _ in range(_DRAWS_A_STEP)
        ]
        bound = torch.stack(draws).mean(0).sum()
        loc.grad, log_scale.grad = torch.autograd.grad(-bound, (loc, log_scale))
        optimizer.step()
        slower.step()
    return Normal(loc.detach(), log_scale.detach().exp())


def _log_weight(
    module: BetaVAEModule, tensors: dict[str, Tensor], encoded: Encoded, q: Normal, noise: Tensor
) -> Tensor:
    """(cells,) log p(x | z) p(z) / q(z) at a draw of q."""
    z = q.loc + q.scale * noise
    inputs = module._get_generative_input(tensors, {**encoded, MODULE_KEYS.Z_KEY: z})
    decoded = module.generative(**inputs, as_distribution=False)[DECODED_KEY]
    misfit = module.likelihood.negative_log_likelihood(tensors[REGISTRY_KEYS.X_KEY], decoded)
    return log_prior(module, z) - log_density(q, z) - misfit
