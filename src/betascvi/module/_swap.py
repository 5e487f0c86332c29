"""Swap consistency: what the other axes say must not change when a block is given another level."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from scvi import REGISTRY_KEYS
from scvi.module._constants import MODULE_KEYS
from torch import Tensor, nn
from torch.distributions import Normal

from betascvi.module._decoded import DECODED_KEY

if TYPE_CHECKING:
    from betascvi.module._vae import BetaVAEModule

EVERY = 4
"""Minibatches from one swap to the next: a swap takes about as long as a step."""


def swapped_posterior(
    module: BetaVAEModule,
    tensors: dict[str, Tensor],
    inference_outputs: dict[str, Any],
    factors: Tensor,
) -> Normal:
    """Posterior of counts drawn at other levels of every block that is to be swapped."""
    blocks = module.anchored
    assert blocks is not None
    with torch.no_grad():
        z = inference_outputs[MODULE_KEYS.Z_KEY].clone()
        for prior in blocks.each:
            if prior.anchor.swap:
                at = prior.draw(len(z), factors)
                z[:, prior.axes] = at + prior.anchor.variance**0.5 * torch.randn_like(at)
        outputs = {**inference_outputs, MODULE_KEYS.Z_KEY: z}
        inputs = module._get_generative_input(tensors, outputs)
        decoded = module.generative(**inputs, as_distribution=False)[DECODED_KEY]
        drawn = module.likelihood.draw(decoded)
        if module.log_variational:  # a Gaussian draws below zero, where no count is
            drawn = drawn.clamp(min=0.0)
    covariates = module._get_inference_input({**tensors, REGISTRY_KEYS.X_KEY: drawn})
    with _statistics_held(module.z_encoder):
        qz: Normal = module._regular_inference(**covariates)[MODULE_KEYS.QZ_KEY]
    return qz


@contextmanager
def _statistics_held(network: nn.Module) -> Iterator[None]:
    """Drawn cells are normalised as a minibatch but leave the running statistics alone."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d) and m.momentum]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
