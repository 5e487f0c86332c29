"""``sweep.run``: carry out what is missing, hand back one tidy table."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from betascvi._errors import TrainingError
from betascvi.model import BetaSCVI
from betascvi.sweep._engines import ENGINES, Engine, Split
from betascvi.sweep._measure import measure
from betascvi.sweep._spec import RunSpec, Spec
from betascvi.sweep._store import read_row, write_run, write_table

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


def run(
    spec: Spec,
    adata: AnnData,
    engine: str | Engine = "sequential",
    *,
    out: str | Path | None = None,
    keep_models: bool = False,
) -> pd.DataFrame:
    """Train and measure every run of a sweep.

    Parameters
    ----------
    spec
        What to run.
    adata
        Cells, set up with ``BetaSCVI.setup_anndata``.
    engine
        Name in :data:`ENGINES`, or a function like those.
    out
        Folder for the results, one folder a run, written whole or not at all; runs that are
        there already (same objective, seed, arguments and cells) are read and not repeated.
        ``None`` keeps nothing on disk. ``runs.csv`` has the rows of the last sweep into it.
    keep_models
        Save each trained model in its run's folder (needs ``out``).

    Returns
    -------
    One row a run, in the order of the spec: ``objective``, ``beta``, ``seed``; ``rate``,
    ``distortion`` and ``elbo`` of the held-out cells (of the training cells where none are held
    out), ``elbo_train`` and ``gap``; ``n_active`` of ``n_axes``; ``information``, ``overlap`` and
    ``regime`` and ``problems`` as in :func:`betascvi.tl.diagnose`; metrics of the registered factors. A training
    that had to stop has its reason under ``error`` and is tried again when the sweep is resumed.

    Examples
    --------
    >>> spec = bs.sweep.Spec(betas=[0.5, 1.0, 4.0], seeds=range(3), train={"max_epochs": 100})
    >>> frame = bs.sweep.run(spec, adata, out="sweep/")
    >>> bs.pl.rate_distortion(frame)
    """
    carry_out = engine_of(engine)
    if keep_models and out is None:
        raise ValueError("keep_models=True needs out=, the folder to save them in.")
    folder = None if out is None else Path(out)
    data = fingerprint(adata)
    runs = {one.folder(data): one for one in spec.runs()}
    rows = {} if folder is None else _rows_there(runs, folder, needs_model=keep_models)
    missing = [one for name, one in runs.items() if name not in rows]
    logger.info("sweep: %d of %d runs are there, %d to do", len(rows), len(runs), len(missing))
    split = split_cells(adata.n_obs, spec.held_out)
    for one, outcome in carry_out(missing, adata, split):
        name, row = one.folder(data), about(one)
        if isinstance(outcome, TrainingError):
            logger.warning("%s: %s", name, outcome)
            rows[name] = {**row, "error": str(outcome)}
            continue
        rows[name] = row | measure(outcome, one)
        if folder is not None:
            write_run(folder / name, rows[name], outcome, keep_models=keep_models)
        logger.info("%s: ELBO %.1f", name, rows[name]["elbo"])
    frame = _table([rows[name] for name in runs])
    if folder is not None:
        write_table(folder, frame)
    return frame


def split_cells(n_cells: int, held_out: float) -> Split:
    """Positions of training cells and of held-out cells, the same in every run of every sweep."""
    order = np.random.default_rng(0).permutation(n_cells)
    n_held_out = round(held_out * n_cells)
    if held_out > 0 and not 0 < n_held_out < n_cells:
        raise ValueError(f"held_out={held_out} of {n_cells} cells leaves one side empty.")
    return np.sort(order[n_held_out:]), np.sort(order[:n_held_out])


def fingerprint(adata: AnnData) -> str:
    """What tells these cells, and how they were set up, from others: all that a model reads."""
    manager = BetaSCVI._get_most_recent_anndata_manager(adata, required=True)
    setup = sorted((key, repr(value)) for key, value in manager.registry["setup_args"].items())
    names = [*map(str, adata.obs_names), *map(str, adata.var_names)]
    digest = hashlib.sha256(repr((adata.shape, setup)).encode() + "\n".join(names).encode())
    for key in sorted(manager.data_registry):
        for part in _bytes_of(manager.get_from_registry(key)):
            digest.update(part)
        # the words that codes stand for
        digest.update(repr(manager.get_state_registry(key)).encode())
    return digest.hexdigest()


def _bytes_of(values: Any) -> Iterator[bytes]:
    """Of an array, a table or sparse counts, in memory or on disk."""
    values = values.to_memory() if hasattr(values, "to_memory") else values
    if sparse.issparse(values):
        rows = sparse.csr_array(values)
        if not rows.has_canonical_format:
            rows = rows.copy()  # the caller's
            rows.sum_duplicates()
        parts = [rows.indptr, rows.indices, rows.data]
    else:
        parts = [np.asarray(values)]
    for part in parts:
        is_text = part.dtype.kind in "OUS"
        yield repr(part.tolist()).encode() if is_text else np.ascontiguousarray(part).tobytes()


def about(one: RunSpec) -> dict[str, Any]:
    """The columns that name a run."""
    beta = float("nan") if one.beta is None else one.beta
    return {"objective": one.label, "beta": beta, "seed": one.seed}


def engine_of(engine: str | Engine) -> Engine:
    """By its name, or as given."""
    if callable(engine):
        return engine
    if engine not in ENGINES:
        raise ValueError(f"no engine {engine!r}; there is {', '.join(map(repr, ENGINES))}.")
    return ENGINES[engine]


def _rows_there(
    runs: Mapping[str, RunSpec], folder: Path, *, needs_model: bool
) -> dict[str, dict[str, Any]]:
    read = {name: read_row(folder / name, needs_model=needs_model) for name in runs}
    return {name: about(runs[name]) | row for name, row in read.items() if row is not None}


def _table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(list(rows))
    # a missing figure is NaN whether it was read from disk or measured a moment ago
    words = {"objective", "regime", "problems", "error", "not_scored"} | {
        c for c in frame if str(c).endswith("_undefined")
    }
    numbers = [column for column in frame if column not in words]
    return frame.astype(dict.fromkeys(numbers, float)).astype({"seed": int})
