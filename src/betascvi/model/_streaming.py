"""Evaluation that reads compressed rows as they are, in the place of scvi-tools' dense loader."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from scipy import sparse
from scvi import REGISTRY_KEYS, settings
from scvi.data import AnnDataManager

from betascvi.data import Minibatch, registered_columns, why_not_resident
from betascvi.likelihoods import SparseRows
from betascvi.model._cells import chosen_rows

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI

_AT_ONCE = 1024
"""Cells of a minibatch where the caller leaves it open and nothing is drawn."""

_Method = TypeVar("_Method", bound=Callable[..., Any])


def streamed(method: _Method) -> _Method:
    """An evaluation of scvi-tools' that takes its minibatches from :class:`RowStream`.

    Where the data are not compressed rows in memory (backed, minified, a PCA, a caller's own
    dataloader or loader options), or nearly full, scvi-tools' loader serves.
    """
    signature = inspect.signature(method)

    @wraps(method)
    def evaluate(model: BetaSCVI, *args: Any, **kwargs: Any) -> Any:
        call = signature.bind(model, *args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        if given["dataloader"] is None and not given.get("data_loader_kwargs"):
            draws = not (given.get("give_mean") or given.get("return_dist"))
            # samples come minibatch by minibatch; posterior means do not ask how many there are
            batch_size = given["batch_size"] or (settings.batch_size if draws else _AT_ONCE)
            stream = _stream_of(model, given["adata"], given["indices"], batch_size)
            if stream is not None:
                given.update(adata=None, indices=None, batch_size=None, dataloader=stream)
        return method(*call.args, **call.kwargs)

    return cast("_Method", evaluate)


def _stream_of(model: BetaSCVI, adata: Any, indices: Any, batch_size: int) -> Any:
    if adata is None and model.adata is None:  # trained on a datamodule
        return None
    if model.minified_data_type is not None:
        return None
    manager = model.get_anndata_manager(model._validate_anndata(adata), required=True)
    if manager.data_registry[REGISTRY_KEYS.X_KEY]["attr_name"] == "obsm":
        return None
    if REGISTRY_KEYS.MINIFY_TYPE_KEY in manager.data_registry or why_not_resident(manager):
        return None
    x = manager.get_from_registry(REGISTRY_KEYS.X_KEY)
    if not sparse.issparse(x):
        return None
    return RowStream(manager, indices, batch_size, model.device)


class RowStream:
    """Minibatches of an AnnData whose counts stay non-zeros.

    Parameters
    ----------
    manager
        What is registered of the AnnData.
    indices
        Cells, in order; all by default. A mask serves too.
    batch_size
        Cells in a minibatch.
    device
        Where minibatches go.
    """

    def __init__(
        self, manager: AnnDataManager, indices: Any, batch_size: int, device: torch.device | str
    ) -> None:
        x = manager.get_from_registry(REGISTRY_KEYS.X_KEY)
        self.cells = chosen_rows(manager.adata, indices)
        self.batch_size = batch_size
        self.device = device
        self._is_whole = indices is None
        self._counts = x.tocsr()
        self._columns = registered_columns(manager)

    def __len__(self) -> int:
        return -(-len(self.cells) // self.batch_size)

    def __iter__(self) -> Iterator[Minibatch]:
        # torch's loader draws a seed here: with it, samples are the same under the same seed
        torch.empty((), dtype=torch.int64).random_()
        for start in range(0, len(self.cells), self.batch_size):
            cells = self.cells[start : start + self.batch_size]
            where = slice(start, start + len(cells)) if self._is_whole else cells
            minibatch: Minibatch = {
                key: column[where].to(self.device) for key, column in self._columns.items()
            }
            minibatch[REGISTRY_KEYS.X_KEY] = _rows_of(self._counts[where]).to(self.device)
            yield minibatch


def _rows_of(counts: sparse.csr_matrix) -> SparseRows:
    if not counts.has_canonical_format:
        counts.sum_duplicates()
    return SparseRows.from_csr(
        torch.from_numpy(counts.indptr),
        torch.from_numpy(counts.indices),
        torch.from_numpy(np.asarray(counts.data, dtype=np.float32)),
        counts.shape[1],
    )
