"""``pl.latent``: cells on two axes of an embedding, coloured by what they are."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.axes import Axes

from betascvi import _keys
from betascvi._errors import UnknownFactorError
from betascvi.pl._series import PALE, level_colours

_MOST_LEVELS = 40


def latent(
    adata: AnnData,
    color: str,
    basis: str = _keys.LATENT,
    axes: tuple[int, int] = (0, 1),
    *,
    is_circular: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw cells on two columns of ``adata.obsm[basis]``.

    Parameters
    ----------
    adata
        Cells with an embedding.
    color
        Column of ``obs``: levels get a legend, numbers a colour bar. Missing values are pale.
    basis
        Key in ``obsm``: ``"X_umap"``, ``"X_tsne"``, or a latent as ``bs.tl.embed`` wrote it, whose
        axes then bear their names.
    axes
        The two columns to draw.
    is_circular
        The numbers are angles: colours go round with them.
    ax
        Axes to draw into; ``None`` makes a figure.

    Returns
    -------
    The axes. Cells are drawn in an order drawn at random, so that none of the levels hides the
    others.
    """
    positions = _positions(adata, basis, axes)
    if color not in adata.obs:
        raise UnknownFactorError(
            f"color {color!r} is not a column of adata.obs; there are {list(adata.obs)}."
        )
    values = adata.obs[color]
    if ax is None:
        ax = plt.subplots(figsize=(4.6, 3.8), layout="constrained")[1]
    order = np.random.default_rng(0).permutation(adata.n_obs)
    size = float(np.clip(8000 / adata.n_obs, 1.0, 20.0))
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    draw = _numbers if is_number else draw_levels
    draw(ax, positions[order], values.iloc[order], size, "twilight" if is_circular else "viridis")
    names = _axis_names(adata, basis, axes)
    ax.set(xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
    ax.set_title(color, loc="left", size=10)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _positions(adata: AnnData, basis: str, axes: tuple[int, int]) -> np.ndarray:
    if basis not in adata.obsm:
        raise UnknownFactorError(
            f"{basis!r} is not in adata.obsm; there are {list(adata.obsm)}. bs.tl.embed writes a "
            "latent, scanpy.tl.umap a map of it."
        )
    z = np.asarray(adata.obsm[basis])
    wrong = [axis for axis in axes if not 0 <= axis < z.shape[1]]
    if wrong or len(axes) != 2:
        raise ValueError(f"axes are two columns from 0 to {z.shape[1] - 1}, got {axes!r}.")
    return z[:, list(axes)]


def _axis_names(adata: AnnData, basis: str, axes: tuple[int, int]) -> list[str]:
    written = adata.uns.get(_keys.UNS, {}).get(basis, {}).get("axes")
    if written is None:
        return [f"{basis.removeprefix('X_')} {axis + 1}" for axis in axes]
    return [str(written[axis]) for axis in axes]


def draw_levels(
    ax: Axes, z: np.ndarray, values: pd.Series, size: float, _colours: str = ""
) -> None:
    """Cells at positions ``z``, coloured by level, with a legend beside them."""
    categories = values.astype("category").cat
    if len(categories.categories) > _MOST_LEVELS:
        raise ValueError(
            f"{values.name!r} has {len(categories.categories)} levels; {_MOST_LEVELS} can be told "
            "apart at most. Group them, or give their number."
        )
    codes = categories.codes.to_numpy()
    colours = level_colours(len(categories.categories))
    of_cells = np.array([*colours, PALE])[codes]  # -1, a missing label, is the last
    ax.scatter(z[:, 0], z[:, 1], c=of_cells, s=size, lw=0, rasterized=True)
    _legend(ax, [*map(str, categories.categories)], colours, has_missing=bool((codes < 0).any()))


def _legend(ax: Axes, names: Sequence[str], colours: Sequence[str], *, has_missing: bool) -> None:
    entries = [*zip(names, colours, strict=True), *([("missing", PALE)] if has_missing else [])]
    for name, colour in entries:
        ax.scatter([], [], c=colour, s=25, label=name)
    ax.legend(
        frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5),
        ncols=1 + len(entries) // 16,
    )  # fmt: skip


def _numbers(ax: Axes, z: np.ndarray, values: pd.Series, size: float, colours: str) -> None:
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    is_known = np.isfinite(numbers)
    ax.scatter(z[~is_known, 0], z[~is_known, 1], c=PALE, s=size, lw=0, rasterized=True)
    points = ax.scatter(
        z[is_known, 0],
        z[is_known, 1],
        c=numbers[is_known],
        s=size,
        lw=0,
        cmap=colours,
        rasterized=True,
    )
    ax.figure.colorbar(points, ax=ax, shrink=0.7)
