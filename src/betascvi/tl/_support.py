"""How far what is asked for lies from the cells a model was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from betascvi.model import BetaSCVI
from betascvi.model._cells import Cells, cells_of, training_rows
from betascvi.model._handles import covariates_of, handles_of, levels_registered
from betascvi.tl._targets import Targets

_MOST_REFERENCES = 2000
_FEWEST_REFERENCES = 10


@dataclass(frozen=True, slots=True, eq=False)
class Support:
    """What the training cells say of the targets."""

    seen: pd.DataFrame
    """One row for each pair of a target level and a level the cells have besides."""
    distance: np.ndarray | None
    """(cells,) to the nearest training cell of the target, in units of the median distance of
    such cells to their own nearest; None where the training cells are not at hand."""
    notes: tuple[str, ...]
    """Sentences a reader has to know."""


def support_of(
    model: BetaSCVI, targets: Targets, cells: Cells, z: np.ndarray, rng: np.random.Generator
) -> Support:
    """Combinations never seen together, and distances in the latent."""
    rows_trained = training_rows(model)
    unsaid = _without_label(targets, cells, z)
    if rows_trained is None:
        absent = "the training cells are not at hand to compare with."
        return Support(_frame([]), None, (*unsaid, absent))
    training = cells_of(model, None, rows_trained, with_sizes=False)
    rows = _pairs(model, targets, cells, training)
    is_mapped = getattr(model, "is_mapped_", False)
    seen_where = "among the query's training cells" if is_mapped else "in training"
    notes = unsaid + [
        f"{r['factor']}={r['level']!r} was never seen with {r['besides']}={r['with_level']!r} "
        f"{seen_where} ({r['n_cells']} of the cells ask for it)."
        for r in rows
        if r["n_training"] == 0
    ]
    if is_mapped and len(notes) > len(unsaid):
        notes.append(
            "the model was mapped from a reference, whose cells are not at hand: what the query "
            "never saw they may have had, and intervals are of the query's cells alone."
        )
    distance = _distances(model, targets, training, z, rng)
    if distance is not None:
        far = distance[1]
        if far > 0.5:
            notes.append(
                f"{far:.0%} of the cells end up farther from the training cells of the target than "
                "95 % of those are from each other."
            )
    return Support(_frame(rows), None if distance is None else distance[0], tuple(notes))


def _without_label(targets: Targets, cells: Cells, z: np.ndarray) -> list[str]:
    """What is said of cells that do not say where they start."""
    notes = []
    for name in targets.words:
        block = targets.handles[name].block
        if block is None:
            continue
        missing = ~(cells.labels[name] >= (0 if block.kind == "categorical" else -np.inf))
        if not missing.any():
            continue
        taken = "where their block stands"
        if block.kind == "categorical":
            codes, counts = np.unique(block.nearest(z[missing]), return_counts=True)
            of_level = [f"{n} {block.levels[int(c)]}" for c, n in zip(codes, counts, strict=True)]
            taken = f"the anchor they are nearest to: {', '.join(of_level)}"
        notes.append(
            f"{missing.sum()} of {len(z)} cells have no {name}; they are taken to start from "
            f"{taken}."
        )
    return notes


def _pairs(
    model: BetaSCVI, targets: Targets, cells: Cells, training: Cells
) -> list[dict[str, object]]:
    levels, there = _levels(model), _codes(training)
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for arm in targets.arms:
        asked = {**_codes(cells), **arm.codes}
        for name in targets.words:
            if name not in levels or name not in there:
                continue
            for other in (o for o in levels if o != name and o in there and o in asked):
                for row in _of_pair(name, other, levels, asked, there):
                    rows[row["factor"], row["level"], row["besides"], row["with_level"]] = row
    return list(rows.values())


def _of_pair(
    name: str,
    other: str,
    levels: Mapping[str, tuple[str, ...]],
    asked: Mapping[str, np.ndarray],
    there: Mapping[str, np.ndarray],
) -> list[dict[str, object]]:
    shape = (len(levels[name]), len(levels[other]))
    tables = [_count(of[name], of[other], shape) for of in (asked, there)]
    return [
        {
            "factor": name, "level": levels[name][i], "besides": other,
            "with_level": levels[other][j], "n_cells": int(tables[0][i, j]),
            "n_training": int(tables[1][i, j]),
        }
        for i, j in np.argwhere(tables[0] > 0)
    ]  # fmt: skip


def _count(first: np.ndarray, second: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    known = (first >= 0) & (second >= 0)  # NaN, a missing label, is not
    flat = first[known].astype(int) * shape[1] + second[known].astype(int)
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


def _levels(model: BetaSCVI) -> dict[str, tuple[str, ...]]:
    covariates = {c.name: c.levels for c in covariates_of(model) if c.is_categorical}
    return {**levels_registered(model), **covariates}


def _codes(cells: Cells) -> dict[str, np.ndarray]:
    return {**cells.labels, **cells.covariates}


def _distances(
    model: BetaSCVI,
    targets: Targets,
    training: Cells,
    z: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float] | None:
    """Distances, and the share of cells beyond the 95th percentile of the reference's own."""
    known, handles = _codes(training), handles_of(model)
    fits = np.ones(len(training.indices), dtype=bool)
    for name, codes in targets.main.codes.items():
        if len(targets.arms) == 1 and handles[name].levels and name in known:
            fits &= np.isin(known[name], np.unique(codes))
    chosen = np.flatnonzero(fits)
    if len(chosen) < _FEWEST_REFERENCES:
        return None
    if len(chosen) > _MOST_REFERENCES:
        chosen = np.sort(rng.choice(chosen, _MOST_REFERENCES, replace=False))
    at = np.asarray(model.get_latent_representation(indices=training.indices[chosen].tolist()))
    moved = [handles[name].block for name in targets.main.codes]
    kept = np.ones(z.shape[1], dtype=bool)
    for block in moved:
        if block is not None:
            kept[block.axes] = False
    tree = NearestNeighbors(n_neighbors=2).fit(at[:, kept])
    own = tree.kneighbors()[0][:, 0]
    unit = max(float(np.median(own)), 1e-12)
    distance = tree.kneighbors(z[:, kept], n_neighbors=1)[0][:, 0]
    return distance / unit, float((distance > np.quantile(own, 0.95)).mean())


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    names = ["factor", "level", "besides", "with_level", "n_cells", "n_training"]
    return pd.DataFrame(rows, columns=names)
