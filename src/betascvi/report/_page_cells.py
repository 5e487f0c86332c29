"""Cells as the page draws them: coordinates, and columns of obs to colour them by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from betascvi import _keys
from betascvi.factors import CodedFactor, Factor, as_text, code_factor

_MOST_CELLS = 5000
_MOST_NUMBERS = 200_000
"""Of coordinates in the page; with many axes fewer cells are drawn."""
_MOST_LEVELS = 40
_MOST_COLUMNS = 16
_MAPS = ("X_umap", "X_tsne")


def drawn_cells(
    adata: AnnData, latents: AnnData, factors: Sequence[Factor], seed: int
) -> dict[str, Any]:
    """Names, coordinates and columns of a sample of cells, as the page's script reads them."""
    z, axes = latents.obsm[_keys.LATENT], latents.uns[_keys.UNS][_keys.LATENT]["axes"]
    most = max(1, min(_MOST_CELLS, _MOST_NUMBERS // max(1, z.shape[1])))
    rows = np.sort(np.random.default_rng(seed).permutation(len(z))[:most])
    coordinates = [(str(name), z[:, k]) for k, name in enumerate(axes)]
    for key in _MAPS:
        if key in adata.obsm:
            places = np.asarray(adata.obsm[key])
            coordinates += [(f"{key[2:].upper()} {k + 1}", places[:, k]) for k in range(2)]
    return {
        "of": len(z),
        "names": [str(name) for name in latents.obs_names[rows]],
        "coordinates": [{"name": n, "values": numbers(v[rows])} for n, v in coordinates],
        "columns": list(_columns(latents.obs, rows, factors)),
    }


def numbers(values: np.ndarray, digits: int = 3) -> list[float | None]:
    """Rounded numbers; what is not finite is None, as JSON has it."""
    return [round(float(v), digits) if np.isfinite(v) else None for v in np.asarray(values)]


def _columns(
    obs: pd.DataFrame, rows: np.ndarray, factors: Sequence[Factor]
) -> Iterator[dict[str, Any]]:
    """Factors first, then other columns with levels that a legend can hold."""
    named = {factor.name for factor in factors}
    others = [
        Factor(str(name), "categorical")
        for name in obs.columns
        if name not in named and 2 <= _n_levels(obs[name]) <= _MOST_LEVELS
    ]
    for factor in [*factors, *others][: max(len(factors), _MOST_COLUMNS)]:
        column = obs[factor.name]
        column = column if factor.name in named else as_text(column)
        yield _column(code_factor(column, factor), rows)


def _n_levels(column: pd.Series) -> int:
    """Distinct labels; none of a column of numbers."""
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return 0 if is_number else int(column.nunique())


def _column(factor: CodedFactor, rows: np.ndarray) -> dict[str, Any]:
    known, values = factor.known[rows], factor.values[rows]
    if factor.kind == "categorical":
        codes = [
            int(code) if is_there else -1 for code, is_there in zip(values, known, strict=True)
        ]
        return {"name": factor.name, "kind": "levels", "levels": factor.levels, "values": codes}
    kind = "angle" if factor.kind == "circular" else "number"
    found = numbers(np.where(known, values, np.nan))
    return {"name": factor.name, "kind": kind, "levels": [], "values": found}
