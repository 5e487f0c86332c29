"""``tl.correct_batch``: latent and expression without a batch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from betascvi import _keys
from betascvi._errors import FactorError
from betascvi.factors import CodedFactor, Factor, code_factor
from betascvi.model import BetaSCVI
from betascvi.model._handles import handles_of
from betascvi.model._predictive import is_gaussian
from betascvi.tl._axis_information import (
    axes_that_carry,
    carried_by_axes,
    has_few_whole_values,
)
from betascvi.tl._batch_told import MOST_CELLS, groups_of, told_by_expression, told_by_one_axis
from betascvi.tl._correction_targets import Expect, expectation, handle_or_column
from betascvi.tl._encoded import Encoded, encode
from betascvi.tl._store import Store, as_store, chunks, opened, read


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
    shares: tuple[float, float] | None
    """Largest share of the factor's entropy that one axis of the latent tells, before and after.

    A number is cut into four equal groups. None where the cells have one level, or no column of it.
    """
    notes: tuple[str, ...]
    matrices: AnnData | None
    path: Path | None = None
    expression: tuple[float, float, float] | None = None
    """Accuracy of telling the level from expected expression, before, after, and by chance."""

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
            "covariate": "the decoder is conditioned on it, so the latent is used as it is"
            + (f", less its block ({', '.join(self.dropped)})" if self.dropped else ""),
            "axes": f"axes {', '.join(self.dropped) or '(none)'} carry it and are left out",
        }[self.via]
        lines = [f"{self.factor}: {how}; expression at {self.to}.", *self._told(), *self.notes]
        return "\n".join(lines)

    def _told(self) -> list[str]:
        said = []
        if self.shares is not None:
            before, after = self.shares
            said.append(
                f"Latent: one axis tells at most {before:.0%} of it before, {after:.0%} after."
            )
        if self.expression is not None:
            before, after, chance = self.expression
            said.append(
                f"Expected expression: it is told with an accuracy of {before:.0%} before, "
                f"{after:.0%} after ({chance:.0%} by chance; ten principal components, logistic)."
            )
        return said or ["How well it is still told was not measured: the cells show one level."]


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
    target's (:func:`counterfactual` goes by the anchors, which lie further apart); a covariate the
    decoder is conditioned on is set for the expression (the latent is free of it as far as the
    model could make it so); and where neither was declared, the axes that tell the factor are
    found one by one, left out, and held at their mean for the expression.

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
        mean of its prior, between all levels). By default the average over all levels; where there
        are more than 64, over the 64 that most of these cells have, or the block's mean.
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
    handle = handle_or_column(model, adata, factor)
    encoded = encode(model, adata, indices)
    if handle is None:
        return _by_axes(encoded, factor, to, asked)
    expect, words = expectation(encoded, handle, to)
    block = handle.block
    kept = np.ones(encoded.mean.shape[1], dtype=bool)
    if block is not None:
        kept[block.axes] = False
    return _finished(encoded, factor, handle.via, expect, kept, asked, words)


def _by_axes(encoded: Encoded, factor: str, to: Any, store: Store) -> Correction:
    if to is not None:
        raise FactorError(
            f"to={to!r}: {factor!r} was neither anchored nor given to the decoder, so its axes can "
            "be held at their mean and put at no level; leave to= out."
        )
    coded = _levels_of(encoded.obs[factor], factor)
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
    carried = carried_by_axes(encoded.mean, encoded.obs, found, names, coded)
    return _finished(
        encoded, factor, "axes", lambda rows: encoded.factual(z, rows).mean, kept, store,
        "the mean of these axes", carried,
    )  # fmt: skip


def _levels_of(column: pd.Series, name: str) -> CodedFactor:
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if is_number and not has_few_whole_values(column):
        raise FactorError(
            f"{name!r} holds {column.nunique()} different numbers, and the axes of a factor without "
            "a handle are found by its levels. Cut it into some (pd.cut), or anchor it (factor_keys, "
            "as Factor(name, kind='circular') for an angle) or condition the decoder on it "
            "(continuous_covariate_keys), and train again."
        )
    return code_factor(column, Factor(name, "categorical"))


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
    of_counts = not is_gaussian(encoded.model)
    corrected = {"factor": factor, "via": via, "to": words, "of_counts": of_counts}
    skeleton.uns[_keys.UNS] = {_keys.LATENT: {"axes": axes}, "corrected": corrected}
    looked_at = np.sort(np.random.default_rng(0).permutation(len(encoded.obs))[:MOST_CELLS])
    seen = _streamed(encoded, expect, looked_at, store, skeleton)
    dropped = tuple(map(str, names[~kept]))
    notes = _notes(factor, dropped, carried)
    for note in notes:
        warnings.warn(note, UserWarning, stacklevel=4)
    return Correction(
        factor, via, words, latent, tuple(axes), dropped, carried,
        told_by_one_axis(_groups(encoded, factor, slice(None)), encoded.mean, latent), notes,
        None if store.path is not None else skeleton, store.path,
        told_by_expression(_groups(encoded, factor, looked_at), *seen),
    )  # fmt: skip


def _streamed(
    encoded: Encoded, expect: Expect, looked_at: np.ndarray, store: Store, skeleton: AnnData
) -> tuple[np.ndarray, np.ndarray]:
    """Expression into the store; some cells of it, before and after, to be looked at."""
    after = []
    with opened(store, skeleton, is_counts=False) as sink:
        for rows in chunks(len(encoded.obs), store.chunk_size):
            out = {"X": expect(rows)}
            first, last = np.searchsorted(looked_at, [rows.start, rows.stop])
            after.append(out["X"][looked_at[first:last] - rows.start])
            if store.factual:
                out[_keys.FACTUAL] = encoded.factual(encoded.mean, rows).mean
            sink.put(rows, out)
    before = encoded.factual(encoded.mean, looked_at).mean
    is_counts = not is_gaussian(encoded.model)
    first, second = (_logged(x) if is_counts else x for x in (before, np.concatenate(after)))
    return first, second


def _logged(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.log1p(1e4 * x / x.sum(1, keepdims=True)))


def _groups(encoded: Encoded, factor: str, rows: slice | np.ndarray) -> CodedFactor | None:
    handle = handles_of(encoded.model).get(factor)
    column = encoded.obs[factor].iloc[rows] if factor in encoded.obs else None
    return groups_of(column, factor, "categorical" if handle is None else handle.kind)


def _notes(factor: str, dropped: tuple[str, ...], carried: pd.DataFrame | None) -> tuple[str, ...]:
    if carried is None:
        return ()
    if not dropped:
        return (
            f"no single axis tells {factor!r} beyond chance: nothing was left out. It may be spread "
            "over several axes (bs.tl.leakage looks at all at once).",
        )
    others = carried.drop(columns=factor).max()
    lost = others[others > 0.05].sort_values(ascending=False)
    said = ", ".join(f"{name} {share:.0%}" for name, share in lost.items()) or "nothing else"
    return (
        f"{factor!r} was neither anchored nor given to the decoder; axes {list(dropped)} "
        f"carry it and are left out. They told as well: {said}.",
    )
