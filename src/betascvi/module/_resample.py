"""Further samples of a minibatch's posterior, decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scvi import REGISTRY_KEYS
from scvi.module._constants import MODULE_KEYS
from torch import Tensor

from betascvi.module._decoded import DECODED_KEY
from betascvi.objectives import Draws

if TYPE_CHECKING:
    from betascvi.module._vae import BetaVAEModule


def resampler(
    module: BetaVAEModule, tensors: dict[str, Tensor], inference_outputs: dict[str, Any]
) -> Callable[[int], Draws]:
    """``resample(k)`` for a :class:`betascvi.objectives.Step`."""

    def resample(k: int) -> Draws:
        z = inference_outputs[MODULE_KEYS.QZ_KEY].rsample((k,))
        library = inference_outputs[MODULE_KEYS.LIBRARY_KEY].expand(k, -1, -1)
        outputs = {MODULE_KEYS.Z_KEY: z, MODULE_KEYS.LIBRARY_KEY: library}
        inputs = module._get_generative_input(tensors, outputs)
        decoded = module.generative(**inputs, as_distribution=False)[DECODED_KEY]
        x = tensors[REGISTRY_KEYS.X_KEY]
        return Draws(z, module.likelihood.negative_log_likelihood(x, decoded))

    return resample
