"""Loaders over resident cells, and the splitter that chooses between them and scvi-tools' own."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scvi.dataloaders import DataSplitter
from torch import Tensor
from typing_extensions import override

from betascvi.data._resident import Minibatch, ResidentCells

logger = logging.getLogger(__name__)

MINIBATCHES_PER_CHUNK = 32
"""Minibatches Lightning sees as one: its own work costs about as much as a whole minibatch."""


class Chunk:
    """Several minibatches that pass through Lightning as one."""

    def __init__(self, minibatches: Iterator[Minibatch], first: int, n_in_epoch: int) -> None:
        self._minibatches = minibatches
        self.first = first
        self.n_in_epoch = n_in_epoch

    def __iter__(self) -> Iterator[tuple[float, Minibatch]]:
        """Each minibatch with the fraction of the epoch before it."""
        for i, minibatch in enumerate(self._minibatches):
            yield (self.first + i) / self.n_in_epoch, minibatch


class ResidentLoader:
    """Chunks of minibatches of some cells, in a new order each epoch or as they stand."""

    def __init__(
        self,
        cells: ResidentCells,
        indices: np.ndarray,
        batch_size: int,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        self.cells = cells
        self.device = cells.device if device is None else torch.device(device)
        self.indices = torch.as_tensor(np.asarray(indices, dtype=np.int64))
        self.batch_size = batch_size
        self.shuffle = shuffle
        n = len(self.indices)
        self.n_minibatches = n // batch_size if drop_last else math.ceil(n / batch_size)

    def __len__(self) -> int:
        return math.ceil(self.n_minibatches / MINIBATCHES_PER_CHUNK)

    def __iter__(self) -> Iterator[Chunk]:
        order = self._order().to(self.cells.device)
        per_chunk = MINIBATCHES_PER_CHUNK * self.batch_size
        last = self.n_minibatches * self.batch_size
        for k in range(len(self)):
            cells = order[k * per_chunk : min((k + 1) * per_chunk, last)]
            minibatches = self.cells.minibatches(cells, self.batch_size)
            if self.device != self.cells.device:
                minibatches = (_moved(minibatch, self.device) for minibatch in minibatches)
            yield Chunk(minibatches, k * MINIBATCHES_PER_CHUNK, self.n_minibatches)

    def _order(self) -> Tensor:
        # torch's global generator, as in scvi-tools' loader: scvi.settings.seed governs it
        return self.indices[torch.randperm(len(self.indices))] if self.shuffle else self.indices


def _moved(minibatch: Minibatch, device: torch.device) -> Minibatch:
    return {key: tensor.to(device) for key, tensor in minibatch.items()}


class CellSplitter(DataSplitter):
    """scvi-tools' splitter; with ``is_resident`` its loaders cut resident cells.

    Parameters
    ----------
    *args, **kwargs
        As in scvi-tools.
    is_resident
        Hold the data on the training device and hand out :class:`Chunk`.
    """

    def __init__(self, *args: Any, is_resident: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_resident = is_resident
        self._cells: ResidentCells | None = None

    @override
    def train_dataloader(self) -> Any:
        if not self.is_resident:
            return super().train_dataloader()
        return self._loader(self.train_idx, shuffle=True, drop_last=bool(self.drop_last))

    @override
    def val_dataloader(self) -> Any:
        if len(self.val_idx) == 0:
            self._refuse_to_watch_nothing()
            return []
        if not self.is_resident:
            return super().val_dataloader()
        return self._loader(self.val_idx)

    def _refuse_to_watch_nothing(self) -> None:
        # scvi-tools has this check for its own splitter, by its name
        stopping = getattr(self.trainer, "early_stopping_callback", None)
        if stopping is not None and "valid" in stopping.monitor:
            raise ValueError(
                f"early stopping watches {stopping.monitor!r}, but no cell is held out for "
                "validation; leave some out (train_size=0.9) or watch 'elbo_train'."
            )

    def _loader(self, indices: np.ndarray, **options: bool) -> ResidentLoader:
        device = self.trainer.strategy.root_device if self.trainer is not None else "cpu"
        if self._cells is None:
            self._cells = self._held_on(device)
        return ResidentLoader(
            self._cells, indices, self.data_loader_kwargs["batch_size"], device=device, **options
        )

    def _held_on(self, device: torch.device | str) -> ResidentCells:
        try:
            return ResidentCells.from_manager(self.adata_manager, device)
        except torch.OutOfMemoryError:
            logger.warning(
                "the counts do not fit into the memory of %s: they stay in host memory and each "
                "minibatch is copied over.",
                device,
            )
            return ResidentCells.from_manager(self.adata_manager)

    @override
    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        if isinstance(batch, Chunk):  # it is there already
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)
