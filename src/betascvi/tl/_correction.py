"""``tl.correct_batch``: latent and expression without a batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from betascvi import _keys
from betascvi._errors import FactorError, UnknownFactorError
from betascvi.factors import Factor, code_factor
from betascvi.model import BetaSCVI
from betascvi.model._handles import Handle, handle_on, handles_of
from betascvi.tl._axis_information import axes_that_carry, axis_shares, carried_by_axes
from betascvi.tl._encoded import Encoded, encode
from betascvi.tl._realised_blocks import realised
from betascvi.tl._store import Store, as_store, chunks, opened, read
from betascvi.tl._targets import targets_of

FREE_MEAN = "free mean"
Expect = Callable[[slice], np.ndarray]
"""Expected counts, corrected, of a chunk of cells."""


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """Cells without their batch; ``print`` it for how that was done."""

    factor: str
    via: Literal["block", "covariate", "axes"]
    """What held the batch: its own block, the decoder, or axes found to carry it."""
    to: str
    """The level the expression stands at, or the average of all."""
    latent: np.ndarray
    """(cells, axes kept), for neighbours and UMAP."""
    axes: tuple[str, ...]
    """Names of the axes kept."""
    dropped: tuple[str, ...]
    """Names of the axes left out."""
    carried: pd.DataFrame | None
    """What else axes found by metrics carried: axes x columns of obs, shares of their entropy."""
    shares: tuple[float, float]
    """Largest share of the factor's entropy that one axis tells, before and after."""
    notes: tuple[str, ...]
    matrices: AnnData | None
    path: Path | None = None

    def to_anndata(self) -> AnnData:
        """``X``: corrected expected counts at each cell's own library size.

        ``layers["factual"]`` is the reconstruction, ``obsm["X_betascvi"]`` the latent kept.
        """
        if self.path is not None:
            return read(self.path)
        assert self.matrices is not None
        return self.matrices.copy()

    def __str__(self) -> str:
        how = {
            "block": f"its block ({', '.join(self.dropped)}) is left out of the latent",
            "covariate": "the decoder is conditioned on it, so the latent is used as it is",
            "axes": f"axes {', '.join(self.dropped) or '(none)'} carry it and are left out",
        }[self.via]
        told = (
            f"one axis tells at most {self.shares[0]:.0%} of it before, {self.shares[1]:.0%} after"
        )
        return "\n".join([f"{self.factor}: {how}; expression at {self.to}; {told}.", *self.notes])


def correct_batch(
    model: BetaSCVI,
    adata: AnnData,
    factor: str = "batch",
    to: str | float | Mapping[Any, float] | None = None,
    indices: Sequence[int] | np.ndarray | None = None,
    store: str | Path | Store = "memory",
) -> Correction:
    """The latent and the expression of cells without the part a batch has in them.

    What is done depends on what the model has: the factor's own block is left out of the latent
    and moved for the expression, from the mean position of the cells of a level to that of the
    target's (:func:`counterfactual` goes by the anchors, which lie further apart); a covariate the decoder is conditioned on is set for the
    expression (the latent is free of it as far as the model could make it so); and where neither
    was declared, the axes that tell the factor are found one by one, left out, and held at their
    mean for the expression.

    Parameters
    ----------
    model
        A trained model.
    adata
        Cells to correct.
    factor
        The batch: an anchored factor, a decoder covariate, or any column of ``adata.obs``.
    to
        Level the expression is put at, a mixture of levels, or ``"free mean"`` (the block at the
        mean of its prior, between all levels). By default the average over all levels (over the
        block's mean, where there are more than 64).
    indices
        Positions of, or a mask over, the cells to correct; all by default.
    store
        Where the expression goes: ``"memory"``, the path of a zarr store, or :class:`Store`.

    Returns
    -------
    The record; ``.latent``, ``.to_anndata()``, and ``print`` for what was done and what it cost.

    Notes
    -----
    Axes found by metrics carry other factors too, as a rule, and these are lost with the batch:
    ``.carried`` says how much of which. A batch spread thinly over many axes is not found. Anchor
    the batch, or condition the decoder on it, where the model can be trained again.

    Examples
    --------
    >>> corrected = bs.tl.correct_batch(model, adata, factor="batch")
    >>> adata.obsm["X_corrected"] = corrected.latent
    >>> sc.pp.neighbors(adata, use_rep="X_corrected")
    """
    asked = as_store(store)
    if asked.where == "sparse":
        raise ValueError("expected counts are nowhere zero; use store='memory' or a zarr path.")
    asked.refuse_existing()
    handle = _handle(model, adata, factor)
    encoded = encode(model, adata, indices)
    if handle is None:
        return _by_axes(encoded, factor, to, asked)
    expect, words = _expectation(encoded, handle, to)
    block = handle.block
    kept = np.ones(encoded.mean.shape[1], dtype=bool)
    if block is not None:
        kept[block.axes] = False
    return _finished(encoded, factor, handle.via, expect, kept, asked, words)


def _handle(model: BetaSCVI, adata: AnnData, factor: str) -> Handle | None:
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


def _expectation(encoded: Encoded, handle: Handle, to: Any) -> tuple[Expect, str]:
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


def _by_axes(encoded: Encoded, factor: str, to: Any, store: Store) -> Correction:
    if to is not None:
        raise FactorError(
            f"to={to!r}: {factor!r} was neither anchored nor given to the decoder, so its axes can "
            "be held at their mean and put at no level; leave to= out."
        )
    coded = code_factor(encoded.obs[factor], Factor(factor, "categorical"))
    if len(coded.levels) < 2:
        raise FactorError(f"{factor!r} has one level in these cells: there is nothing to correct.")
    found = axes_that_carry(encoded.mean, coded)
    names = encoded.model.axis_names
    kept = np.ones(encoded.mean.shape[1], dtype=bool)
    kept[found] = False
    if not kept.any():
        raise FactorError(
            f"every axis carries {factor!r}: nothing would be left. Anchor it or condition the "
            "decoder on it, and train again."
        )
    z = encoded.mean.copy()
    z[:, found] = z[:, found].mean(0)
    carried = carried_by_axes(encoded.mean, encoded.obs, found, names)
    return _finished(
        encoded, factor, "axes", lambda rows: encoded.factual(z, rows).mean, kept, store,
        "the mean of these axes", carried,
    )  # fmt: skip


def _finished(  # one place where the expression is streamed and the record is made
    encoded: Encoded,
    factor: str,
    via: Any,
    expect: Expect,
    kept: np.ndarray,
    store: Store,
    words: str,
    carried: pd.DataFrame | None = None,
) -> Correction:
    latent = encoded.mean[:, kept]
    names = np.array(encoded.model.axis_names, dtype=object)
    skeleton = AnnData(obs=encoded.obs, var=pd.DataFrame(index=encoded.genes))
    skeleton.obsm[_keys.LATENT] = latent
    axes = [str(name) for name in names[kept]]
    skeleton.uns[_keys.UNS] = {
        _keys.LATENT: {"axes": axes}, "corrected": {"factor": factor, "via": via, "to": words},
    }  # fmt: skip
    with opened(store, skeleton, is_counts=False) as sink:
        for rows in chunks(len(encoded.obs), store.chunk_size):
            out = {"X": expect(rows)}
            if store.factual:
                out[_keys.FACTUAL] = encoded.factual(encoded.mean, rows).mean
            sink.put(rows, out)
    notes = _notes(factor, carried)
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=4)
    return Correction(
        factor, via, words, latent, tuple(axes), tuple(map(str, names[~kept])), carried,
        _told(encoded, factor, latent), notes, None if store.path is not None else skeleton,
        store.path,
    )  # fmt: skip


def _notes(factor: str, carried: pd.DataFrame | None) -> tuple[str, ...]:
    if carried is None:
        return ()
    if carried.empty:
        return (
            f"no single axis tells {factor!r} beyond chance: nothing was left out. It may be spread "
            "over several axes (bs.tl.leakage looks at all at once).",
        )
    others = carried.drop(columns=factor, errors="ignore").max()
    lost = others[others > 0.05].sort_values(ascending=False)
    said = ", ".join(f"{name} {share:.0%}" for name, share in lost.items()) or "nothing else"
    return (
        f"{factor!r} was neither anchored nor given to the decoder; axes {list(carried.index)} "
        f"carry it and are left out. They told as well: {said}.",
    )


def _told(encoded: Encoded, factor: str, latent: np.ndarray) -> tuple[float, float]:
    """Largest share of the factor's entropy that one axis tells, before and after."""
    column = encoded.obs.get(factor)
    if column is None or pd.api.types.is_numeric_dtype(column):
        return 0.0, 0.0
    coded = code_factor(column, Factor(factor, "categorical"))
    if len(coded.levels) < 2:
        return 0.0, 0.0
    before, after = (axis_shares(z, coded)[0].max() for z in (encoded.mean, latent))
    return float(before), float(after)
