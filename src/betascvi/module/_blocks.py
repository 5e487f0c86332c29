"""Named blocks of the latent: one for each anchored factor, and the free one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from betascvi.factors import BlockPlan, OverlapWeights
from betascvi.module._block_prior import BlockPrior
from betascvi.objectives._estimators import axes_of
from betascvi.objectives._gaussian_kl import kl_per_axis


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The blocks of a model before its network is built."""

    plans: tuple[BlockPlan, ...] = ()
    weights: OverlapWeights | None = None

    @property
    def n_anchored(self) -> int:
        """Axes that factors are anchored in."""
        return self.plans[-1].axes.stop if self.plans else 0


class Blocks(nn.Module):
    """Conditional priors of all blocks of a latent; the free block's is the standard normal."""

    overlap: Tensor

    def __init__(self, layout: Layout, n_latent: int) -> None:
        super().__init__()
        self.priors = nn.ModuleList(BlockPrior(plan) for plan in layout.plans)
        self.free = slice(layout.n_anchored, n_latent)
        table = layout.weights
        self.overlap_columns = () if table is None else table.columns
        weights = torch.ones(1) if table is None else torch.as_tensor(table.table).float()
        # of the cells at hand, which are others after loading: not part of what is saved
        self.register_buffer("overlap", weights, persistent=False)

    def __len__(self) -> int:
        return len(self.priors)

    @property
    def n_columns(self) -> int:
        """Columns of coded factors that are read."""
        parents = [p.parent_column for p in self.each if p.parent_column is not None]
        return 1 + max([*(p.column for p in self.each), *parents, *self.overlap_columns])

    @property
    def each(self) -> Sequence[BlockPrior]:
        """The priors of the anchored blocks, in their order."""
        return [prior for prior in self.priors if isinstance(prior, BlockPrior)]

    @property
    def slices(self) -> dict[str, slice]:
        """Block name -> axes; ``"free"`` last."""
        return {**{prior.name: prior.axes for prior in self.each}, "free": self.free}

    def axes_by_effect(self, *effects: str) -> tuple[int, ...]:
        """Axes of the blocks that move expression in one of these ways."""
        blocks = [prior.axes for prior in self.each if prior.anchor.effect in effects]
        return tuple(axis for axes in blocks for axis in range(axes.start, axes.stop))

    def prior(self, like: Tensor, factors: Tensor | None = None) -> Normal:
        """Prior of every cell and axis of positions ``like``; without factors no label is known."""
        if factors is None:
            factors = torch.full((1, self.n_columns), torch.nan, device=like.device)
        parts = [prior.distribution(factors) for prior in self.each]
        free = torch.zeros(len(factors), self.free.stop - self.free.start, device=like.device)
        loc = torch.cat([*(p.loc for p in parts), free], 1).expand_as(like)
        scale = torch.cat([*(p.scale for p in parts), torch.ones_like(free)], 1).expand_as(like)
        return Normal(loc, scale, validate_args=False)

    def kl(self, q: Normal, pz: Normal, factors: Tensor) -> Tensor:
        """KL of every cell and axis to its block's prior."""
        parts = [prior.kl(axes_of(q, prior.axes), factors) for prior in self.each]
        free = kl_per_axis(axes_of(q, self.free), axes_of(pz, self.free))
        return torch.cat([*parts, free], 1)

    def log_density(self, z: Tensor) -> Tensor:
        """Log prior density of positions of cells whose labels nobody knows, (..., cells)."""
        total = _log_normal(z[..., self.free], 1.0)
        for prior in self.each:
            off = z[..., prior.axes].unsqueeze(-2) - prior.atoms
            total = total + torch.logsumexp(
                prior.log_share + _log_normal(off, prior.anchor.variance), -1
            )
        return total

    def sample(self, n_cells: int) -> Tensor:
        """Positions drawn from the prior of cells without labels, (cells, axes)."""
        width = self.free.stop - self.free.start
        device = self.overlap.device
        parts = []
        for prior in self.each:
            at = prior.draw(n_cells)
            parts.append(at + prior.anchor.variance**0.5 * torch.randn_like(at))
        return torch.cat([*parts, torch.randn(n_cells, width, device=device)], 1)

    def cell_weights(self, factors: Tensor) -> Tensor:
        """(cells,) overlap weights; 1 where a label is missing."""
        if not self.overlap_columns:
            return torch.ones(len(factors), device=factors.device)
        codes = factors[:, list(self.overlap_columns)]
        known = codes.isfinite().all(1)
        index = torch.where(known[:, None], codes, 0.0).long()
        weights = self.overlap[tuple(index.unbind(1))]
        return torch.where(known, weights, 1.0)


def _log_normal(off: Tensor, variance: float) -> Tensor:
    """Log density of N(0, variance I) at ``off``, summed over axes."""
    constant = torch.log(torch.tensor(2.0 * torch.pi * variance))
    return -0.5 * (off.square() / variance + constant).sum(-1)
