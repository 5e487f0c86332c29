"""Kinds of training cells, and what a model misses of their change from one setting to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scvi import REGISTRY_KEYS

from betascvi.model import BetaSCVI
from betascvi.model._cells import cells_of
from betascvi.model._handles import handles_of
from betascvi.model._predictive import carried_mean
from betascvi.tl._encoded import encode
from betascvi.tl._store import chunks
from betascvi.tl._targets import Arm, Targets

FEWEST_CELLS = 20
"""Of a kind on either side, for it to say something."""
_MOST_CELLS = 1000
_COUNTS_ADDED = 10.0
_CHUNK = 512
Setting = tuple[int, ...]
"""Codes of the changed factors; -1 is a missing label."""
Move = tuple[Setting, Setting]
"""Where cells start, and where they go."""


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """What is missing of a kind's change."""

    logs: np.ndarray
    """(genes,) to be added to log expectations."""
    start: np.ndarray
    """(genes,) log expression where the kind starts."""


class KindsSeen:
    """Training cells by kind and by the levels of the changed factors."""

    def __init__(
        self, model: BetaSCVI, changed: Sequence[str], rows: np.ndarray, kinds: Sequence[str]
    ) -> None:
        known = cells_of(model, None, rows, with_sizes=False)
        self._model, self._rows = model, rows
        self._codes = {**known.labels, **known.covariates}
        self._x = model.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)
        sizes = np.concatenate([self._x[part].sum(1) for part in pieces_of(some_of(rows))])
        self._size = float(np.median(np.asarray(sizes)))
        self._kinds = sorted(set(kinds))
        settings = settings_of([self._codes[name] for name in changed])
        there = pd.DataFrame({"kind": kinds, "setting": pd.Series(settings, dtype=object)})
        self._members = {
            (str(kind), setting): positions
            for (kind, setting), positions in there.groupby(
                ["kind", "setting"], sort=False
            ).indices.items()
        }
        self._found: dict[tuple[str, Move, bool], Residual] = {}

    def kinds(self, move: Move) -> list[str]:
        """Those with enough cells on both sides."""
        none = np.empty(0)
        return [
            kind
            for kind in self._kinds
            if min(len(self._members.get((kind, end), none)) for end in move) >= FEWEST_CELLS
        ]

    def residual(self, kind: str, move: Move, *, carries: bool) -> Residual:
        """Of one kind, looked up or made."""
        key = (kind, move, carries)
        if key not in self._found:
            start, end = (self._members[kind, setting] for setting in move)
            self._found[key] = self._residual(start, end, carries=carries)
        return self._found[key]

    def _residual(self, start: np.ndarray, end: np.ndarray, *, carries: bool) -> Residual:
        assert self._model.adata is not None
        some = some_of(start)
        cells = encode(self._model, self._model.adata, self._rows[some])
        targets = self._like(end, len(some))
        before, after = np.zeros(len(cells.genes)), np.zeros(len(cells.genes))
        for part in chunks(len(some), _CHUNK):
            one = cells.factual(cells.mean, part)
            other = cells.moved(cells.mean, targets, targets.arms[0], part)
            before += shares_of(one.expected)
            after += shares_of(
                carried_mean(cells.observed(part), one, other) if carries else other.expected
            )
        before, after = before / len(some), after / len(some)
        counts = self._size * min(len(start), len(end))
        was, there = (np.log(counts * self._counted(s) + _COUNTS_ADDED) for s in (start, end))
        logs = there - np.log(counts * after + _COUNTS_ADDED)
        if not carries:
            logs -= was - np.log(counts * before + _COUNTS_ADDED)
        return Residual(logs, np.log1p(1e4 * before))

    def _like(self, end: np.ndarray, n_cells: int) -> Targets:
        """So many cells with the labels and covariates that the cells at the end have."""
        chosen = end[np.linspace(0, len(end) - 1, n_cells).astype(int)]
        handles, codes = {}, {}
        for name, handle in handles_of(self._model).items():
            values = self._codes[name][chosen]
            is_known = values >= 0 if handle.levels else np.isfinite(values)
            if is_known.all():
                handles[name], codes[name] = handle, values
        return Targets(handles, (Arm(1.0, codes),), {})

    def _counted(self, positions: np.ndarray) -> np.ndarray:
        """(genes,) mean share of a cell's counts."""
        total = np.zeros(self._x.shape[1])
        for part in pieces_of(self._rows[positions]):
            total += shares_of(sparse.csr_matrix(self._x[part], dtype=np.float64).toarray())
        return total / len(positions)


def settings_of(codes: Sequence[np.ndarray]) -> list[Setting]:
    """The codes of each cell together."""
    whole = [np.where(values >= 0, values, -1).astype(int).tolist() for values in codes]
    return list(zip(*whole, strict=True))


def shares_of(expression: np.ndarray) -> np.ndarray:
    """(genes,) sum over cells of their shares."""
    totals = np.maximum(expression.sum(1, keepdims=True, dtype=np.float64), 1e-12)
    return np.asarray((expression / totals).sum(0))


def some_of(rows: np.ndarray) -> np.ndarray:
    """At most a thousand of them, evenly."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, _MOST_CELLS).astype(int))]


def pieces_of(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[some] for some in chunks(len(rows), _CHUNK)]
