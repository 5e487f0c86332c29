"""What ``tl.counterfactual`` gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from betascvi import _keys
from betascvi.tl._store import read


@dataclass(frozen=True, slots=True, eq=False)
class Counterfactual:
    """Cells as they would be; ``print`` it for what to know before believing it."""

    changes: Mapping[str, Any]
    """What was asked for."""
    output: str
    """``"mean"``, ``"counts"``, ``"carried"`` or ``"statistics"``."""
    n_cells: int
    n_samples: int | None
    """Posterior draws; None is the posterior mean."""
    seen: pd.DataFrame
    """Training cells of each target level beside each other level the cells have."""
    notes: tuple[str, ...]
    """What lies outside of what the model was trained on."""
    matrices: AnnData | None
    """``X`` and layers, in memory; None where they are on disk, or were not asked for."""
    path: Path | None = None
    """Of the zarr store."""
    statistics: pd.DataFrame | None = None
    """One row a group and gene: means per 10,000 counts, log2-fold change and its interval."""

    def to_anndata(self) -> AnnData:
        """``X``: what was asked for, at each cell's own library size.

        ``layers["factual"]`` is the reconstruction (counts drawn with the same randomness, for
        ``output="counts"``; what was counted, for ``"carried"``); ``obs`` holds the settings asked for, ``<factor>_factual`` what the
        cells were, and ``distance_to_training``. Group statistics come as groups x genes.
        """
        if self.path is not None:
            return read(self.path)
        if self.matrices is not None:
            return self.matrices.copy()
        return _of_statistics(self.to_frame())

    def to_frame(self) -> pd.DataFrame:
        """Group statistics as a table."""
        if self.statistics is None:
            raise ValueError(
                f"this counterfactual holds output={self.output!r}; ask for output='statistics' "
                "(or bs.tl.GroupStatistics(groupby=...)) to have a table, or use to_anndata()."
            )
        return self.statistics.copy()

    def __str__(self) -> str:
        asked = ", ".join(f"{name} -> {target}" for name, target in self.changes.items())
        where = f", written to {self.path}" if self.path is not None else ""
        return "\n".join([f"{self.n_cells} cells, {asked}: {self.output}{where}", *self.notes])


def _of_statistics(frame: pd.DataFrame) -> AnnData:
    genes = pd.unique(frame["gene"])
    first = frame.drop_duplicates("group")
    shape = (len(first), len(genes))

    def matrix(column: str) -> np.ndarray:
        return frame[column].to_numpy(dtype=np.float32).reshape(shape)

    layers = {name: matrix(name) for name in ("log2_fold_change", "low", "high")}
    return AnnData(
        matrix("mean_counterfactual"),
        obs=pd.DataFrame(
            {"n_cells": first["n_cells"].to_numpy()}, index=first["group"].astype(str)
        ),
        var=pd.DataFrame(index=genes.astype(str)),
        layers={_keys.FACTUAL: matrix("mean_factual"), **layers},
    )
