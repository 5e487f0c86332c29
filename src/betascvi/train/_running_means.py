"""Sums over the minibatches of an epoch, kept on the device until somebody reads them."""

from __future__ import annotations

import torch
from scvi.module.base import LossOutput
from torch import Tensor

from betascvi.module import MinibatchFigures

_ALWAYS = ("reconstruction_loss", "kl_local", "loss")
_TOGETHER = 256
"""Minibatches summed at once: a sum for each of them would be a dozen small operators a step."""


class RunningMeans:
    """Per-cell means of the parts of a loss over one epoch."""

    def __init__(self) -> None:
        # by the names of the parts
        self._sums: dict[tuple[str, ...], Tensor] = {}
        self._waiting: dict[tuple[str, ...], list[tuple[int, list[Tensor] | list[float]]]] = {}
        self._n_cells = 0

    def add(self, output: LossOutput) -> None:
        """Take in one minibatch."""
        extras = {k: v for k, v in output.extra_metrics.items() if v.dim() == 0}
        sums = [output.reconstruction_loss_sum.detach(), output.kl_local_sum.detach()]
        parts = [*sums, output.loss.detach(), *extras.values()]
        self._keep(output.n_obs_minibatch, (*_ALWAYS, *extras), parts)

    def add_figures(self, figures: MinibatchFigures) -> None:
        """Take in one minibatch that was passed without a graph."""
        names = (*_ALWAYS, "kl", "kl_weight")
        sums = [figures.reconstruction_sum, figures.kl_sum]
        parts = [*sums, figures.loss, figures.kl_sum / figures.n_cells, figures.kl_weight]
        self._keep(figures.n_cells, names, parts)

    def _keep(self, n: int, names: tuple[str, ...], parts: list[Tensor] | list[float]) -> None:
        waiting = self._waiting.setdefault(names, [])
        waiting.append((n, parts))
        self._n_cells += n
        if len(waiting) == _TOGETHER:
            self._sum_up()

    def _sum_up(self) -> None:
        for names, waiting in self._waiting.items():
            rows = [_row(parts) for _, parts in waiting]
            figures = torch.stack([row.to(rows[0]) for row in rows]).detach()
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


def _row(parts: list[Tensor] | list[float]) -> Tensor:
    loss = parts[2]
    if not isinstance(loss, Tensor):
        return torch.tensor(parts)
    return torch.stack([torch.as_tensor(part).to(loss) for part in parts])
