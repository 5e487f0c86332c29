"""Rates of an additive decoder, read off its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from betascvi.module import AdditiveDecoder

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI


@torch.inference_mode()
def additive_log_rates(model: BetaSCVI, z: np.ndarray) -> np.ndarray | None:
    """(cells, genes) log rates of an additive decoder, exact; None where rates do not add.

    Shares of a cell's expression, as decoded (of a model with size factors: rates). Neither the
    library size nor covariates are in them: both multiply the rates of all axes.
    """
    decoder = model.module.decoder
    if not isinstance(decoder, AdditiveDecoder) or decoder.shape.is_embedding:
        return None
    positions = torch.as_tensor(np.asarray(z, dtype=np.float32), device=model.device)
    rates = decoder.shift.log_profile + decoder.pool(positions)
    if not decoder.shape.is_softplus:  # a softmax does not see their level
        rates = rates.log_softmax(-1)
    return np.asarray(rates.cpu().numpy())
