"""Do the positions of cells differ between groups, by a kernel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SCALES = (0.25, 1.0, 4.0)


def kernel_of(positions: Tensor) -> Tensor:
    r"""Multi-scale Gaussian kernel, (cells, cells).

    .. math::
        k(a, b) = \frac{1}{S} \sum_s \exp\left(-\frac{\|a - b\|^2}{2 s h^2}\right)

    with :math:`h^2` the median squared distance of two cells, held.
    """
    squares = positions.square().sum(1)
    distance = (squares[:, None] + squares[None] - 2.0 * positions @ positions.T).clamp(min=0.0)
    median = distance.detach().flatten().median().clamp(min=1e-8)
    return torch.stack([torch.exp(-distance / (2.0 * s * median)) for s in _SCALES]).mean(0)


def group_discrepancy(
    kernel: Tensor,
    groups: Tensor,
    n_groups: int,
    weights: Tensor,
    parents: Tensor | None = None,
) -> Tensor:
    r"""Squared maximum mean discrepancy of each group from the others, averaged over groups.

    .. math::
        \mathrm{MMD}^2(P, Q) = \mathbb{E}\,k(a, a') - 2\,\mathbb{E}\,k(a, b) + \mathbb{E}\,k(b, b')

    with a cell never compared to itself, so that it is 0 on average where groups do not differ
    (Gretton et al., 2012, eq. 3), and cells weighted.

    Parameters
    ----------
    kernel
        (cells, cells), of :func:`kernel_of`.
    groups
        (cells,) group of each cell; -1 takes no part.
    n_groups
        Number of groups.
    weights
        (cells,) how much each cell counts.
    parents
        (cells,) compare a group to others of the same parent alone.
    """
    known = groups >= 0
    inside = functional.one_hot(groups.clamp(min=0), n_groups).T.to(kernel) * known
    outside = known.to(kernel) - inside
    if parents is not None:
        of_group = torch.where(inside > 0, parents[None], -1).amax(1)
        outside = outside * (parents[None] == of_group[:, None])
    enough = (inside.sum(1) >= 2) & (outside.sum(1) >= 2)
    a, b = _normalised(inside * weights), _normalised(outside * weights)
    own = kernel.diagonal()
    to_a, to_b = a @ kernel, b @ kernel
    within_a = _without_self((to_a * a).sum(1), a, own)
    within_b = _without_self((to_b * b).sum(1), b, own)
    squared = within_a + within_b - 2.0 * (to_a * b).sum(1)
    return torch.where(enough, squared, 0.0).sum() / enough.sum().clamp(min=1)


def _normalised(weights: Tensor) -> Tensor:
    return weights / weights.sum(1, keepdim=True).clamp(min=1e-12)


def _without_self(total: Tensor, weights: Tensor, own: Tensor) -> Tensor:
    """Mean over pairs of different cells."""
    squares = weights.square()
    return (total - squares @ own) / (1.0 - squares.sum(1)).clamp(min=1e-6)
