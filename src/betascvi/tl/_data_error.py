"""How well the training cells themselves tell the means that a fold change compares."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import sparse
from scvi import REGISTRY_KEYS

from betascvi.model import BetaSCVI
from betascvi.model._cells import cells_of, training_rows
from betascvi.tl._encoded import Encoded
from betascvi.tl._group_effects import LogMeanError
from betascvi.tl._targets import Targets

_FEWEST_CELLS = 20
_CHUNK = 4096


def data_error(
    encoded: Encoded, targets: Targets, groups: np.ndarray, names: pd.MultiIndex | pd.Index
) -> np.ndarray | float:
    """(groups, genes) variance of a log2-fold change that the training cells leave.

    The decoder has the mean of a gene in an arm from the training cells of that arm (of the same
    group, where there are 20 of them), so it cannot know it better than they do. Zero where the
    training cells are not at hand, or no categorical factor is changed.
    """
    model = encoded.model
    training = training_rows(model)
    if training is None or model.minified_data_type is not None:
        return 0.0
    known = cells_of(model, None, training, with_sizes=False)
    there = {**known.labels, **known.covariates}
    own = {**encoded.cells.labels, **encoded.cells.covariates}
    levelled = [name for name in targets.words if targets.handles[name].levels]
    arms = [{n: _whole(codes[n]) for n in levelled} for codes in (own, targets.main.codes)]
    of_group = _groups_of_training(model, training, names)
    members = [_members(arm, there, groups, of_group, len(names)) for arm in arms]
    total = np.zeros((len(names), len(encoded.genes)))
    same = np.array([(members[0][g] == members[1][g]).all() for g in range(len(names))])
    for belongs in members:
        total += _error_of(model, training, belongs)
    total[same] = 0.0
    return total


def _groups_of_training(
    model: BetaSCVI, training: np.ndarray, names: pd.MultiIndex | pd.Index
) -> np.ndarray:
    columns = [name for name in names.names if name is not None]
    assert model.adata is not None
    obs = model.adata.obs
    if not columns or any(column not in obs for column in columns):
        return np.full(len(training), -1)
    return group_codes(obs.iloc[training], columns, names)


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
) -> np.ndarray:
    """(groups, training cells) which training cells speak for the arm of each group."""
    out = np.zeros((n_groups, len(of_group)), dtype=bool)
    for g in range(n_groups):
        fits = np.ones(len(of_group), dtype=bool)
        for name, codes in arm.items():
            if name in there:
                fits &= np.isin(there[name], np.unique(codes[groups == g]))
        of_own = fits & (of_group == g)
        out[g] = of_own if of_own.sum() >= _FEWEST_CELLS else fits
    return out


def _whole(codes: np.ndarray) -> np.ndarray:
    """Codes of levels as whole numbers; -1 where a label is missing."""
    return np.where(codes >= 0, codes, -1).astype(int)


def _error_of(model: BetaSCVI, training: np.ndarray, belongs: np.ndarray) -> np.ndarray:
    x = model.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)
    shape = (len(belongs), x.shape[1])
    sums, squares = np.zeros(shape), np.zeros(shape)
    for start in range(0, len(training), _CHUNK):
        rows = training[start : start + _CHUNK]
        part = sparse.csr_matrix(x[rows], dtype=np.float64)
        totals = np.maximum(np.asarray(part.sum(1)).ravel(), 1.0)
        part = sparse.diags_array(np.median(totals) / totals) @ part
        chosen = sparse.csr_matrix(belongs[:, start : start + _CHUNK].astype(float))
        sums = sums + (chosen @ part).toarray()
        squares = squares + (chosen @ part.multiply(part)).toarray()
    return LogMeanError.of(belongs.sum(1).astype(float), sums, squares).variance
