"""What a count matrix must be before a model sees it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from betascvi._errors import CountsError

logger = logging.getLogger(__name__)

_ROWS_PER_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class _Tally:
    """What one pass over the matrix found."""

    n_missing: int
    n_infinite: int
    n_negative: int
    n_fractional: int
    n_empty_cells: int
    n_unseen_genes: int


def check_shape_and_names(adata: AnnData) -> None:
    """Refuse what no model can be set up on: views, nothing, names that stand twice."""
    if adata.is_view:
        raise CountsError(
            "adata is a view of another AnnData; make it its own: adata = adata.copy()."
        )
    if adata.n_obs == 0 or adata.n_vars == 0:
        raise CountsError(
            f"adata has {adata.n_obs} cells and {adata.n_vars} genes; there is nothing to model. "
            "Check the filter that came before."
        )
    for what, names in (("cell", adata.obs_names), ("gene", adata.var_names)):
        twice = names[names.duplicated()].unique()
        if len(twice):
            call = "obs_names_make_unique" if what == "cell" else "var_names_make_unique"
            raise CountsError(
                f"{len(twice)} {what} names stand more than once (such as {twice[0]!r}); "
                f"call adata.{call}()."
            )


def refuse_reordered_genes(genes: Sequence[str], adata: AnnData) -> None:
    """Refuse a model's genes in another order, which scvi-tools takes by position."""
    here = [str(name) for name in adata.var_names]
    genes = [str(name) for name in genes]
    if genes != here and len(genes) == len(here) and set(genes) == set(here):
        i = next(i for i, (a, b) in enumerate(zip(genes, here, strict=True)) if a != b)
        raise ValueError(
            f"the genes of adata stand in another order than the model's (gene {i} is {here[i]!r}, "
            f"the model's {genes[i]!r}); give adata[:, model.get_var_names()]."
        )


def check_counts(adata: AnnData, layer: str | None) -> None:
    """Refuse matrices that are not counts, in one streamed pass; nothing is changed.

    Negative, missing and infinite values and empty cells are errors; fractional values and
    genes that are zero everywhere are warnings.
    """
    where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise CountsError(f"{where} is empty (None); name the layer with counts: layer='counts'.")
    tally = _tally(matrix, adata.shape)
    _refuse_bad_values(tally, where)
    if tally.n_empty_cells:
        raise CountsError(
            f"{tally.n_empty_cells} of {adata.n_obs} cells have no counts in {where}, so they have "
            "no library size; drop them: sc.pp.filter_cells(adata, min_counts=1)."
        )
    if tally.n_unseen_genes:
        warnings.warn(
            f"{tally.n_unseen_genes} of {adata.n_vars} genes are zero in every cell of {where}; "
            "they are kept and cost time. sc.pp.filter_genes(adata, min_cells=1) drops them.",
            UserWarning,
            stacklevel=3,
        )


def _refuse_bad_values(tally: _Tally, where: str) -> None:
    for count, what, way_out in (
        (tally.n_missing, "missing (NaN)", "replace them, for example with zeros"),
        (tally.n_infinite, "infinite", "replace them"),
        (tally.n_negative, "negative", "give raw counts, not scaled or centred values"),
    ):
        if count:
            raise CountsError(
                f"{where} holds {count} {what} values; counts are whole numbers from 0 up: "
                f"{way_out} (layer= names another matrix)."
            )
    if tally.n_fractional:
        warnings.warn(
            f"{where} holds {tally.n_fractional} fractional values and may not be raw counts; the "
            "count likelihoods expect whole numbers (layer= names another matrix).",
            UserWarning,
            stacklevel=4,
        )


def _tally(matrix: Any, shape: tuple[int, int]) -> _Tally:
    missing = infinite = negative = fractional = empty = 0
    gene_totals = np.zeros(shape[1])
    for chunk in _row_chunks(matrix, shape[0]):
        values = chunk.data if sparse.issparse(chunk) else chunk
        if values.dtype.kind not in "biuf":
            raise CountsError(f"counts are numbers, got a matrix of {values.dtype}.")
        lowest, highest = (values.min(), values.max()) if values.size else (0, 0)
        if not (lowest >= 0 and np.isfinite(highest)):  # a NaN is not at least zero
            missing += int(np.isnan(values).sum())
            infinite += int(np.isinf(values).sum())
            negative += int((values < 0).sum())
            values = values[np.isfinite(values)]
        if values.dtype.kind == "f":
            fractional += int((values != np.floor(values)).sum())
        empty += int((np.asarray(chunk.sum(1)).ravel() == 0).sum())
        gene_totals += np.asarray(abs(chunk).sum(0)).ravel()
    return _Tally(missing, infinite, negative, fractional, empty, int((gene_totals == 0).sum()))


def _row_chunks(matrix: Any, n_rows: int) -> Iterator[Any]:
    """Rows a chunk at a time: dense, sparse, backed on disk or lazy."""
    if sparse.issparse(matrix) and matrix.format != "csr":
        matrix = matrix.tocsr()
    for start in range(0, n_rows, _ROWS_PER_CHUNK):
        chunk = matrix[start : min(start + _ROWS_PER_CHUNK, n_rows)]
        chunk = chunk.compute() if hasattr(chunk, "compute") else chunk
        yield chunk if sparse.issparse(chunk) else np.asarray(chunk)
