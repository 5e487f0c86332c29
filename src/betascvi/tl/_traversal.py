"""``tl.traverse``: what happens to expression along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

from betascvi._errors import UnknownFactorError
from betascvi.model import BetaSCVI
from betascvi.model._cells import is_of_embedding
from betascvi.model._predictive import predictive
from betascvi.tl._encoded import Encoded, encode
from betascvi.tl._traversal_path import Path, path_along

_MOST_CELLS = 200
_INTERVAL = (0.05, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class Traversal:
    """Expression along an axis; draw it with ``bs.pl.traversal``."""

    axis: str
    kind: Literal["line", "levels", "circle"]
    steps: np.ndarray
    """(steps,) prior standard deviations; places between levels 0, 1, 2...; or radians."""
    labels: tuple[str, ...]
    """What stands at each step: the number, the level (empty in between), the angle."""
    expression: np.ndarray
    """(steps, genes) mean over cells of expected counts per 10,000."""
    genes: tuple[str, ...]
    effects: pd.DataFrame
    """One row a gene, by size of its effect: ``effect`` (mean over cells), ``low`` and ``high``
    (central 90 % of cells), ``sd_over_models``, and the labels it goes ``from`` and ``to``."""
    scores: pd.DataFrame | None
    """Steps x gene sets, where some were asked for."""
    start: str
    """The cells that were moved, in words."""
    n_cells: int
    n_models: int = 1

    def top(self, n: int = 10) -> pd.DataFrame:
        """The genes that move most."""
        return self.effects.head(n)

    def to_frame(self) -> pd.DataFrame:
        """Mean expression, steps x genes."""
        index = pd.Index(self.steps, name=self.axis)
        return pd.DataFrame(self.expression, index=index, columns=list(self.genes))

    def __str__(self) -> str:
        best = ", ".join(f"{g} {e:+.2f}" for g, e in self.effects["effect"].head(8).items())
        seeds = f" in {self.n_models} models" if self.n_models > 1 else ""
        return (
            f"{self.axis} ({self.kind}, {len(self.steps)} steps), {self.start} "
            f"({self.n_cells} cells{seeds}): {best}"
        )


def traverse(
    model: BetaSCVI | Sequence[BetaSCVI],
    adata: AnnData,
    axis: int | str,
    span: tuple[float, float] = (-3.0, 3.0),
    at: int | str | Mapping[str, Any] | None = None,
    n_steps: int = 7,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
) -> Traversal:
    r"""Move cells along one axis, decode, and rank the genes that follow.

    A free axis goes through ``span`` in standard deviations of its prior; everything else of a
    cell stays. The block of an anchored factor goes from anchor to anchor (a number through
    ``span`` in its standard deviations, an angle once round). The effect of a gene is

    .. math:: \log_2 \frac{1 + x_{\mathrm{last}}}{1 + x_{\mathrm{first}}}

    in expected counts per 10,000; on a circle, and over more than two levels, of the highest
    over the lowest step of its mean curve.

    Parameters
    ----------
    model
        A trained model, or several of different seeds (with the same anchored factor: a free axis
        of one seed is none of another), all of which move the same cells.
    adata
        Cells to start from.
    axis
        Number or name of an axis, or the name of an anchored factor for its block.
    span
        First and last step of a line.
    at
        Where to start: a cell (its position or name), the cells of a group
        (``{"cell_type": "B cells"}``), or None for the mean over all. Of more than 200 cells,
        200 are drawn.
    n_steps
        Steps of a line or circle.
    gene_sets
        Name to genes: scored at every step by scanpy's ``score_genes`` on the mean curve.
    seed
        Of the choice of cells.

    Returns
    -------
    The record; ``.top()`` for genes, ``bs.pl.traversal`` to look.

    Notes
    -----
    An axis of a joint decoder has no meaning apart from where one starts; compare groups with
    ``at=``. Three standard deviations of the prior may be far outside of where the cells are on
    an axis whose posterior means span less.

    Examples
    --------
    >>> moved = bs.tl.traverse(model, adata, axis=3)
    >>> moved.top(10)
    >>> bs.pl.traversal(moved)
    """
    models = [model] if isinstance(model, BetaSCVI) else list(model)
    _refuse(models, axis, span, n_steps)
    rows, words = _start(adata, at, np.random.default_rng(seed))
    paths = [path_along(one, axis, span, n_steps) for one in models]
    encoded = [encode(one, adata, rows) for one in models]
    curves = np.stack([_curves(e, p) for e, p in zip(encoded, paths, strict=True)])
    if is_of_embedding(models[0]) and gene_sets:
        raise ValueError("gene_sets are scored on counts; this model is of an embedding.")
    mean = curves.mean((0, 2))  # (steps, genes) of (models, steps, cells, genes)
    path, genes = paths[0], encoded[0].genes
    effects = _effects(curves, mean, path, genes, is_logged=not is_of_embedding(models[0]))
    return Traversal(
        path.name, path.kind, path.steps, path.labels, mean, tuple(genes), effects,
        None if gene_sets is None else _scores(mean, genes, gene_sets, seed),
        words, len(rows), len(models),
    )  # fmt: skip


def _refuse(
    models: Sequence[BetaSCVI], axis: int | str, span: tuple[float, float], n_steps: int
) -> None:
    if not models:
        raise ValueError("no model was given.")
    if n_steps < 2:
        raise ValueError(f"n_steps is 2 at least, got {n_steps}.")
    if len(span) != 2 or not np.isfinite(span).all() or span[0] >= span[1]:
        raise ValueError(f"span is a lower and a higher number, got {span!r}.")
    if len(models) > 1 and not all(axis in m.blocks and axis != "free" for m in models):
        raise ValueError(
            f"axis {axis!r} of one seed is not that of another: several models are compared on "
            "the block of an anchored factor, which has the same meaning in all of them."
        )


def _start(
    adata: AnnData, at: int | str | Mapping[str, Any] | None, rng: np.random.Generator
) -> tuple[np.ndarray, str]:
    if at is None:
        fits, words = np.ones(adata.n_obs, dtype=bool), "all cells"
    elif isinstance(at, Mapping):
        fits = np.ones(adata.n_obs, dtype=bool)
        for name, level in at.items():
            if name not in adata.obs:
                raise UnknownFactorError(
                    f"at: {name!r} is no column of adata.obs; there are {list(adata.obs)}."
                )
            fits &= (adata.obs[name].astype(str) == str(level)).to_numpy()
        words = ", ".join(f"{name}={level}" for name, level in at.items())
    else:
        position = int(adata.obs_names.get_indexer([at])[0]) if isinstance(at, str) else int(at)
        if not 0 <= position < adata.n_obs:
            raise UnknownFactorError(f"at: no cell {at!r} among the {adata.n_obs} cells.")
        return np.array([position]), f"cell {adata.obs_names[position]}"
    rows = np.flatnonzero(fits)
    if not len(rows):
        raise ValueError(f"no cell is chosen: at={at!r} fits none of {adata.n_obs}.")
    if len(rows) > _MOST_CELLS:
        rows = np.sort(rng.choice(rows, _MOST_CELLS, replace=False))
    return rows, words


def _curves(encoded: Encoded, path: Path) -> np.ndarray:
    """(steps, cells, genes) expected counts per 10,000."""
    sizes = np.full(len(encoded.mean), 1e4)
    covariates = encoded.cells.covariates
    return np.stack([
        predictive(encoded.model, path.at(encoded.mean, step), sizes, covariates).mean
        for step in range(len(path.steps))
    ])  # fmt: skip


def _effects(
    curves: np.ndarray, mean: np.ndarray, path: Path, genes: Sequence[str], *, is_logged: bool
) -> pd.DataFrame:
    scaled = np.log2(1.0 + np.maximum(curves, 0.0)) if is_logged else curves
    every = np.arange(len(genes))
    if path.kind == "line" or (path.kind == "levels" and path.steps[-1] == 1.0):
        low, high = np.zeros(len(genes), dtype=int), np.full(len(genes), len(path.steps) - 1)
    else:
        low, high = mean.argmin(0), mean.argmax(0)
    effect = scaled[:, high, :, every] - scaled[:, low, :, every]  # (genes, models, cells)
    of_models = effect.mean(2)
    ends = np.quantile(effect.reshape(len(genes), -1), _INTERVAL, axis=1)
    labels = [label or f"{s:.2f}" for label, s in zip(path.labels, path.steps, strict=True)]
    frame = pd.DataFrame(
        {
            "effect": of_models.mean(1), "low": ends[0], "high": ends[1],
            "sd_over_models": of_models.std(1),
            "from": [labels[i] for i in low], "to": [labels[i] for i in high],
        },
        index=pd.Index(genes, name="gene"),
    )  # fmt: skip
    order = np.argsort(-frame["effect"].abs().to_numpy(), kind="stable")
    return frame.iloc[order]


def _scores(
    mean: np.ndarray, genes: Sequence[str], gene_sets: Mapping[str, Sequence[str]], seed: int
) -> pd.DataFrame:
    logged = AnnData(np.log1p(mean), var=pd.DataFrame(index=list(genes)))
    there = set(genes)
    for name, members in gene_sets.items():
        found = [gene for gene in members if gene in there]
        if not found:
            raise UnknownFactorError(
                f"none of the {len(members)} genes of set {name!r} is among the model's genes, "
                f"which are named {list(genes[:3])}."
            )
        sc.tl.score_genes(
            logged, found, score_name=name, random_state=seed, ctrl_size=min(50, len(found))
        )
    return pd.DataFrame(logged.obs[list(gene_sets)].to_numpy(), columns=list(gene_sets))
