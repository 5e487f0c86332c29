"""Further samples of a minibatch's posterior, decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from scvi import REGISTRY_KEYS
from scvi.module._constants import MODULE_KEYS
from torch import Tensor

from betascvi.module._decoded import DECODED_KEY
from betascvi.objectives import Draws
from betascvi.objectives._estimators import axes_of

if TYPE_CHECKING:
    from betascvi.module._vae import BetaVAEModule


def resampler(
    module: BetaVAEModule,
    tensors: dict[str, Tensor],
    inference_outputs: dict[str, Any],
    axes: slice = slice(None),
) -> Callable[[int], Draws]:
    """``resample(k)`` for a :class:`betascvi.objectives.Step`.

    With ``axes`` only these are drawn and given; the others stand at the sample that is there, so
    that a bound over the draws, less the KL of the others, is a bound still.
    """

    def resample(k: int) -> Draws:
        drawn = axes_of(inference_outputs[MODULE_KEYS.QZ_KEY], axes).rsample((k,))
        z = drawn
        if axes != slice(None):
            held = inference_outputs[MODULE_KEYS.Z_KEY].expand(k, -1, -1)
            z = torch.cat([held[..., : axes.start], drawn], -1)
        library = inference_outputs[MODULE_KEYS.LIBRARY_KEY].expand(k, -1, -1)
        outputs = {MODULE_KEYS.Z_KEY: z, MODULE_KEYS.LIBRARY_KEY: library}
        inputs = module._get_generative_input(tensors, outputs)
        decoded = module.generative(**inputs, as_distribution=False)[DECODED_KEY]
        x = tensors[REGISTRY_KEYS.X_KEY]
        return Draws(drawn, module.likelihood.negative_log_likelihood(x, decoded))

    return resample
