"""``tl.embed``: positions of cells into an AnnData, with the names of axes and blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anndata import AnnData

from betascvi import _keys
from betascvi.model import BetaSCVI


def embed(
    model: BetaSCVI,
    adata: AnnData,
    key_added: str = _keys.LATENT,
    give_mean: bool = True,
    blocks: str | Sequence[str] | None = None,
    drop: str | Sequence[str] | None = None,
) -> None:
    """Write the latent positions of ``adata``'s cells into it.

    ``adata.obsm[key_added]`` gets the positions, (cells, axes);
    ``adata.uns["betascvi"][key_added]`` the names of the axes written and the
    ``[start, stop]`` columns of each block, which the tools on embeddings read.

    Parameters
    ----------
    model
        A fitted model.
    adata
        The cells it was trained on, or others with the same genes.
    key_added
        Key in ``obsm`` and in ``uns["betascvi"]``.
    give_mean
        Posterior means; ``False`` writes one posterior sample for each cell.
    blocks
        Names of the blocks to write (``model.blocks``); all by default.
    drop
        Names of the blocks to leave out. Neighbours on *all* blocks separate the levels of an
        anchored factor: ``drop=["batch"]`` for a graph that ignores the batch.

    Examples
    --------
    >>> bs.tl.embed(model, adata)
    >>> sc.pp.neighbors(adata, use_rep="X_betascvi")
    >>> sc.tl.umap(adata)
    """
    z = model.get_latent_representation(adata, give_mean=give_mean, blocks=blocks, drop=drop)
    kept = {
        name: axes
        for name, axes in model.blocks.items()
        if name in _chosen(list(model.blocks), blocks, drop)
    }
    names = [name for axes in kept.values() for name in model.axis_names[axes]]
    about = {"axes": names, "blocks": _columns_of(kept)}
    adata.obsm[key_added] = z
    written = adata.uns.get(_keys.UNS, {})
    adata.uns[_keys.UNS] = {**written, key_added: about}


def _chosen(
    names: Sequence[str],
    blocks: str | Sequence[str] | None,
    drop: str | Sequence[str] | None,
) -> set[str]:
    kept = set(names) if blocks is None else set(_as_list(blocks))
    return kept - set(_as_list(drop or ()))


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _columns_of(kept: Mapping[str, slice]) -> dict[str, list[int]]:
    """First and past-the-last column of each block among those written."""
    columns, start = {}, 0
    for name, axes in kept.items():
        stop = start + axes.stop - axes.start
        columns[name] = [start, stop]
        start = stop
    return columns
