"""Latent positions that no cell stands behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI


def prior_draws(model: BetaSCVI, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, axes) draws from the prior: anchored blocks at levels by their shares, each by itself."""
    z = rng.standard_normal((n, model.module.n_latent))
    for prior in model.module.anchored.each if model.module.anchored is not None else ():
        share = prior.log_share.exp().cpu().numpy().astype(float)
        at = rng.choice(len(share), n, p=share / share.sum())
        noise = prior.anchor.variance**0.5 * z[:, prior.axes]
        z[:, prior.axes] = prior.atoms.cpu().numpy()[at] + noise
    return z
