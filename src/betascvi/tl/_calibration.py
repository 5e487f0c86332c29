"""What a model gets wrong about kinds of cells it has seen, taken along to cells it predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy import sparse
from scvi import REGISTRY_KEYS

from betascvi._errors import UnknownFactorError
from betascvi.model import BetaSCVI
from betascvi.model._cells import cells_of, is_of_embedding, training_rows
from betascvi.model._predictive import carried_mean
from betascvi.tl._encoded import Encoded, encode
from betascvi.tl._store import chunks
from betascvi.tl._targets import Arm, Gain, Targets

_FEWEST_CELLS = 20
_MOST_CELLS = 1000
_COUNTS_ADDED = 10.0
_CHUNK = 512
Setting = tuple[int, ...]
"""Codes of the changed factors; -1 is a missing label."""


def calibrated(
    encoded: Encoded, targets: Targets, column: str, *, carries: bool
) -> tuple[Targets, str]:
    r"""Targets with gains that make up for what is wrong about kinds seen on both sides.

    Training cells of a kind h that are where the cells asked about are now, moved to where those
    are to go, are compared with the training cells of h that are there:

    .. math:: r_{hg} = \log \frac{c_h x'_{hg} + 10}{c_h \hat x'_{hg} + 10}
                      - \log \frac{c_h x_{hg} + 10}{c_h \hat x_{hg} + 10}

    with mean shares of a cell's counts, where they go (') and where they start, counted x and
    expected, and the counts c of the side with fewer cells. Counts that are carried over start as
    counted, and have no second term. A kind that was seen on both sides takes its own r. One that was not takes the
    mean of the others', weighted by :math:`1 / d^2`, d apart in log expression where they start.
    Returns a sentence about it, too.
    """
    training = _training(encoded, targets, column)
    kinds = [str(kind) for kind in encoded.obs[column]]
    arms, helpers = [], set[str]()
    for arm in targets.arms:
        gain, of_arm = _gain(encoded, targets, arm, kinds, training, carries=carries)
        arms.append(replace(arm, gain=gain))
        helpers |= of_arm
    if not helpers:
        raise ValueError(
            f"calibrate_by={column!r} compares with training cells of one {column} on both sides "
            f"of the change, and no {column} has {_FEWEST_CELLS} of them on each. Leave it out, or "
            "name a column of coarser groups."
        )
    names = ", ".join(sorted(helpers))
    return replace(
        targets, arms=tuple(arms)
    ), f"calibrated by {column}, seen on both sides: {names}."


class _Training:
    """Training cells by kind and by the levels of the changed factors."""

    def __init__(self, model: BetaSCVI, rows: np.ndarray, kinds: np.ndarray) -> None:
        known = cells_of(model, None, rows, with_sizes=False)
        self._model, self._rows, self._kinds = model, rows, kinds
        self._codes = {**known.labels, **known.covariates}
        self._x = model.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)
        sizes = np.concatenate([self._x[part].sum(1) for part in _pieces(_some(rows))])
        self._size = float(np.median(np.asarray(sizes)))
        self._found: dict[tuple[str, Setting, Setting], tuple[np.ndarray, np.ndarray]] = {}

    def residuals(
        self,
        targets: Targets,
        names: Sequence[str],
        ends: tuple[Setting, Setting],
        *,
        carries: bool,
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Kind -> (genes,) r, and log expression where it starts; kinds with cells on both sides."""
        sides = [self._at(names, setting) for setting in ends]
        known = {}
        for kind in np.unique(self._kinds[sides[0]]):
            rows = [self._rows[side & (self._kinds == kind)] for side in sides]
            if min(map(len, rows)) >= _FEWEST_CELLS:
                key = (str(kind), *ends)
                if key not in self._found:
                    self._found[key] = self._residual(
                        targets, names, rows, ends[1], carries=carries
                    )
                known[str(kind)] = self._found[key]
        return known

    def _at(self, names: Sequence[str], setting: Setting) -> np.ndarray:
        fits = [self._codes[n] == code for n, code in zip(names, setting, strict=True)]
        return np.asarray(np.logical_and.reduce(fits))

    def _residual(
        self,
        targets: Targets,
        names: Sequence[str],
        rows: Sequence[np.ndarray],
        end: Setting,
        *,
        carries: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        assert self._model.adata is not None
        cells = encode(self._model, self._model.adata, _some(rows[0]))
        codes = [np.full(len(cells.obs), code) for code in end]
        arm = Arm(1.0, dict(zip(names, codes, strict=True)))
        before, after = np.zeros(len(cells.genes)), np.zeros(len(cells.genes))
        for some in chunks(len(cells.obs), _CHUNK):
            one = cells.factual(cells.mean, some)
            other = cells.moved(cells.mean, targets, arm, some)
            before += _shares(one.expected)
            after += _shares(
                carried_mean(cells.observed(some), one, other) if carries else other.expected
            )
        before, after = before / len(cells.obs), after / len(cells.obs)
        counts = self._size * min(map(len, rows))
        start, there = (np.log(counts * self._counted(r) + _COUNTS_ADDED) for r in rows)
        r = there - np.log(counts * after + _COUNTS_ADDED)
        if not carries:
            r -= start - np.log(counts * before + _COUNTS_ADDED)
        return r, np.log1p(1e4 * before)

    def _counted(self, rows: np.ndarray) -> np.ndarray:
        """(genes,) mean share of a cell's counts."""
        total = np.zeros(self._x.shape[1])
        for part in _pieces(rows):
            total += _shares(sparse.csr_matrix(self._x[part], dtype=np.float64).toarray())
        return total / len(rows)


def _training(encoded: Encoded, targets: Targets, column: str) -> _Training:
    """The training cells, or why there is nothing to compare with."""
    model = encoded.model
    rows = training_rows(model)
    if is_of_embedding(model) or rows is None or model.minified_data_type is not None:
        raise ValueError(
            f"calibrate_by={column!r} compares with the counts of the training cells, and this "
            "model has none at hand: it is of an embedding, minified, or loaded with other cells."
        )
    assert model.adata is not None
    for where, obs in (("adata.obs", encoded.obs), ("the training data's obs", model.adata.obs)):
        if column not in obs:
            raise UnknownFactorError(
                f"calibrate_by={column!r} is no column of {where}; there are {list(obs)}."
            )
    without = [name for name, handle in targets.handles.items() if not handle.levels]
    if without:
        raise ValueError(
            f"calibrate_by={column!r} compares cells at levels, and {without[0]!r} has none: it is "
            "a number or an angle. Leave calibrate_by out."
        )
    kinds = model.adata.obs[column].iloc[rows]
    named = kinds.notna().to_numpy()
    return _Training(model, rows[named], kinds[named].astype(str).to_numpy())


def _gain(
    encoded: Encoded,
    targets: Targets,
    arm: Arm,
    kinds: Sequence[str],
    training: _Training,
    *,
    carries: bool,
) -> tuple[Gain, set[str]]:
    """What one arm's expectations are multiplied by, and the kinds that say so."""
    names = list(arm.codes)
    own = {**encoded.cells.labels, **encoded.cells.covariates}
    cases: dict[tuple[tuple[Setting, Setting], str], list[int]] = {}
    starts, ends = _settings([own[name] for name in names]), _settings(list(arm.codes.values()))
    for i, (start, end, kind) in enumerate(zip(starts, ends, kinds, strict=True)):
        cases.setdefault(((start, end), kind), []).append(i)
    of_cell, logs, helpers = np.zeros(len(kinds), dtype=int), [np.zeros(len(encoded.genes))], set()
    for (moves, kind), cells in cases.items():
        if moves[0] == moves[1]:
            continue
        known = training.residuals(targets, names, moves, carries=carries)
        if kind in known:
            known = {kind: known[kind]}
        if known:
            of_cell[cells] = len(logs)
            logs.append(_weighted(encoded, np.array(cells), known))
            helpers |= set(known)
    return Gain(np.exp(np.stack(logs)).astype(np.float32), of_cell), helpers


def _weighted(
    encoded: Encoded, cells: np.ndarray, known: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """(genes,) mean of what the known kinds lack, by how near they start."""
    gains = np.stack([gain for gain, _ in known.values()])
    if len(gains) == 1:
        return np.asarray(gains[0])
    start, some = np.zeros(len(encoded.genes)), _some(cells)
    for part in _pieces(some):
        start += _shares(encoded.factual(encoded.mean, part).expected)
    at = np.log1p(1e4 * start / len(some))
    apart = [np.linalg.norm(at - there) for _, there in known.values()]
    weights = 1.0 / np.maximum(apart, 1e-6) ** 2
    return np.asarray((weights / weights.sum()) @ gains)


def _settings(codes: Sequence[np.ndarray]) -> list[Setting]:
    """The codes of each cell together."""
    whole = [np.where(values >= 0, values, -1).astype(int).tolist() for values in codes]
    return list(zip(*whole, strict=True))


def _shares(expression: np.ndarray) -> np.ndarray:
    """(genes,) sum over cells of their shares."""
    totals = np.maximum(expression.sum(1, keepdims=True, dtype=np.float64), 1e-12)
    return np.asarray((expression / totals).sum(0))


def _some(rows: np.ndarray) -> np.ndarray:
    """At most a thousand of them, evenly."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, _MOST_CELLS).astype(int))]


def _pieces(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[some] for some in chunks(len(rows), _CHUNK)]
