"""Where the expression of a correction stands: the handle it goes by, and its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from anndata import AnnData

from betascvi._errors import FactorError, UnknownFactorError
from betascvi.model import BetaSCVI
from betascvi.model._handles import Handle, handle_on, handles_of, labels_registered
from betascvi.tl._encoded import Encoded
from betascvi.tl._realised_blocks import realised
from betascvi.tl._targets import MOST_ARMS, targets_of

FREE_MEAN = "free mean"
Expect = Callable[[slice], np.ndarray]
"""Expected counts, corrected, of a chunk of cells."""


def handle_or_column(model: BetaSCVI, adata: AnnData, factor: str) -> Handle | None:
    """The model's handle; None where it has none and the column is there to search by."""
    if factor in handles_of(model):
        return handles_of(model)[factor]
    if factor in adata.obs:
        return None
    if factor == "batch" and model.registry["setup_args"].get("batch_key"):
        raise UnknownFactorError(
            f"no factor 'batch'; this model's batch_key is "
            f"{model.registry['setup_args']['batch_key']!r}: give it as factor=."
        )
    if factor in labels_registered(model):
        return handle_on(model, factor)  # refuses, and says what would give one
    columns = [str(name) for name in adata.obs if not str(name).startswith("_scvi")]
    known = [*handles_of(model), *columns]
    close = get_close_matches(str(factor), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise UnknownFactorError(
        f"{factor!r} is no factor of this model and no column of adata.obs{hint} The model can move "
        f"{list(handles_of(model)) or 'nothing'}; any column of labels can be given besides: "
        f"{columns[:20]}."
    )


def expectation(encoded: Encoded, handle: Handle, to: Any) -> tuple[Expect, str]:
    """Expected counts at the target of a chunk of cells, and the target in words."""
    _refuse_bad_target(handle, to)
    if to is None and handle.levels:
        n_levels = len(handle.places)
        to, words = dict.fromkeys(handle.places, 1.0), f"the average of {n_levels} levels"
        if n_levels > MOST_ARMS and handle.block is not None and handle.covariate is None:
            to = FREE_MEAN
        elif n_levels > MOST_ARMS:
            to = dict.fromkeys(_commonest(encoded, handle), 1.0)
            words = f"the average of the {len(to)} commonest of {n_levels} levels"
    elif to is None:
        to = FREE_MEAN if handle.block is not None else _mean_of(encoded, handle)
        words = "the free mean" if to == FREE_MEAN else f"the mean, {to:.3g}"
    else:
        words = str(to)
    if to == FREE_MEAN and FREE_MEAN not in handle.levels:
        return _at_free_mean(encoded, handle), "the free mean"
    targets = realised(encoded, targets_of(encoded.model, {handle.name: to}, encoded.cells))
    return (lambda rows: encoded.mixed(encoded.mean, targets, rows)), words


def _refuse_bad_target(handle: Handle, to: Any) -> None:
    if not isinstance(to, Mapping) and np.ndim(to) > 0:
        raise FactorError(
            f"to= is one level or number for all cells, a mixture {{level: weight}}, or "
            f"{FREE_MEAN!r}; got {np.size(to)} values. Cells are each put at a target of their own "
            f"by bs.tl.counterfactual(model, adata, {{{handle.name!r}: values}})."
        )
    is_misspelt = isinstance(to, str) and to not in (FREE_MEAN, *handle.levels)
    if is_misspelt and handle.block is not None and handle.covariate is None:
        places = [*handle.levels, FREE_MEAN]
        close = get_close_matches(to.replace("_", " "), places, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise UnknownFactorError(
            f"{handle.name!r} has no level {to!r}; to= is one of {places}"
            f"{'' if handle.levels else ' or a number'}{hint}"
        )


def _commonest(encoded: Encoded, handle: Handle) -> list[str]:
    """As many levels as can be averaged over, those that most of these cells have."""
    n_cells = np.bincount(encoded.cells.covariates[handle.name], minlength=len(handle.levels))
    places = np.flatnonzero(np.isin(handle.levels, handle.places))
    most = places[np.argsort(-n_cells[places], kind="stable")[:MOST_ARMS]]
    return [handle.levels[i] for i in np.sort(most)]


def _mean_of(encoded: Encoded, handle: Handle) -> float:
    return float(encoded.cells.covariates[handle.name].mean())


def _at_free_mean(encoded: Encoded, handle: Handle) -> Expect:
    if handle.block is None or handle.covariate is not None:
        raise FactorError(
            f"to={FREE_MEAN!r} is a place in a block, and {handle.name!r} is a covariate of the "
            f"decoder; leave to= out for the average over its levels {list(handle.levels)}."
        )
    z = handle.block.at_free_mean(encoded.mean)
    return lambda rows: encoded.factual(z, rows).mean
