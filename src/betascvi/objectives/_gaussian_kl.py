"""The closed-form KL of diagonal Gaussians."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Normal


def kl_per_axis(q: Normal, p: Normal) -> Tensor:
    """Closed-form KL(q || p) of diagonal Gaussians, (cells, axes)."""
    # (sd ratio)^2 - 1 - log((sd ratio)^2), written without torch's type dispatch
    variance_ratio = (q.scale / p.scale).square()
    shift = ((q.loc - p.loc) / p.scale).square()
    return 0.5 * (variance_ratio + shift - 1.0 - variance_ratio.log())
