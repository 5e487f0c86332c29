"""The non-zero counts of one minibatch, and what the likelihoods need to know about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from betascvi.likelihoods._scatter import scatter_rows

# Beyond this, cost and gain are of the count's size and cancel but for a few nats.
LARGE = 32


@dataclass(frozen=True, eq=False)
class SparseRows:
    """The non-zeros of a (cells, genes) matrix of counts, cell after cell.

    Build one with :meth:`from_dense` or :meth:`from_csr`, which drop stored zeros; calling the class
    itself trusts that no entry is zero, that none is stored twice, and that rows ascend.

    Parameters
    ----------
    bounds
        Where each cell's entries begin, and where the last one's end, (cells + 1,).
    col
        Gene of each entry.
    value
        Positive counts, of any dtype; fractions are allowed.
    shape
        Cells and genes.
    known_log_factorial
        Sum over genes of log x! for each cell, when the caller keeps it for the whole data set.
    known_totals
        Counts of each cell, likewise.
    """

    bounds: torch.Tensor
    col: torch.Tensor
    value: torch.Tensor
    shape: tuple[int, int]
    known_log_factorial: torch.Tensor | None = None
    known_totals: torch.Tensor | None = None

    @classmethod
    def from_dense(cls, x: torch.Tensor) -> SparseRows:
        """Non-zeros of a dense (cells, genes) matrix."""
        if x.ndim != 2:
            raise ValueError(f"counts must be (cells, genes); got shape {tuple(x.shape)}.")
        flat = x.reshape(-1)
        index = positions(flat, lambda value: value != 0)
        n_genes = x.shape[1]
        row = index.div(n_genes, rounding_mode="floor") if n_genes else index
        bounds = _bounds_of(row, x.shape[0])
        return cls(bounds, index - row * n_genes, flat[index], (x.shape[0], n_genes))

    @classmethod
    def from_csr(
        cls,
        crow: torch.Tensor,
        col: torch.Tensor,
        value: torch.Tensor,
        n_genes: int,
        log_factorial: torch.Tensor | None = None,
    ) -> SparseRows:
        """Entries of compressed sparse rows; index and count dtypes may be the smallest that fit.

        ``log_factorial`` (cells,): the sums over genes of log x!, if they are at hand.
        """
        n_cells = crow.shape[0] - 1
        crow, col = crow.long(), col.long()
        if positions(value, lambda value: value == 0).numel():
            cells = torch.arange(n_cells, device=col.device)
            row = cells.repeat_interleave(crow.diff(), output_size=col.shape[0])
            kept = positions(value, lambda value: value != 0)
            row, col, value = row[kept], col[kept], value[kept]
            crow = _bounds_of(row, n_cells)
        return cls(crow, col, value, (n_cells, n_genes), log_factorial)

    @cached_property
    def row(self) -> torch.Tensor:
        """Cell of each entry."""
        cells = torch.arange(self.shape[0], device=self.col.device)
        return cells.repeat_interleave(self.bounds.diff(), output_size=self.col.shape[0])

    @cached_property
    def index(self) -> torch.Tensor:
        """Position of each entry in the flattened matrix, ``row * genes + col``."""
        return self.row * self.shape[1] + self.col

    @cached_property
    def log_factorial(self) -> torch.Tensor:
        """Sum over genes of log x! for each cell, in double precision."""
        if self.known_log_factorial is not None:
            return self.known_log_factorial
        return self.sum_per_cell(torch.lgamma(self.value.to(widest(self.value.device)) + 1.0))

    @cached_property
    def beyond_one(self) -> torch.Tensor:
        """Entries whose count is not one; log 1! and the rising factorial of one vanish."""
        return positions(self.value, lambda value: value != 1)

    @cached_property
    def large(self) -> torch.Tensor:
        """Entries whose count is so large that their cost has to be known in double precision."""
        return positions(self.value, lambda value: value > LARGE)

    @cached_property
    def totals(self) -> torch.Tensor:
        """Counts of each cell, (cells,)."""
        if self.known_totals is not None:
            return self.known_totals
        return self.sum_per_cell(self.value.float())

    def sum_per_cell(self, values: torch.Tensor) -> torch.Tensor:
        """Add up ``values`` at the non-zeros within each cell, in their own precision."""
        total = torch.zeros(self.shape[0], dtype=values.dtype, device=values.device)
        if values.device.type != "cpu":
            return total.index_add_(0, self.row, values)
        if values.numel():  # numpy adds up runs in a seventh of the time of index_add_
            cells, starts = self._runs
            total.numpy()[cells] = np.add.reduceat(values.numpy(), starts)
        return total

    @cached_property
    def _runs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Cells that have entries, and where theirs begin."""
        bounds = self.bounds.numpy()
        cells = np.flatnonzero(np.diff(bounds))
        return cells, bounds[cells]

    def with_value(self, value: torch.Tensor) -> SparseRows:
        """The same entries with other values."""
        return SparseRows(self.bounds, self.col, value, self.shape)

    def dense(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The (cells, genes) matrix of counts."""
        value = self.value.to(dtype)
        n_cells, n_genes = self.shape
        if value.device.type == "cpu" and value.dtype == torch.float32:
            out = torch.empty(n_cells, n_genes)
            entries = self.bounds.numpy(), self.col.numpy(), value.detach().numpy()
            scatter_rows(*entries, out.numpy())
            return out
        flat = torch.zeros(n_cells * n_genes, dtype=value.dtype, device=value.device)
        return flat.index_copy_(0, self.index, value).view(n_cells, n_genes)

    def repeat(self, times: int) -> SparseRows:
        """The same cells ``times`` over, one whole copy after the other."""
        if times == 1:
            return self
        n_cells, n_genes = self.shape
        starts = torch.arange(times, device=self.col.device)[:, None] * self.col.shape[0]
        return SparseRows(
            torch.cat([(self.bounds[:-1] + starts).reshape(-1), self.bounds[-1:] * times]),
            self.col.repeat(times),
            self.value.repeat(times),
            (times * n_cells, n_genes),
            self.log_factorial.repeat(times),
            self.totals.repeat(times),
        )

    def to(self, device: torch.device | str) -> SparseRows:
        """The same rows on another device."""
        known = self.known_log_factorial, self.known_totals
        return SparseRows(
            self.bounds.to(device),
            self.col.to(device),
            self.value.to(device),
            self.shape,
            *(None if figures is None else figures.to(device) for figures in known),
        )


def _bounds_of(row: torch.Tensor, n_cells: int) -> torch.Tensor:
    """Where each cell begins in ascending ``row``, and where the last one ends."""
    return torch.searchsorted(row, torch.arange(n_cells + 1, device=row.device))


def positions(values: torch.Tensor, test: Callable[[Any], Any]) -> torch.Tensor:
    """Where a flat tensor passes a test; on a CPU numpy compares and finds in a tenth of the time."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(test(values.detach().numpy())))
    return torch.nonzero(test(values)).squeeze(1)


def widest(device: torch.device) -> torch.dtype:
    """Double precision, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64
