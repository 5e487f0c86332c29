"""Axes as the page shows them: what each tells, the genes it moves, and the walk along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from betascvi import _keys
from betascvi.factors import Factor, code_factor
from betascvi.report._page_cells import numbers

if TYPE_CHECKING:
    from betascvi.model import BetaSCVI
    from betascvi.tl import GenePrograms, Traversal

_N_GENES = 12
_N_STEPS = 25
_MOST_LEVELS = 40
"""Of a block that the page walks through; four steps lie between two levels."""


def axes_of(
    model: BetaSCVI, programs: GenePrograms, latents: AnnData, factors: Sequence[Factor]
) -> list[dict[str, Any]]:
    """One entry an axis, the one that explains most first, and what it tells of these cells."""
    z = latents.obsm[_keys.LATENT]
    told = [_told(z, latents.obs[factor.name], factor) for factor in factors]
    blocks = {k: name for name, part in _blocks(model).items() for k in _positions(part)}
    return [
        {
            "name": programs.axes[k],
            "walk": blocks.get(int(k), programs.axes[k]),
            "explained": round(float(programs.explained[k]), 4),
            "is_vanished": bool(programs.is_vanished[k]),
            "told": [
                None if one is None else {"share": float(one[0][k]), "sure": bool(one[1][k])}
                for one in told
            ],
            "raises": [_top(programs, k, side) for side in (0, 1)],
        }
        for k in programs.order
    ]


def walks_of(
    model: BetaSCVI, adata: AnnData, programs: GenePrograms, latents: AnnData, seed: int
) -> list[dict[str, Any]]:
    """A walk through each block, and along each free axis that lives."""
    from betascvi import tl

    free, z = _positions(model.blocks["free"]), latents.obsm[_keys.LATENT]
    living = [k for k in programs.order if k in free and not programs.is_vanished[k]]
    left = not_walked(model)
    walked = [name for name in _blocks(model) if name not in left]
    asked: dict[str, list[float] | None] = dict.fromkeys(walked)
    asked |= {programs.axes[k]: _extent(z[:, k]) for k in living}
    return [
        _walk(tl.traverse(model, adata, name, n_steps=_N_STEPS, seed=seed), extent)
        for name, extent in asked.items()
    ]


def not_walked(model: BetaSCVI) -> list[str]:
    """Blocks with too many levels to walk through in a page."""
    from betascvi.model._block_moves import block_moves

    return [name for name, move in block_moves(model).items() if len(move.levels) > _MOST_LEVELS]


def _blocks(model: BetaSCVI) -> dict[str, slice]:
    """Axes of anchored factors."""
    return {name: part for name, part in model.blocks.items() if name != "free"}


def _positions(part: slice) -> range:
    return range(part.start, part.stop)


def _told(z: np.ndarray, column: pd.Series, factor: Factor) -> tuple[np.ndarray, np.ndarray] | None:
    """Share of the factor that each axis tells, and whether beyond chance; a number by quarters."""
    from betascvi.tl._axis_information import axis_shares
    from betascvi.tl._batch_told import groups_of

    groups = groups_of(column, factor.name, code_factor(column, factor).kind)
    return None if groups is None else axis_shares(z, groups)


def _top(programs: GenePrograms, axis: int, side: int) -> list[str]:
    """Genes that rise most when the axis falls (0) or rises (1)."""
    effect = programs.effects[axis, side]
    order = np.argsort(-effect, kind="stable")[:_N_GENES]
    return [programs.genes[g] for g in order if effect[g] > 0]


def _extent(values: np.ndarray) -> list[float]:
    """Between which positions 98 % of the cells are."""
    return [round(float(end), 3) for end in np.quantile(values, [0.01, 0.99])]


def _walk(record: Traversal, extent: list[float] | None) -> dict[str, Any]:
    top = record.effects.head(_N_GENES)
    places = [record.genes.index(str(gene)) for gene in top.index]
    return {
        "name": record.axis,
        "kind": record.kind,
        "is_axis": not record.is_factor,
        "steps": numbers(record.steps),
        "labels": list(record.labels),
        "extent": extent,
        "genes": [str(gene) for gene in top.index],
        "effects": numbers(top["effect"].to_numpy(), 2),
        "expression": [numbers(row) for row in record.expression[:, places]],
        "is_counts": record.is_counts,
        "n_cells": record.n_cells,
    }
