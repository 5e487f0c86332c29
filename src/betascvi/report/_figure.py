"""The one figure of a fit: which axis tells which factor, and the cells on the two that tell most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from betascvi import _keys
from betascvi.factors import CodedFactor, Factor, as_factors, code_factor
from betascvi.metrics import mutual_information_matrix

_MOST_PANELS = 6


def draw_axes(latents: AnnData, factors: Sequence[str | Factor]) -> Figure:
    """Information matrix (axes x factors) beside the cells coloured by each factor."""
    coded = [code_factor(latents.obs[f.name], f) for f in as_factors(factors)]
    shown = [factor for factor in coded if factor.known.any()][:_MOST_PANELS]
    z = latents.obsm[_keys.LATENT]
    names = list(latents.uns[_keys.UNS][_keys.LATENT]["axes"])
    figure = Figure(figsize=(4.2 + 3.2 * max(len(shown), 1), 3.6), layout="constrained")
    panels = figure.subplots(1, 1 + max(len(shown), 1), squeeze=False)[0]
    information = _information(z, shown)
    if shown:
        _draw_matrix(panels[0], information, names, [factor.name for factor in shown])
    else:
        panels[0].set_axis_off()
    for k, factor in enumerate(shown):
        best = np.argsort(-information[:, k], kind="stable")[:2]
        _draw_cells(panels[k + 1], z[:, best], [names[j] for j in best], factor)
    if not shown:
        _draw_cells(panels[1], z[:, :2], names[:2], None)
    return figure


def _information(z: np.ndarray, factors: Sequence[CodedFactor]) -> np.ndarray:
    """(axes, factors) I(axis; factor) / H(factor), each on the cells whose label is known."""
    return np.array([_shares(z, factor) for factor in factors]).reshape(-1, z.shape[1]).T


def _shares(z: np.ndarray, factor: CodedFactor) -> np.ndarray:
    column = factor.values[factor.known].astype(float)[:, None]
    kinds = {
        "discrete": factor.kind == "categorical",
        "circular": factor.kind == "circular",
    }
    told = mutual_information_matrix(z[factor.known], column, **kinds)[:, 0]
    return np.asarray(told / mutual_information_matrix(column, column, **kinds)[0, 0])


def _draw_matrix(ax: Axes, matrix: np.ndarray, axes: list[str], factors: list[str]) -> None:
    image = ax.imshow(matrix, aspect="auto", cmap="Greys", vmin=0, vmax=1)
    ax.set_xticks(range(len(factors)), factors, rotation=40, ha="right")
    ax.set_yticks(range(len(axes)), axes)
    ax.set_title("share of a factor an axis tells", fontsize=9)
    ax.figure.colorbar(image, ax=ax, shrink=0.8)


def _draw_cells(ax: Axes, z: np.ndarray, names: list[str], factor: CodedFactor | None) -> None:
    options: dict[str, Any] = {"s": 4, "linewidths": 0, "rasterized": True}
    if factor is not None and not factor.known.all():
        ax.scatter(*z[~factor.known].T, color="0.85", **options)
    if factor is None:
        ax.scatter(z[:, 0], z[:, 1], color="0.4", **options)
    elif factor.kind == "categorical":
        colours = mpl.colormaps["tab20"](np.arange(20))
        for code, level in enumerate(factor.levels):
            here = factor.values == code
            ax.scatter(*z[here].T, color=colours[code % 20], label=level, **options)
        if len(factor.levels) <= 12:
            ax.legend(fontsize=6, markerscale=3, frameon=False, loc="best")
    else:
        cmap = "hsv" if factor.kind == "circular" else "viridis"
        drawn = ax.scatter(z[:, 0], z[:, 1], c=factor.values, cmap=cmap, **options)
        ax.figure.colorbar(drawn, ax=ax, shrink=0.8)
    ax.set_title(factor.name if factor else "cells", fontsize=9)
    ax.set_xlabel(names[0], fontsize=8)
    ax.set_ylabel(names[-1], fontsize=8)
    ax.set_xticks([])
    ax.set_yticks([])
