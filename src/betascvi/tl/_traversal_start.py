"""The cells a traversal starts from: one, those of a group, or all."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from betascvi._errors import UnknownFactorError
from betascvi._whole_numbers import is_whole

_MOST_CELLS = 200
_MOST_NAMED = 12


def start_of(adata: AnnData, at: Any, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Positions of the cells, 200 at most, and what they are in words."""
    if at is None:
        fits, words = np.ones(adata.n_obs, dtype=bool), "all cells"
    elif isinstance(at, Mapping):
        fits = np.ones(adata.n_obs, dtype=bool)
        for name, level in at.items():
            fits &= _in_level(adata.obs, name, level)
        words = ", ".join(f"{name}={level}" for name, level in at.items())
    else:
        position = _position(adata, at)
        return np.array([position]), f"cell {adata.obs_names[position]}"
    rows = np.flatnonzero(fits)
    if not len(rows):
        raise ValueError(f"no cell is chosen: at={at!r} fits none of {adata.n_obs}.")
    if len(rows) > _MOST_CELLS:
        rows = np.sort(rng.choice(rows, _MOST_CELLS, replace=False))
    return rows, words


def _position(adata: AnnData, at: Any) -> int:
    if isinstance(at, str):
        found = np.flatnonzero(adata.obs_names == at)
        if len(found) > 1:
            raise ValueError(
                f"at: {len(found)} cells are named {at!r}; give the position of one, "
                f"such as at={found[0]}."
            )
        if len(found):
            return int(found[0])
    elif not is_whole(at):
        raise ValueError(
            f"at is the position or the name of a cell, a group such as {{'cell_type': 'B'}}, or "
            f"None for all, got {at!r}."
        )
    elif -adata.n_obs <= at < adata.n_obs:
        return int(at) % adata.n_obs
    raise UnknownFactorError(
        f"at: no cell {at!r} among the {adata.n_obs} cells, which are named "
        f"{list(adata.obs_names[:3])}."
    )


def _in_level(obs: pd.DataFrame, name: str, level: Any) -> np.ndarray:
    """(cells,) which cells of a column are at the level."""
    if name not in obs:
        raise UnknownFactorError(f"at: {name!r} is no column of adata.obs; there are {list(obs)}.")
    column = obs[name]
    is_number = pd.api.types.is_numeric_dtype(column) and isinstance(level, Real)
    fits = column == level if is_number else column.astype(str) == str(level)
    if not fits.any():
        there = sorted(column.dropna().astype(str).unique())
        more = f" and {len(there) - _MOST_NAMED} more" if len(there) > _MOST_NAMED else ""
        close = get_close_matches(str(level), there, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise UnknownFactorError(
            f"at: no cell has {name}={level!r}; there are {there[:_MOST_NAMED]}{more}{hint}"
        )
    return np.asarray(fits, dtype=bool)
