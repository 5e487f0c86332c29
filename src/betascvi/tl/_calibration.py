"""What a model gets wrong about kinds of cells it has seen, taken along to cells it predicts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from betascvi._errors import UnknownFactorError
from betascvi.model._cells import training_rows
from betascvi.model._predictive import is_gaussian
from betascvi.tl._encoded import Encoded
from betascvi.tl._kinds_seen import (
    FEWEST_CELLS,
    KindsSeen,
    Move,
    Residual,
    pieces_of,
    settings_of,
    shares_of,
    some_of,
)
from betascvi.tl._targets import Arm, Gain, Targets


def calibrated(
    encoded: Encoded, targets: Targets, column: str, *, carries: bool
) -> tuple[Targets, tuple[str, ...]]:
    r"""Targets with gains that make up for what is wrong about kinds seen on both sides.

    Training cells of a kind h that are where the cells asked about are now, moved to where those
    are to go, are compared with the training cells of h that are there:

    .. math:: r_{hg} = \log \frac{c_h x'_{hg} + 10}{c_h \hat x'_{hg} + 10}
                      - \log \frac{c_h x_{hg} + 10}{c_h \hat x_{hg} + 10}

    with mean shares of a cell's counts, where they go (') and where they start, counted x and
    expected, and c the counts that as many cells of median size as the smaller side has would
    hold. In all else that the model has a handle on (a batch, another block) they are moved to
    be like the cells that are there, so that r is no difference between batches. Counts that are
    carried over start as counted, and have no second term. A kind that was seen on both sides
    takes its own r. One that was not takes the mean of the others', weighted by :math:`1 / d^2`,
    d apart in log expression where they start. Returns sentences about it, too.
    """
    training = _training(encoded, targets, column)
    kinds = _names_of_kinds(encoded.obs[column])
    found = _Found(set(), set(), np.zeros(len(kinds), dtype=bool))
    arms = tuple(
        replace(arm, gain=_gain(encoded, targets, arm, kinds, training, found, carries=carries))
        for arm in targets.arms
    )
    if found.is_left.any() and not found.helpers:
        raise ValueError(
            f"calibrate_by={column!r} compares with training cells of one {column} on both sides "
            f"of the change, and no {column} has {FEWEST_CELLS} of them on each. Leave it out, or "
            "name a column of coarser groups."
        )
    return replace(targets, arms=arms), found.notes(column)


@dataclass(slots=True, eq=False)
class _Found:
    """By which kinds cells were calibrated, and which cells were not."""

    helpers: set[str]
    means: set[str]
    """Kinds that take a mean of others."""
    is_left: np.ndarray
    """(cells,)"""

    def notes(self, column: str) -> tuple[str, ...]:
        if not self.helpers:
            return (f"no cell changes, so that nothing was calibrated by {column}.",)
        note = f"calibrated by {column}, seen on both sides: {', '.join(sorted(self.helpers))}"
        if self.means:
            note += f"; a mean of them for {', '.join(sorted(self.means))}"
        if not self.is_left.any():
            return (f"{note}.",)
        left = (
            f"{self.is_left.sum()} of {len(self.is_left)} cells could not be calibrated: no "
            f"{column} has {FEWEST_CELLS} training cells on both sides of their change."
        )
        warnings.warn(left, UserWarning, stacklevel=4)
        return (f"{note}.", left)


def _training(encoded: Encoded, targets: Targets, column: str) -> KindsSeen:
    """The training cells, or why there is nothing to compare with."""
    model = encoded.model
    if is_gaussian(model):
        raise ValueError(
            f"calibrate_by={column!r} compares counts, and this model's likelihood is a Gaussian; "
            "leave it out."
        )
    rows = training_rows(model)
    if rows is None or model.minified_data_type is not None:
        raise ValueError(
            f"calibrate_by={column!r} compares with the counts of the training cells, and they are "
            "not at hand: the data are minified, or not those of the training. Load the model with "
            "the AnnData it was trained on."
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
    if not named.any():
        raise ValueError(f"calibrate_by={column!r} has no value for any of the training cells.")
    return KindsSeen(model, list(targets.handles), rows[named], _names_of_kinds(kinds[named]))


def _gain(
    encoded: Encoded,
    targets: Targets,
    arm: Arm,
    kinds: Sequence[str],
    training: KindsSeen,
    found: _Found,
    *,
    carries: bool,
) -> Gain:
    """What one arm's expectations are multiplied by."""
    cases: dict[tuple[Move, str], list[int]] = {}
    starts = settings_of([_own(encoded, targets, name) for name in arm.codes])
    ends = settings_of(list(arm.codes.values()))
    for i, (start, end, kind) in enumerate(zip(starts, ends, kinds, strict=True)):
        cases.setdefault(((start, end), kind), []).append(i)
    of_cell, logs = np.zeros(len(kinds), dtype=int), [np.zeros(len(encoded.genes))]
    for (move, kind), cells in cases.items():
        if move[0] == move[1]:
            continue
        there = training.kinds(move)
        helpers = [kind] if kind in there else there
        if not helpers:
            found.is_left[cells] = True
            continue
        of_cell[cells] = len(logs)
        residuals = [training.residual(name, move, carries=carries) for name in helpers]
        logs.append(_weighted(encoded, np.array(cells), residuals))
        found.helpers.update(helpers)
        if kind not in there:
            found.means.add(kind or "cells without a value")
    return Gain(np.exp(np.stack(logs)).astype(np.float32), of_cell)


def _own(encoded: Encoded, targets: Targets, name: str) -> np.ndarray:
    """Where cells are: their label, or where it is missing the anchor that they are nearest to."""
    codes: Mapping[str, np.ndarray] = {**encoded.cells.labels, **encoded.cells.covariates}
    block = targets.handles[name].block
    if block is None or (codes[name] >= 0).all():
        return codes[name]
    return np.where(codes[name] >= 0, codes[name], block.nearest(encoded.mean))


def _weighted(encoded: Encoded, cells: np.ndarray, known: Sequence[Residual]) -> np.ndarray:
    """(genes,) mean of what the known kinds lack, by how near they start."""
    if len(known) == 1:
        return known[0].logs
    start, some = np.zeros(len(encoded.genes)), some_of(cells)
    for part in pieces_of(some):
        start += shares_of(encoded.factual(encoded.mean, part).expected)
    at = np.log1p(1e4 * start / len(some))
    apart = [np.linalg.norm(at - residual.start) for residual in known]
    weights = 1.0 / np.maximum(apart, 1e-6) ** 2
    return np.asarray((weights / weights.sum()) @ np.stack([r.logs for r in known]))


def _names_of_kinds(column: pd.Series) -> list[str]:
    """Words for kinds, the same for 1 and 1.0; empty where there is no value."""
    of_numbers = is_numeric_dtype(column.dtype) or (
        isinstance(column.dtype, pd.CategoricalDtype) and is_numeric_dtype(column.cat.categories)
    )
    named = column.notna()
    return [
        "" if not there else f"{float(value):.15g}" if of_numbers else str(value)
        for value, there in zip(column, named, strict=True)
    ]
