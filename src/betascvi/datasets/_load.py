"""Real data sets, read from the folder that ``BETASCVI_DATA`` names."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from betascvi._errors import CountsError, UnknownDataSetError
from betascvi._keys import COUNTS_LAYER
from betascvi.datasets._catalogue import CATALOGUE

VARIABLE = "BETASCVI_DATA"
_HOW = (
    f"Set the environment variable {VARIABLE} to a folder that holds it as an h5ad file with raw "
    "counts in X"
)


def load(name: str) -> ad.AnnData:
    """A real data set with raw counts in ``X`` and ``layers["counts"]`` (CSR, float32).

    Reads ``<name>.h5ad`` in the folder that the environment variable ``BETASCVI_DATA`` names;
    a file there that is not one of :func:`available` is read the same way.

    Parameters
    ----------
    name
        Name of a data set, without the ending.

    Raises
    ------
    FileNotFoundError
        The variable is not set or the file is not there; the message says where the data come
        from.
    KeyError
        No data set of this name.
    """
    path = _path(name)
    if path is None or not path.is_file():
        raise _missing(name, path)
    adata = ad.read_h5ad(path)
    adata.X = _as_counts(adata.layers.get(COUNTS_LAYER, adata.X), path)
    # two matrices: normalising X in place must not touch the counts
    adata.layers[COUNTS_LAYER] = adata.X.copy()
    return adata


def available() -> pd.DataFrame:
    """The data sets that :func:`load` knows: factors, paper, source, and whether one is here."""
    rows = [
        {
            "name": entry.name,
            "is_here": (path := _path(entry.name)) is not None and path.is_file(),
            "factors": ", ".join(entry.factors),
            "paper": entry.paper,
            "accession": entry.accession,
            "source": entry.source,
        }
        for entry in CATALOGUE.values()
    ]
    return pd.DataFrame(rows).set_index("name")


def _path(name: str) -> Path | None:
    folder = os.environ.get(VARIABLE)
    if not folder or not isinstance(name, str) or not name or Path(name).name != name:
        return None
    return Path(folder).expanduser() / f"{name}.h5ad"


def _missing(name: str, path: Path | None) -> Exception:
    entry = CATALOGUE.get(name)
    if entry is None:
        close = get_close_matches(str(name), list(CATALOGUE), n=1)
        guess = f" Did you mean {close[0]!r}?" if close else ""
        return UnknownDataSetError(
            f"no data set {name!r}.{guess} bs.datasets.available() lists {sorted(CATALOGUE)}."
        )
    where = f"{VARIABLE} is not set" if path is None else f"there is no {path}"
    return FileNotFoundError(
        f"data set {name!r} is not here: {where}. {_HOW}. "
        f"It is from {entry.paper} ({entry.accession}), read from {entry.source}."
    )


def _as_counts(matrix: Any, path: Path) -> sparse.csr_matrix:
    if matrix is None:
        raise CountsError(f"{path} has no X; store raw counts there.")
    counts: sparse.csr_matrix = sparse.csr_matrix(matrix, dtype=np.float32)
    values = counts.data
    wrong = ~np.isfinite(values) | (values < 0) | (values != np.round(values))
    if wrong.any():
        raise CountsError(
            f"{path} holds values that are not counts, for example {values[wrong][0]!r}; "
            f"store raw counts in X or in layers[{COUNTS_LAYER!r}]."
        )
    return counts
