"""Values of cells that come with the names of the cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd


def aligned(changes: Mapping[str, Any], names: pd.Index) -> Mapping[str, Any]:
    """The changes with each pandas Series in the order of the cells, by their names.

    One whose names are none of the cells' is taken by position.
    """
    if not isinstance(changes, Mapping):
        return changes
    out = {}
    for name, target in changes.items():
        is_named = isinstance(target, pd.Series) and target.index.is_unique and names.is_unique
        there = names.isin(target.index) if is_named else np.zeros(len(names), dtype=bool)
        if there.any() and not there.all():
            raise ValueError(
                f"{name!r} names {int(there.sum())} of the {len(names)} cells, and "
                f"{names[~there][0]!r} is not among them; name every cell, or give values without "
                "names (.to_numpy()) in the order of the cells."
            )
        out[name] = target.reindex(names) if there.any() else target
    return out
