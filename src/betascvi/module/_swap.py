"""Swap consistency: what the other axes say must not change when a block is given another level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from scvi import REGISTRY_KEYS
from scvi.module._constants import MODULE_KEYS
from torch import Tensor

from betascvi.module._carried import carried
from betascvi.module._decoded import DECODED_KEY, Decoded
from betascvi.module._likelihood import dense
from betascvi.module._look import Look, as_shown, shown

if TYPE_CHECKING:
    from betascvi.module._vae import BetaVAEModule


def swap_movement(
    module: BetaVAEModule,
    look: Look,
    tensors: dict[str, Tensor],
    inference_outputs: dict[str, Any],
    factors: Tensor,
) -> Tensor:
    """Squared movement of each cell's free mean as its blocks go to other levels, (cells,).

    The same cell's counts are carried over to the other levels and encoded again. Only genes that
    the levels move differ between the two, so that the noise of drawing shrinks no axis.
    """
    blocks = module.anchored
    assert blocks is not None
    elsewhere = _at_other_levels(module, tensors, inference_outputs, factors)
    moved = shown(module, {**tensors, REGISTRY_KEYS.X_KEY: elsewhere}).loc[:, blocks.free]
    here = look.mean[-len(factors) :, blocks.free]
    return (moved - here).square().sum(-1)


@torch.no_grad()
def _at_other_levels(
    module: BetaVAEModule,
    tensors: dict[str, Tensor],
    inference_outputs: dict[str, Any],
    factors: Tensor,
) -> Tensor:
    """The minibatch with every block that is to be swapped at a level drawn anew."""
    z = inference_outputs[MODULE_KEYS.Z_KEY]
    moved = z.clone()
    for prior in module.anchored.each if module.anchored is not None else ():
        if prior.anchor.swap:
            values = prior.labels(factors)
            at = prior.draw(len(z), factors)
            own = z[:, prior.axes] - prior.position(values)  # its offset, where it has a label
            drawn = prior.anchor.variance**0.5 * torch.randn_like(own)
            moved[:, prior.axes] = at + torch.where(values.isfinite()[:, None], own, drawn)

    def decoded(position: Tensor) -> Decoded:
        outputs = {**inference_outputs, MODULE_KEYS.Z_KEY: position}
        inputs = module._get_generative_input(tensors, outputs)
        found: Decoded = module.generative(**inputs, as_distribution=False)[DECODED_KEY]
        return found

    with as_shown(module):  # cells that stay at their level keep their counts
        one, other = decoded(z), decoded(moved)
    x = carried(module.likelihood, dense(tensors[REGISTRY_KEYS.X_KEY]), one, other)
    # a Gaussian goes below zero, where no count is
    return x.clamp(min=0.0) if module.log_variational else x
