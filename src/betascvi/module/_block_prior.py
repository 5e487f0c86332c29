"""The conditional prior of one block: frozen anchors, and their mixture where a label is missing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from betascvi.factors import BlockPlan
from betascvi.objectives._gaussian_kl import kl_per_axis

_FOR_THE_MISSING = 9.0
_LEAST = 1e-30  # a share that is never met, in place of zero: its logarithm is finite


class BlockPrior(nn.Module):
    r"""p(z_k | c_k) of one factor.

    A label gives :math:`\mathcal{N}(m_c, s^2 I)`, a missing one
    :math:`\sum_c \pi_c \mathcal{N}(m_c, s^2 I)`, a label that may be wrong both in the shares
    :math:`1 - \epsilon` and :math:`\epsilon`. Nothing here is trained.
    """

    atoms: Tensor
    log_share: Tensor
    scale: Tensor
    edges: Tensor
    parent_of: Tensor

    def __init__(self, plan: BlockPlan) -> None:
        super().__init__()
        self.name, self.anchor, self.kind = plan.name, plan.anchor, plan.kind
        self.axes, self.column, self.parent_column = plan.axes, plan.column, plan.parent_column
        self.n_groups = plan.n_groups
        self.levels = plan.levels
        for name, values in {
            "atoms": plan.atoms, "log_share": torch.as_tensor(plan.share).log(),
            "scale": plan.scale, "edges": plan.edges,
        }.items():  # fmt: skip
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float32))
        self.register_buffer("parent_of", torch.as_tensor(plan.parent_of, dtype=torch.long))

    def labels(self, factors: Tensor) -> Tensor:
        """(cells,) codes or values of this factor; NaN is missing."""
        return factors[:, self.column]

    def position(self, values: Tensor) -> Tensor:
        """(cells, axes) where a label's prior stands; a missing one's at the mean of the mixture."""
        known = values.isfinite()
        filled = torch.where(known, values, torch.zeros_like(values))
        if self.kind == "categorical":
            at = self.atoms[filled.long()]
        elif self.kind == "circular":
            at = torch.stack([filled.cos(), filled.sin()], -1)
        else:
            at = ((filled - self.scale[0]) / self.scale[1])[:, None]
        return torch.where(known[:, None], at, self._mixture_mean())

    def distribution(self, factors: Tensor) -> Normal:
        """The prior of each cell; of an unlabelled one the Gaussian with the mixture's moments."""
        values = self.labels(factors)
        mean = self._mixture_mean()
        spread = (self.log_share.exp()[:, None] * (self.atoms - mean).square()).sum(0)
        variance = torch.where(
            values.isfinite()[:, None], 0.0, spread[None]
        ) + self.anchor.variance  # fmt: skip
        return Normal(self.position(values), variance.sqrt(), validate_args=False)

    def kl(self, q: Normal, factors: Tensor) -> Tensor:
        r"""KL(q || p) of each cell by axis, (cells, axes), in nats.

        To a mixture :math:`\sum_a w_a \mathcal{N}_a` it is
        :math:`-\log \sum_a w_a e^{-\mathrm{KL}(q \| \mathcal{N}_a)}`, the smallest upper bound that
        the closed forms give (Hershey and Olsen, 2007), so the ELBO stays a bound.
        """
        values = self.labels(factors)
        sd = torch.full((), self.anchor.variance**0.5, device=q.loc.device)
        own = kl_per_axis(q, Normal(self.position(values), sd, validate_args=False))
        known = values.isfinite()
        if not self.anchor.label_noise and bool(known.all()):
            return own
        here = Normal(q.loc[:, None], q.scale[:, None], validate_args=False)
        to_atoms = kl_per_axis(here, Normal(self.atoms[None], sd, validate_args=False))
        each = torch.cat([own[:, None], to_atoms], 1)  # (cells, 1 + atoms, axes)
        log_weight = self._log_weights(known, factors)
        share = (log_weight - each.sum(-1)).softmax(1)
        mixing = (share * (share.clamp(min=_LEAST).log() - log_weight)).sum(1, keepdim=True)
        return (share[..., None] * each).sum(1) + mixing / each.shape[-1]

    def cross_entropy(self, q: Normal, factors: Tensor) -> Tensor:
        """-log p(label | position) under the anchors, (cells,); zero where there is no label."""
        values = self.labels(factors)
        known = values.isfinite()
        log_p = self.log_probabilities(q.loc, torch.zeros_like(q.scale), 1.0, factors)
        of_label = log_p.gather(1, torch.where(known, values, 0.0).long()[:, None])[:, 0]
        noise = self.anchor.label_noise
        if noise:
            of_label = (noise + (1.0 - noise) * of_label.exp()).log()
        return torch.where(known, -of_label, 0.0)

    def emphasis(self, factors: Tensor) -> float | Tensor:
        r"""How many times the cross-entropy weighs what the anchor says; 1 where labels are sure.

        Cells without a label, and labels that may be wrong, leave a block free to tell something
        else that the data show better. So the fewer labels there are, the more each one weighs,
        and contradicting one that may be wrong costs as much as contradicting a sure one does
        (2 / variance nats of KL), not the :math:`-\log \epsilon` of its likelihood.
        """
        noise = self.anchor.label_noise
        sure = 2.0 / (self.anchor.variance * max(-math.log(noise), 0.1)) if noise else 1.0
        known = self.labels(factors).isfinite()
        if bool(known.all()):
            return sure
        share = known.float().mean().clamp(min=1.0 / len(known))
        return sure * (1.0 + _FOR_THE_MISSING * (1.0 - share)) / share

    def log_probabilities(
        self, mean: Tensor, sd: Tensor, temperature: float, factors: Tensor | None = None
    ) -> Tensor:
        """Log probability of each level at a posterior, (cells, levels); within its parent."""
        variance = (self.anchor.variance + sd.square())[:, None]
        off = (mean[:, None] - self.atoms[None]).square() / variance
        logits = -0.5 * off.sum(-1) / temperature
        siblings = None if factors is None else self._is_sibling(factors)
        if siblings is not None:
            logits = logits.masked_fill(~siblings, -1e4)
        return logits.log_softmax(-1)

    def cpu_log_probabilities(
        self, mean: Tensor, sd: Tensor, temperature: float, factors: Tensor | None
    ) -> Tensor:
        """:meth:`log_probabilities` of tensors on the CPU, wherever the model is."""
        device = self.atoms.device
        given = None if factors is None else factors.to(device)
        with torch.no_grad():
            return self.log_probabilities(mean.to(device), sd.to(device), temperature, given).cpu()

    def groups(self, factors: Tensor) -> Tensor:
        """(cells,) level of each cell, or the bin of its number or angle; -1 is missing."""
        values = self.labels(factors)
        known = values.isfinite()
        if self.kind == "categorical":
            return torch.where(known, values, -1.0).long()
        binned = torch.bucketize(
            torch.where(known, values, 0.0).contiguous(), self.edges, right=True
        )
        return torch.where(known, binned, -1)

    def parents(self, factors: Tensor) -> Tensor | None:
        """(cells,) parent level of a nested factor; None where it is not nested."""
        if self.parent_column is None:
            return None
        values = self.labels(factors)
        known = values.isfinite()
        return torch.where(known, self.parent_of[torch.where(known, values, 0.0).long()], -1)

    def draw(self, n_cells: int, factors: Tensor | None = None) -> Tensor:
        """(cells, axes) anchors drawn by their shares, for nested levels among siblings."""
        weights = self.log_share.exp().expand(n_cells, -1)
        siblings = None if factors is None else self._is_sibling(factors)
        if siblings is not None:
            weights = weights * siblings
        return self.atoms[torch.multinomial(weights, 1)[:, 0]]

    def _mixture_mean(self) -> Tensor:
        return (self.log_share.exp()[:, None] * self.atoms).sum(0)

    def _log_weights(self, known: Tensor, factors: Tensor) -> Tensor:
        """(cells, 1 + atoms) log shares: of the label's own prior first."""
        noise = self.anchor.label_noise
        of_others = torch.where(known, noise, 1.0)
        own = (1.0 - of_others)[:, None]
        share = self.log_share.exp()[None].expand(len(known), -1)
        siblings = self._is_sibling(factors)
        if siblings is not None:
            share = share * siblings
            share = share / share.sum(1, keepdim=True)
        both = torch.cat([own, of_others[:, None] * share], 1)
        return both.clamp(min=_LEAST).log()

    def _is_sibling(self, factors: Tensor) -> Tensor | None:
        """(cells, levels) which levels share the cell's parent; all where that tells of none.

        A parent may be unknown, or no cell with a label is of it.
        """
        if self.parent_column is None:
            return None
        siblings = self.parent_of[None] == factors[:, self.parent_column, None]
        return siblings | ~siblings.any(1, keepdim=True)
