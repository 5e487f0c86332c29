"""Sums over the minibatches of an epoch, kept on the device until somebody reads them."""

from __future__ import annotations

import torch
from scvi.module.base import LossOutput
from torch import Tensor


class RunningMeans:
    """Per-cell means of the parts of a loss over one epoch."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._n_cells = 0

    def add(self, output: LossOutput) -> None:
        """Take in one minibatch."""
        n = output.n_obs_minibatch
        extras = {k: v for k, v in output.extra_metrics.items() if v.dim() == 0}
        per_cell = {"loss": output.loss.detach(), **extras}
        per_minibatch = {
            "reconstruction_loss": output.reconstruction_loss_sum.detach(),
            "kl_local": output.kl_local_sum.detach(),
        }
        for name, value in per_cell.items():
            self._add(name, value * n)
        for name, value in per_minibatch.items():
            self._add(name, value)
        self._n_cells += n

    def _add(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value

    def read_and_reset(self) -> dict[str, Tensor]:
        """Means per cell since the last reading; nothing where no cell came."""
        n = max(self._n_cells, 1)
        means = {name: (total / n).float() for name, total in self._sums.items()}
        self._sums, self._n_cells = {}, 0
        if means:
            means["elbo"] = means["reconstruction_loss"] + means["kl_local"]
            means["kl_global"] = torch.zeros_like(means["elbo"])
        return means
