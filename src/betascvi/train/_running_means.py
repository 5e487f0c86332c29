"""Sums over the minibatches of an epoch, kept on the device until somebody reads them."""

from __future__ import annotations

import torch
from scvi.module.base import LossOutput
from torch import Tensor

_TOGETHER = 256
"""Minibatches summed at once: a sum for each of them would be a dozen small operators a step."""


class RunningMeans:
    """Per-cell means of the parts of a loss over one epoch."""

    def __init__(self) -> None:
        # by the names of the parts
        self._sums: dict[tuple[str, ...], Tensor] = {}
        self._waiting: dict[tuple[str, ...], list[tuple[int, list[Tensor]]]] = {}
        self._n_cells = 0

    def add(self, output: LossOutput) -> None:
        """Take in one minibatch."""
        n = output.n_obs_minibatch
        extras = {k: v for k, v in output.extra_metrics.items() if v.dim() == 0}
        names = ("reconstruction_loss", "kl_local", "loss", *extras)
        sums = [output.reconstruction_loss_sum.detach(), output.kl_local_sum.detach()]
        waiting = self._waiting.setdefault(names, [])
        waiting.append((n, [*sums, output.loss.detach(), *extras.values()]))
        self._n_cells += n
        if len(waiting) == _TOGETHER:
            self._sum_up()

    def _sum_up(self) -> None:
        for names, waiting in self._waiting.items():
            figures = torch.stack(
                [torch.stack([part.to(parts[2]) for part in parts]) for _, parts in waiting]
            ).detach()
            n = torch.tensor([n for n, _ in waiting]).to(figures)
            # the first two are sums over cells already
            figures[:, 2:] *= n[:, None]
            total = figures.sum(0)
            self._sums[names] = self._sums[names] + total if names in self._sums else total
        self._waiting = {}

    def read_and_reset(self) -> dict[str, Tensor]:
        """Means per cell since the last reading; nothing where no cell came."""
        self._sum_up()
        totals: dict[str, Tensor] = {}
        for names, parts in self._sums.items():
            for name, part in zip(names, parts.unbind(), strict=True):
                totals[name] = totals[name] + part if name in totals else part
        means = {name: (total / self._n_cells).float() for name, total in totals.items()}
        self._sums, self._n_cells = {}, 0
        if means:
            means["elbo"] = means["reconstruction_loss"] + means["kl_local"]
            means["kl_global"] = torch.zeros_like(means["elbo"])
        return means
