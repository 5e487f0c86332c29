"""Compiled filling of a dense matrix from the non-zeros of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_Array = np.ndarray[Any, Any]


@njit(cache=True)
def scatter_rows(bounds: _Array, col: _Array, value: _Array, out: _Array) -> None:
    """Write rows whose entries lie between ``bounds``, zeros elsewhere."""
    for i in range(out.shape[0]):
        row = out[i]
        row[:] = 0.0
        for j in range(bounds[i], bounds[i + 1]):
            row[col[j]] = value[j]
