"""All cells of a data set on one device, cut into minibatches there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.data._utils import registry_key_to_default_dtype
from torch import Tensor

from betascvi.data._gather import gather_rows
from betascvi.likelihoods import SparseRows

Minibatch = dict[str, Any]
"""Registry key -> tensor of the cells in it; the counts are :class:`SparseRows`."""

_CELLS_AT_ONCE = 256
_FULLEST = 0.6
"""Above this share of non-zeros, compressed rows cost more than they save."""


@dataclass(frozen=True, eq=False)
class CompressedRows:
    """Counts as compressed sparse rows, in the smallest integers that hold them."""

    crow: Tensor
    col: Tensor
    value: Tensor
    log_factorial: Tensor
    """(cells,) sum over genes of log x!: the same at every epoch."""
    totals: Tensor
    """(cells,) sum over genes of x."""
    n_genes: int

    @classmethod
    def from_scipy(cls, matrix: sparse.csr_matrix, device: torch.device | str) -> CompressedRows:
        """Compress a matrix of counts; fractional values stay floats."""
        value = _smallest(matrix.data)
        col = matrix.indices.astype(np.int16 if matrix.shape[1] <= 2**15 else np.int32)
        log_factorials, totals = _constants(matrix)
        return cls(
            torch.as_tensor(matrix.indptr.astype(np.int64), device=device),
            torch.as_tensor(col, device=device),
            torch.as_tensor(value, device=device),
            log_factorials.to(device),
            totals.to(device),
            matrix.shape[1],
        )

    @property
    def n_bytes(self) -> int:
        """Memory held on the device."""
        tensors = (self.crow, self.col, self.value, self.log_factorial, self.totals)
        return sum(t.numel() * t.element_size() for t in tensors)

    def cut(self, cells: Tensor, batch_size: int) -> list[SparseRows]:
        """Rows of ``cells``, ``batch_size`` at a time, gathered in one go."""
        start, end = self.crow[cells], self.crow[cells + 1]
        bounds = torch.zeros(len(cells) + 1, dtype=torch.int64, device=cells.device)
        torch.cumsum(end - start, 0, out=bounds[1:])
        col, value = self._gather(start, bounds)
        constants, totals = self.log_factorial[cells], self.totals[cells]
        firsts = range(0, len(cells), batch_size)
        ends = [min(first + batch_size, len(cells)) for first in firsts]
        edges = bounds[[0, *ends]].tolist()
        return [
            SparseRows(
                bounds[first : end + 1] - a, col[a:b], value[a:b],
                (end - first, self.n_genes), constants[first:end],
                totals[first:end],
            )
            for first, end, (a, b) in zip(firsts, ends, pairwise(edges), strict=True)
        ]  # fmt: skip

    def _gather(self, start: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
        """Genes and counts of the rows that begin at ``start``, one row after the other."""
        n = int(bounds[-1])
        if start.device.type == "cpu":
            col, value = torch.empty(n, dtype=torch.int64), torch.empty(n, dtype=torch.float32)
            rows = (t.numpy() for t in (self.col, self.value, start, bounds))
            gather_rows(*rows, col.numpy(), value.numpy())
            return col, value
        here = torch.arange(n, device=start.device)
        here += (start - bounds[:-1]).repeat_interleave(bounds.diff(), output_size=n)
        return self.col[here].long(), self.value[here].float()


@dataclass(frozen=True, eq=False)
class ResidentCells:
    """What an AnnData manager registered, as tensors on one device."""

    counts: CompressedRows | None
    """None where the data are dense real values, which then stand in ``columns``."""
    columns: dict[str, Tensor]

    @classmethod
    def from_manager(
        cls, manager: AnnDataManager, device: torch.device | str = "cpu"
    ) -> ResidentCells:
        """Read everything that is registered; ask :func:`can_reside` first."""
        columns = {key: c.to(device) for key, c in registered_columns(manager).items()}
        x = manager.get_from_registry(REGISTRY_KEYS.X_KEY)
        if manager.data_registry[REGISTRY_KEYS.X_KEY]["attr_name"] == "obsm":
            columns[REGISTRY_KEYS.X_KEY] = _as_tensor(x, REGISTRY_KEYS.X_KEY).to(device)
            return cls(None, columns)
        return cls(CompressedRows.from_scipy(_as_csr(x), device), columns)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self.columns.values())).device

    def minibatches(self, cells: Tensor, batch_size: int) -> Iterator[Minibatch]:
        """Minibatches of ``cells`` in their order."""
        columns = {key: column[cells] for key, column in self.columns.items()}
        starts = range(0, len(cells), batch_size)
        rows = (
            self.counts.cut(cells, batch_size) if self.counts is not None else [None] * len(starts)
        )
        for start, counts in zip(starts, rows, strict=True):
            minibatch: Minibatch = {k: v[start : start + batch_size] for k, v in columns.items()}
            if counts is not None:
                minibatch[REGISTRY_KEYS.X_KEY] = counts
            yield minibatch


def registered_columns(manager: AnnDataManager) -> dict[str, Tensor]:
    """Everything registered but the data themselves, as tensors of scvi-tools' dtypes."""
    return {
        key: _as_tensor(manager.get_from_registry(key), key)
        for key in manager.data_registry
        if key not in {REGISTRY_KEYS.X_KEY, REGISTRY_KEYS.MINIFY_TYPE_KEY}
    }


def why_not_resident(manager: AnnDataManager) -> str | None:
    """Why the data cannot be held as compressed rows, in words; None where they can."""
    if manager.adata.isbacked:
        return "the AnnData is backed by a file"
    if manager.adata.is_view:
        return "the AnnData is a view"
    x = manager.get_from_registry(REGISTRY_KEYS.X_KEY)
    if sparse.issparse(x):
        return _why_too_full(x.nnz, x.shape)
    if isinstance(x, np.ndarray):
        is_obsm = manager.data_registry[REGISTRY_KEYS.X_KEY]["attr_name"] == "obsm"
        return None if is_obsm else _why_too_full(int(np.count_nonzero(x)), x.shape)
    return f"the data are a {type(x).__name__}, not a matrix in memory"


def _why_too_full(n_non_zeros: int, shape: tuple[int, int]) -> str | None:
    share = n_non_zeros / max(shape[0] * shape[1], 1)
    return f"{share:.0%} of the counts are not zero" if share > _FULLEST else None


def _as_csr(x: Any) -> sparse.csr_matrix:
    matrix = x.tocsr() if sparse.issparse(x) else sparse.csr_matrix(x)
    if (matrix.data == 0).any():
        matrix = matrix.copy()
        matrix.eliminate_zeros()
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def _smallest(values: np.ndarray) -> np.ndarray:
    if values.size == 0:
        return values.astype(np.uint8)
    if values.dtype.kind == "f" and not np.array_equal(values, np.floor(values)):
        return values.astype(np.float32)
    largest = values.max()
    fits = next(t for t in (np.uint8, np.int16, np.int32, np.int64) if largest <= np.iinfo(t).max)
    return values.astype(fits)


def _constants(matrix: sparse.csr_matrix) -> tuple[Tensor, Tensor]:
    """Sums over genes of log x! and of x for each cell, some cells at a time."""
    log_factorials, totals = np.zeros(matrix.shape[0]), np.zeros(matrix.shape[0])
    for first in range(0, matrix.shape[0], _CELLS_AT_ONCE):
        here = slice(first, first + _CELLS_AT_ONCE)
        bounds = matrix.indptr[first : first + _CELLS_AT_ONCE + 1].astype(np.int64)
        value = matrix.data[bounds[0] : bounds[-1]].astype(np.float64)
        n = len(bounds) - 1
        cell = np.repeat(np.arange(n), np.diff(bounds))
        totals[here] = np.bincount(cell, value, minlength=n)
        beyond_one = value != 1
        more = torch.lgamma(torch.from_numpy(value[beyond_one]) + 1.0).numpy()
        log_factorials[here] = np.bincount(cell[beyond_one], more, minlength=n)
    return torch.from_numpy(log_factorials), torch.from_numpy(totals.astype(np.float32))


def _as_tensor(data: Any, key: str) -> Tensor:
    # a copy: pandas hands out arrays that must not be written to
    values = np.array(
        data.to_numpy() if hasattr(data, "to_numpy") else data,
        dtype=registry_key_to_default_dtype(key),
        order="C",
    )
    return torch.as_tensor(values)
