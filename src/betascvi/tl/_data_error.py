"""How well the training cells tell a fold change: of groups they have, and of ones they lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import sparse
from scvi import REGISTRY_KEYS

from betascvi.model import BetaSCVI
from betascvi.model._cells import cells_of, training_rows
from betascvi.tl._encoded import Encoded
from betascvi.tl._group_effects import LogMeans, spread_between
from betascvi.tl._targets import Targets

_FEWEST_CELLS = 20
_FEWEST_GROUPS = 3
_CHUNK = 4096


def data_error(
    encoded: Encoded, targets: Targets, groups: np.ndarray, names: pd.MultiIndex | pd.Index
) -> np.ndarray | float:
    """(groups, genes) variance of a log2-fold change that the training cells leave.

    The decoder has the mean of a gene in an arm from the training cells of that arm (of the same
    group, where there are 20 of them), so it cannot know it better than they do. For a group with
    fewer in one of the arms there is besides how much the response differs between the groups that
    have both. Zero where the training cells are not at hand, or no categorical factor is changed.
    """
    model = encoded.model
    training = training_rows(model)
    if training is None or not has_training_counts(model):
        return 0.0
    known = cells_of(model, None, training, with_sizes=False)
    there = {**known.labels, **known.covariates}
    own = {**encoded.cells.labels, **encoded.cells.covariates}
    levelled = [name for name in targets.words if targets.handles[name].levels]
    arms = [{n: _whole(codes[n]) for n in levelled} for codes in (own, targets.main.codes)]
    of_group = _groups_of_training(model, training, names)
    members = [_members(arm, there, groups, of_group, len(names)) for arm in arms]
    total = np.zeros((len(names), len(encoded.genes)))
    for belongs, _ in members:
        total += _log_means(model, training, belongs).variance
    lacking = ~(members[0][1] & members[1][1])
    if lacking.any():
        total[lacking] += _spread_of_responses(model, training, names, arms, there)
    same = [(members[0][0][g] == members[1][0][g]).all() for g in range(len(names))]
    total[np.array(same)] = 0.0
    return total


def has_training_counts(model: BetaSCVI) -> bool:
    """Whether the counts that the model was trained on are at hand."""
    return training_rows(model) is not None and model.minified_data_type is None


def _spread_of_responses(
    model: BetaSCVI,
    training: np.ndarray,
    names: pd.MultiIndex | pd.Index,
    arms: Sequence[Mapping[str, np.ndarray]],
    there: Mapping[str, np.ndarray],
) -> np.ndarray | float:
    """(genes,) variance of a new group's response about what the groups seen in both arms show."""
    columns = _columns(model, names)
    if not columns or not arms[0]:
        return 0.0
    assert model.adata is not None
    obs = model.adata.obs.iloc[training]
    numbered = obs.groupby(columns, observed=True, sort=True).ngroup()
    kinds = numbered.fillna(-1).to_numpy(dtype=int)  # a cell without a value is of no group
    every = np.arange(kinds.max() + 1)[:, None]
    before, after = (
        _log_means(model, training, _fits(arm, there, slice(None)) & (kinds == every))
        for arm in arms
    )
    enough = np.minimum(before.n_cells, after.n_cells) >= _FEWEST_CELLS
    if enough.sum() < _FEWEST_GROUPS:
        return 0.0
    effects, variance = after.log2 - before.log2, after.variance + before.variance
    return spread_between(effects[enough], variance[enough]) * (1.0 + 1.0 / enough.sum())


def _groups_of_training(
    model: BetaSCVI, training: np.ndarray, names: pd.MultiIndex | pd.Index
) -> np.ndarray:
    columns = _columns(model, names)
    if not columns:
        return np.full(len(training), -1)
    assert model.adata is not None
    return group_codes(model.adata.obs.iloc[training], columns, names)


def _columns(model: BetaSCVI, names: pd.MultiIndex | pd.Index) -> list[str]:
    """The columns that group cells; none where the training cells lack one of them."""
    columns = [str(name) for name in names.names if name is not None]
    assert model.adata is not None
    return columns if all(column in model.adata.obs for column in columns) else []


def group_codes(
    obs: pd.DataFrame, columns: list[str], names: pd.MultiIndex | pd.Index
) -> np.ndarray:
    """(cells,) position of each cell's group in ``names``; -1 where it is none of them."""
    keys = [obs[column].astype(str) for column in columns]
    wanted = pd.MultiIndex.from_arrays(keys) if len(keys) > 1 else pd.Index(keys[0])
    return np.asarray(names.get_indexer(wanted))


def _members(
    arm: Mapping[str, np.ndarray],
    there: Mapping[str, np.ndarray],
    groups: np.ndarray,
    of_group: np.ndarray,
    n_groups: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(groups, training cells) which ones speak for the arm of each group; if they are of it."""
    out = np.zeros((n_groups, len(of_group)), dtype=bool)
    has_own = np.zeros(n_groups, dtype=bool)
    for g in range(n_groups):
        fits = _fits(arm, there, groups == g)
        of_own = fits & (of_group == g)
        has_own[g] = of_own.sum() >= _FEWEST_CELLS
        out[g] = of_own if has_own[g] else fits
    return out, has_own


def _fits(
    arm: Mapping[str, np.ndarray], there: Mapping[str, np.ndarray], asked: np.ndarray | slice
) -> np.ndarray:
    """(training cells,) which of them are at levels that the asked cells have in an arm."""
    of_each = [np.isin(there[n], np.unique(codes[asked])) for n, codes in arm.items() if n in there]
    return np.asarray(np.logical_and.reduce(of_each))  # True of no factor at all


def _whole(codes: np.ndarray) -> np.ndarray:
    """Codes of levels as whole numbers; -1 where a label is missing."""
    return np.where(codes >= 0, codes, -1).astype(int)


def _log_means(model: BetaSCVI, training: np.ndarray, belongs: np.ndarray) -> LogMeans:
    """Of the training cells that belong to each group, (groups, genes)."""
    x = model.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)
    shape = (len(belongs), x.shape[1])
    sums, squares = np.zeros(shape), np.zeros(shape)
    starts = range(0, len(training), _CHUNK)
    totals = np.concatenate([np.ravel(x[training[i : i + _CHUNK]].sum(1)) for i in starts])
    scale = np.median(totals) / np.maximum(totals, 1.0)  # one for all cells, whatever their chunk
    for start in starts:
        rows = training[start : start + _CHUNK]
        part = sparse.csr_matrix(x[rows], dtype=np.float64)
        part = sparse.diags_array(scale[start : start + _CHUNK]) @ part
        chosen = sparse.csr_matrix(belongs[:, start : start + _CHUNK].astype(float))
        sums = sums + (chosen @ part).toarray()
        squares = squares + (chosen @ part.multiply(part)).toarray()
    return LogMeans.of(belongs.sum(1).astype(float), sums, squares)
