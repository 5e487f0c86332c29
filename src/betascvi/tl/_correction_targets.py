"""Where the expression of a correction stands: the handle it goes by, and its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from anndata import AnnData

from betascvi._errors import FactorError, UnknownFactorError
from betascvi.model import BetaSCVI
from betascvi.model._handles import Handle, handle_on, handles_of
from betascvi.tl._encoded import Encoded
from betascvi.tl._realised_blocks import realised
from betascvi.tl._targets import targets_of

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
    return handle_on(model, factor)  # refuses, and offers the closest


def expectation(encoded: Encoded, handle: Handle, to: Any) -> tuple[Expect, str]:
    if to is None and handle.levels:
        to = dict.fromkeys(handle.levels, 1.0)
        if handle.block is not None and handle.covariate is None and len(to) > 64:
            to = FREE_MEAN
        words = f"the average of {len(handle.levels)} levels"
    elif to is None:
        to = FREE_MEAN if handle.block is not None else _mean_of(encoded, handle)
        words = "the free mean" if to == FREE_MEAN else f"the mean, {to:.3g}"
    else:
        words = str(to)
    if to == FREE_MEAN and FREE_MEAN not in handle.levels:
        return _at_free_mean(encoded, handle), "the free mean"
    targets = realised(encoded, targets_of(encoded.model, {handle.name: to}, encoded.cells))
    return (lambda rows: encoded.mixed(encoded.mean, targets, rows)), words


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
