"""Sums over the minibatches of an epoch, kept on the device until somebody reads them."""

from __future__ import annotations

import torch
from scvi.module.base import LossOutput
from torch import Tensor


class RunningMeans:
    """Per-cell means of the parts of a loss over one epoch."""

    def __init__(self) -> None:
        # by the names of the parts: one addition a minibatch, whatever their number
        self._sums: dict[tuple[str, ...], Tensor] = {}
        self._n_cells = 0

    def add(self, output: LossOutput) -> None:
        """Take in one minibatch."""
        n = output.n_obs_minibatch
        extras = {k: v for k, v in output.extra_metrics.items() if v.dim() == 0}
        names = ("reconstruction_loss", "kl_local", "loss", *extras)
        sums = torch.stack([output.reconstruction_loss_sum, output.kl_local_sum]).detach()
        means = torch.stack([output.loss, *extras.values()]).detach()
        parts = torch.cat([sums.to(means), means * n])
        self._sums[names] = self._sums[names] + parts if names in self._sums else parts
        self._n_cells += n

    def read_and_reset(self) -> dict[str, Tensor]:
        """Means per cell since the last reading; nothing where no cell came."""
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
