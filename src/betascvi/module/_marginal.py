"""Importance-sampled evidence of counts, whatever the prior."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from scvi import REGISTRY_KEYS
from scvi.module._constants import MODULE_KEYS
from scvi.module.base import auto_move_data
from torch import Tensor

from betascvi.module._decoded import DECODED_KEY
from betascvi.objectives._estimators import log_density

if TYPE_CHECKING:
    from betascvi.module._vae import BetaVAEModule


@torch.inference_mode()
@auto_move_data
def marginal_ll(
    module: BetaVAEModule,
    tensors: dict[str, Tensor],
    n_mc_samples: int,
    return_mean: bool = False,
    n_mc_samples_per_pass: int = 1,
) -> Tensor | float:
    r"""Evidence log p(x) of each cell, from importance samples of its posterior.

    .. math::
        \log \frac{1}{S} \sum_s \frac{p(x \mid z_s) p(z_s)}{q(z_s \mid x)}

    with the prior of cells whose labels nobody knows: under blocks a mixture.
    """
    log_weights: list[Tensor] = []
    while sum(map(len, log_weights)) < n_mc_samples:
        k = min(n_mc_samples_per_pass, n_mc_samples - sum(map(len, log_weights)))
        given = module._get_inference_input(tensors, full_forward_pass=True)
        encoded = module.inference(**given, n_samples=k)
        decoded = module.generative(
            **module._get_generative_input(tensors, encoded), as_distribution=False
        )[DECODED_KEY]
        z, x = encoded[MODULE_KEYS.Z_KEY], tensors[REGISTRY_KEYS.X_KEY]
        log_w = log_prior(module, z) - log_density(encoded[MODULE_KEYS.QZ_KEY], z)
        log_w = log_w - module.likelihood.negative_log_likelihood(x, decoded)
        log_weights.append(log_w.reshape(-1, len(z[0]) if z.dim() == 3 else len(z)))
    evidence = torch.logsumexp(torch.cat(log_weights), 0) - math.log(n_mc_samples)
    return float(evidence.mean()) if return_mean else evidence.cpu()


def log_prior(module: BetaVAEModule, z: Tensor) -> Tensor:
    """Log density of positions under the prior of cells whose labels nobody knows."""
    if module.anchored is not None:
        return module.anchored.log_density(z)
    return -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)
