"""Cells as a decoder needs them: covariates, library sizes and labels, in their codes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from scvi import REGISTRY_KEYS

from betascvi._errors import UnknownFactorError
from betascvi.data import FACTORS_KEY
from betascvi.model._handles import covariates_of, labels_registered, levels_registered

if TYPE_CHECKING:
    from betascvi.model._beta_scvi import BetaSCVI

_CHUNK = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """What a model knows of some cells besides their counts."""

    indices: np.ndarray
    covariates: Mapping[str, np.ndarray]
    """Name -> (cells,) codes or values of what the decoder is conditioned on."""
    sizes: np.ndarray
    """(cells,) library sizes, or size factors where they are registered; ones for a PCA."""
    labels: Mapping[str, np.ndarray]
    """Name -> (cells,) codes, numbers or angles of registered factors; missing is NaN. Codes are
    those of the covariate where a factor is one, too."""
    classes: np.ndarray
    """(cells,) codes of ``labels_key``, by which a dispersion may go; zeros without one."""


def cells_of(
    model: BetaSCVI,
    adata: AnnData | None,
    indices: Sequence[int] | np.ndarray | None,
    *,
    with_sizes: bool = True,
) -> Cells:
    """The cells ``indices`` of ``adata`` (all, of the training data, by default)."""
    adata = model._validate_anndata(adata)
    manager: Any = model.get_anndata_manager(adata, required=True)
    rows = np.arange(adata.n_obs) if indices is None else np.asarray(indices)

    def column(key: str) -> Any:
        return manager.get_from_registry(key) if key in manager.data_registry else None

    labels = {}
    coded = column(FACTORS_KEY)
    if coded is not None:
        table = np.asarray(coded, dtype=float)[rows]
        labels = {
            name: _as_covariate(model, name, table[:, i])
            for i, name in enumerate(labels_registered(model))
        }
    sizes = _sizes(model, column, rows) if with_sizes else np.ones(len(rows))
    classes = np.asarray(column(REGISTRY_KEYS.LABELS_KEY), dtype=np.int64).ravel()[rows]
    return Cells(rows, _covariates(model, column, rows), sizes, labels, classes)


def _as_covariate(model: BetaSCVI, name: str, codes: np.ndarray) -> np.ndarray:
    """Codes of a factor's levels in the order that the decoder's covariate has them in."""
    order = next((c.levels for c in covariates_of(model) if c.name == name and c.levels), None)
    levels = levels_registered(model).get(name)
    if order is None or not levels:
        return codes
    place = np.array([order.index(level) if level in order else -1 for level in levels], float)
    known = np.isfinite(codes) & (codes >= 0)
    out = codes.copy()
    out[known] = place[codes[known].astype(int)]
    return out


def training_rows(model: BetaSCVI) -> np.ndarray | None:
    """Positions of the training cells in ``model.adata``; None where they are not at hand."""
    rows = getattr(model, "train_indices", None)
    if model.adata is None or rows is None or not len(rows):
        return None
    rows = np.sort(np.asarray(rows, dtype=np.int64))
    names = getattr(model, "trained_on_", None)  # missing where scvi-tools trained the model
    is_other = names is not None and names != digest_of_names(model.adata)
    return None if is_other or rows[-1] >= model.adata.n_obs else rows


def digest_of_names(adata: AnnData) -> str:
    """Tells an AnnData from one with other cells, or in another order."""
    return hashlib.sha256("\n".join(map(str, adata.obs_names)).encode()).hexdigest()


def observed_sizes(x: Any, rows: np.ndarray) -> np.ndarray:
    """(cells,) counts of each cell, a chunk at a time: ``x`` may be on disk."""
    sizes = np.empty(len(rows))
    order = np.argsort(rows, kind="stable")
    for start in range(0, len(rows), _CHUNK):
        chosen = order[start : start + _CHUNK]
        wanted, back = np.unique(rows[chosen], return_inverse=True)
        sizes[chosen] = np.asarray(x[wanted].sum(1), dtype=float).ravel()[back]
    return sizes


def is_of_embedding(model: BetaSCVI) -> bool:
    """Whether the model was set up on an ``obsm`` matrix."""
    return bool(model.module.is_embedding)


def _sizes(model: BetaSCVI, column: Any, rows: np.ndarray) -> np.ndarray:
    if is_of_embedding(model):
        return np.ones(len(rows))
    factors = column(REGISTRY_KEYS.SIZE_FACTOR_KEY)
    if factors is not None:
        return np.asarray(factors, dtype=float).ravel()[rows]
    stored = column(REGISTRY_KEYS.OBSERVED_LIB_SIZE)
    if stored is not None:  # of minified data, whose counts are gone
        return np.asarray(stored, dtype=float).ravel()[rows]
    return observed_sizes(column(REGISTRY_KEYS.X_KEY), rows)


def _covariates(model: BetaSCVI, column: Any, rows: np.ndarray) -> dict[str, np.ndarray]:
    known = covariates_of(model)
    found = {}
    tables = {
        "batch": column(REGISTRY_KEYS.BATCH_KEY),
        "categorical": column(REGISTRY_KEYS.CAT_COVS_KEY),
        "continuous": column(REGISTRY_KEYS.CONT_COVS_KEY),
    }
    place = dict.fromkeys(tables, 0)
    for covariate in known:
        table = np.asarray(tables[covariate.role])
        values = table.reshape(len(table), -1)[rows, place[covariate.role]]
        place[covariate.role] += 1
        found[covariate.name] = values.astype(np.int64 if covariate.is_categorical else np.float32)
    return found


def chosen_rows(adata: AnnData, indices: Sequence[int] | np.ndarray | None) -> np.ndarray:
    """Positions of the chosen cells: all, those of a mask, or as given."""
    if indices is None:
        rows = np.arange(adata.n_obs)
    else:
        rows = np.asarray(indices)
        if rows.ndim != 1:
            raise ValueError(
                f"indices is a list of positions or a mask, got {indices!r}; one cell is [i]."
            )
        if rows.dtype == bool:
            if rows.shape != (adata.n_obs,):
                raise ValueError(
                    f"indices is a mask of {rows.size} values for {adata.n_obs} cells; give one "
                    "for each cell, or positions."
                )
            rows = np.flatnonzero(rows)
        if rows.size and rows.dtype.kind not in "iu":
            raise ValueError(
                f"indices are positions of cells or a mask, got {rows.dtype}; positions of names "
                "are adata.obs_names.get_indexer(names)."
            )
    if rows.size == 0:
        raise ValueError("no cell is chosen: indices is empty, or the AnnData is.")
    if rows.min() < -adata.n_obs or rows.max() >= adata.n_obs:
        raise UnknownFactorError(
            f"indices go from {rows.min()} to {rows.max()}; there are {adata.n_obs} cells."
        )
    return np.where(rows < 0, rows + adata.n_obs, rows).astype(np.int64)
