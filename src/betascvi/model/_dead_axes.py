"""Free axes that carry nothing, shown as what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.distributions import Normal

from betascvi.data import FACTORS_KEY
from betascvi.metrics._diagnosis import DEAD_NATS

if TYPE_CHECKING:
    from anndata import AnnData

    from betascvi.model._beta_scvi import BetaSCVI


def kl_of_axes(
    model: BetaSCVI,
    moments: tuple[np.ndarray, np.ndarray],
    cells: np.ndarray,
    adata: AnnData | None = None,
) -> np.ndarray:
    """Mean KL of each axis to its prior, given the labels that these cells of ``adata`` have."""
    mean, variance = moments
    blocks = model.module.anchored
    if blocks is None:
        return np.asarray(0.5 * (variance + mean**2 - 1.0 - np.log(variance)).mean(0))
    device = model.device
    manager = model.get_anndata_manager(model._validate_anndata(adata), required=True)
    codes = np.asarray(manager.get_from_registry(FACTORS_KEY), dtype=np.float32)
    factors = torch.as_tensor(codes[cells], device=device)
    loc, scale = (torch.as_tensor(v, dtype=torch.float32, device=device) for v in moments)
    q = Normal(loc, scale.sqrt(), validate_args=False)
    with torch.no_grad():
        kl = blocks.kl(q, blocks.prior(loc, factors), factors).mean(0)
    return np.asarray(kl.cpu().numpy(), dtype=float)


def dead_free_axes(model: BetaSCVI, kl: np.ndarray) -> tuple[int, ...]:
    """Free axes whose KL is below ``DEAD_NATS``; none without blocks."""
    if model.module.anchored is None:
        return ()
    free = model.blocks["free"]
    return tuple(int(axis) for axis in range(free.start, free.stop) if kl[axis] < DEAD_NATS)


def without_dead_axes(model: BetaSCVI, z: Any, has_means: bool) -> Any:
    """Posterior means of dead free axes at their prior mean, 0; variances and samples as they are.

    A probe reads an axis whose mean moves by a thousandth of its posterior's width, which no
    sample and no decoder can. Only models with blocks promise what the free block does not hold.
    """
    dead = getattr(model, "dead_axes_", ())
    if not dead or not has_means:
        return z
    mean = (z[0] if isinstance(z, tuple) else z).copy()
    mean[..., list(dead)] = 0.0
    return (mean, *z[1:]) if isinstance(z, tuple) else mean
