"""Compiled copy of chosen compressed rows."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_Array = np.ndarray[Any, Any]


@numba.njit(cache=True)
def gather_rows(
    col: _Array, value: _Array, start: _Array, bounds: _Array, to_col: _Array, to_value: _Array
) -> None:
    """Copy the entries of rows that begin at ``start`` to where ``bounds`` says."""
    for i in range(len(start)):
        shift = start[i] - bounds[i]
        for j in range(bounds[i], bounds[i + 1]):
            to_col[j] = col[j + shift]
            to_value[j] = value[j + shift]
