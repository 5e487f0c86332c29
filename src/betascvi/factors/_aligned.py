"""Values of cells that come with the names of the cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


def aligned(changes: Mapping[str, Any], names: pd.Index) -> Mapping[str, Any]:
    """The changes with each pandas Series in the order of the cells, by their names."""
    if not isinstance(changes, Mapping):
        return changes
    out = {}
    for name, target in changes.items():
        is_named = isinstance(target, pd.Series) and target.index.is_unique and names.is_unique
        in_order = is_named and not target.index.equals(names) and names.isin(target.index).all()
        out[name] = target.reindex(names) if in_order else target
    return out
