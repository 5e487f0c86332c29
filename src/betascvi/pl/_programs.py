"""``pl.programs``: an axis as its gene program, and where it is on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes

from betascvi import _keys
from betascvi._errors import UnknownFactorError
from betascvi.metrics._programs import GenePrograms
from betascvi.pl._series import SERIES, panels_for, plain


def programs(
    record: GenePrograms,
    axis: int | str | None = None,
    adata: AnnData | None = None,
    *,
    basis: str = "X_umap",
    key: str = _keys.LATENT,
    n_genes: int = 12,
    ax: Axes | Sequence[Axes] | None = None,
) -> np.ndarray:
    """Draw the genes an axis moves as it rises and as it falls, and the cells it is on in.

    Parameters
    ----------
    record
        What ``bs.tl.attribute_genes`` gave.
    axis
        Name or position; ``None`` takes the axis that explains most.
    adata
        Cells with ``obsm[key]`` (``bs.tl.embed``) and ``obsm[basis]``; ``None`` draws genes only.
    basis
        The map to draw cells on.
    key
        The latent that holds the axis.
    n_genes
        Genes of each direction.
    ax
        Two axes, or three with ``adata``; ``None`` makes a figure.

    Returns
    -------
    The axes: genes as the axis rises, genes as it falls (those raised most on top), and the
    map with cells coloured by where they are on the axis.
    """
    position = int(record.order[0]) if axis is None else record.position(axis)
    drawn = panels_for(ax, 2 if adata is None else 3, (3.4, 0.9 + 0.2 * n_genes))
    for panel, direction, colour in zip(drawn, "+-", SERIES, strict=False):
        effect = record.program(position, direction)
        top = np.argsort(-effect, kind="stable")[:n_genes][::-1]
        panel.barh(np.arange(len(top)), effect[top], color=colour, height=0.75)
        panel.set_yticks(np.arange(len(top)), [record.genes[i] for i in top], fontsize=8)
        panel.set_xlabel(
            "log ratio, cells on / off"
            if record.by == "cells"
            else f"effect at {direction}{record.span:g} s.d."
        )
        plain(panel)
    share = record.explained[position]
    name = record.axes[position]
    drawn[0].set_title(f"{name}: {share:.1%} of variation\nas it rises", loc="left", size=10)
    drawn[1].set_title("as it falls", loc="left", size=10)
    if adata is not None:
        _map(drawn[2], adata, record.axes[position], basis, key)
    return np.array(drawn)


def _map(ax: Axes, adata: AnnData, name: str, basis: str, key: str) -> None:
    for needed in (basis, key):
        if needed not in adata.obsm:
            raise UnknownFactorError(
                f"{needed!r} is not in adata.obsm; there are {list(adata.obsm)}. bs.tl.embed "
                "writes a latent, scanpy.tl.umap a map of it."
            )
    written = list(adata.uns.get(_keys.UNS, {}).get(key, {}).get("axes", ()))
    if name not in written:
        raise UnknownFactorError(f"obsm[{key!r}] holds no axis {name!r}; it has {written}.")
    on = np.asarray(adata.obsm[key])[:, written.index(name)]
    positions = np.asarray(adata.obsm[basis])
    order = np.argsort(np.abs(on), kind="stable")  # what is far from the origin lies on top
    far = float(np.nanquantile(np.abs(on), 0.995)) or 1.0
    points = ax.scatter(
        positions[order, 0], positions[order, 1], c=on[order], cmap="RdBu_r", vmin=-far, vmax=far,
        s=float(np.clip(8000 / adata.n_obs, 1.0, 20.0)), lw=0, rasterized=True,
    )  # fmt: skip
    ax.figure.colorbar(points, ax=ax, shrink=0.7)
    ax.set(xlabel=f"{basis.removeprefix('X_')} 1", ylabel=f"{basis.removeprefix('X_')} 2")
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"where {name} is on", loc="left", size=10)
    ax.spines[["top", "right"]].set_visible(False)
