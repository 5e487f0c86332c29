"""``tl.traverse``: what happens to expression along an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import isfinite
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from betascvi._whole_numbers import is_whole, refuse_count
from betascvi.model import BetaSCVI
from betascvi.model._cells import is_of_embedding
from betascvi.model._predictive import is_gaussian, output_names, predictive
from betascvi.tl._encoded import Encoded, encode
from betascvi.tl._own_settings import per_10k
from betascvi.tl._traversal_path import Path, paths_along
from betascvi.tl._traversal_sets import members_of, refuse_sets, scores_of
from betascvi.tl._traversal_start import start_of

_INTERVAL = (0.05, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class Traversal:
    """Expression along an axis; draw it with ``bs.pl.traversal``."""

    axis: str
    kind: Literal["line", "levels", "circle"]
    steps: np.ndarray
    """(steps,) prior standard deviations, of a free axis; or values of a numeric factor; places
    between levels 0, 1, 2...; or radians."""
    labels: tuple[str, ...]
    """What stands at each step: the number, the level (empty in between), the angle."""
    expression: np.ndarray
    """(steps, genes) mean over cells of expected counts per 10,000; of a Gaussian model, of
    expected values of the data it was set up on."""
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
    is_factor: bool = False
    """Whether the block of an anchored factor was moved, not a free axis."""
    is_counts: bool = True
    """Whether effects are of log2 counts per 10,000; else differences of expected values."""

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
    over the lowest step of its mean curve. Of a Gaussian model (of an embedding, or with
    ``gene_likelihood="normal"``) it is the difference of the expected values.

    Parameters
    ----------
    model
        A trained model, or several of different seeds (with the same anchored factor: a free axis
        of one seed is none of another), all of which move the same cells to the same levels and
        values: those of the first model.
    adata
        Cells to start from.
    axis
        Number or name of an axis, or the name of an anchored factor for its block.
    span
        First and last step of a line.
    at
        Where to start: a cell (its position, from the end if negative, or name), the cells of a group
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
    refuse_sets(gene_sets)
    rows, words = start_of(adata, at, np.random.default_rng(seed))
    paths = paths_along(models, axis, span, n_steps)
    encoded = [encode(one, adata, rows) for one in models]
    genes, is_counts = _genes_of(encoded), not is_gaussian(models[0])
    sets = None if gene_sets is None else members_of(gene_sets, genes, is_counts=is_counts)
    walks = list(zip(encoded, paths, strict=True))
    mean = np.mean([_mean_curves(one, path) for one, path in walks], axis=0)
    path = paths[0]
    return Traversal(
        path.name, path.kind, path.steps, path.labels, mean, tuple(genes),
        _effects(walks, mean, genes, is_logged=is_counts),
        None if sets is None else scores_of(mean, genes, sets, seed),
        words, len(rows), len(models), path.is_factor, is_counts,
    )  # fmt: skip


def _refuse(
    models: Sequence[BetaSCVI], axis: int | str, span: tuple[float, float], n_steps: int
) -> None:
    if not models:
        raise ValueError("no model was given.")
    if not isinstance(axis, str) and not is_whole(axis):
        raise ValueError(f"axis is a number from 0, or a name, got {axis!r}.")
    refuse_count("n_steps", n_steps, least=2)
    if not _is_span(span):
        raise ValueError(f"span is a lower and a higher number, got {span!r}; try (-3, 3).")
    if len(models) > 1:
        _refuse_together(models, axis)


def _is_span(span: Any) -> bool:
    if not isinstance(span, Sequence | np.ndarray) or isinstance(span, str) or len(span) != 2:
        return False
    is_numbers = all(isinstance(end, Real) and isfinite(end) for end in span)
    return is_numbers and bool(span[0] < span[1])


def _refuse_together(models: Sequence[BetaSCVI], axis: int | str) -> None:
    if not all(axis in m.blocks and axis != "free" for m in models):
        raise ValueError(
            f"axis {axis!r} of one seed is not that of another: several models are compared on "
            "the block of an anchored factor, which has the same meaning in all of them."
        )
    if len({(is_of_embedding(m), is_gaussian(m)) for m in models}) > 1:
        raise ValueError(
            "some of the models are of counts and some Gaussian, so their curves have no mean; "
            "traverse them one by one."
        )


def _genes_of(encoded: Sequence[Encoded]) -> list[str]:
    """Genes that come out, the same in all models."""
    first = _trained_on(encoded[0])
    for position, one in enumerate(encoded):
        names = _trained_on(one)
        if names == first:
            continue
        apart = [pair for pair in zip_longest(first, names) if pair[0] != pair[1]]
        raise ValueError(
            f"the models were trained on other genes: the first has {apart[0][0]!r} where model "
            f"{position} has {apart[0][1]!r} (one of {len(apart)} that differ); give models of "
            "the same genes in the same order."
        )
    return encoded[0].genes


def _trained_on(encoded: Encoded) -> list[str]:
    own = encoded.model.adata
    return encoded.genes if own is None else output_names(encoded.model, own.var_names)


def _mean_curves(encoded: Encoded, path: Path) -> np.ndarray:
    """(steps, genes) mean over cells of expected counts per 10,000, or values of a Gaussian model."""
    return np.stack([_expected(encoded, path, step).mean(0) for step in range(len(path.steps))])


def _expected(encoded: Encoded, path: Path, step: int) -> np.ndarray:
    """(cells, genes) at one step."""
    z = path.at(encoded.mean, step)
    sizes = np.full(len(z), 1e4)
    found = predictive(encoded.model, z, sizes, encoded.cells.covariates)
    return found.mean if found.is_gaussian else per_10k(found.mean)


def _expected_at(encoded: Encoded, path: Path, steps: np.ndarray) -> np.ndarray:
    """(cells, genes) each gene at a step of its own; one step of cells in memory at a time."""
    found = np.empty((len(encoded.mean), len(steps)))
    for step in np.unique(steps):
        genes = steps == step
        found[:, genes] = _expected(encoded, path, step)[:, genes]
    return found


def _ends(path: Path, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(genes,) steps that the effect of each gene is between."""
    n_steps, n_genes = mean.shape
    if path.kind == "line" or (path.kind == "levels" and path.steps[-1] == 1.0):
        return np.zeros(n_genes, dtype=int), np.full(n_genes, n_steps - 1)
    return mean.argmin(0), mean.argmax(0)


def _effects(
    walks: Sequence[tuple[Encoded, Path]],
    mean: np.ndarray,
    genes: Sequence[str],
    *,
    is_logged: bool,
) -> pd.DataFrame:
    path = walks[0][1]
    low, high = _ends(path, mean)

    def scaled(steps: np.ndarray) -> np.ndarray:
        x = np.stack([_expected_at(*walk, steps) for walk in walks], axis=0)
        return np.log2(1.0 + np.maximum(x, 0.0)) if is_logged else x

    effect = (scaled(high) - scaled(low)).transpose(2, 0, 1)  # (genes, models, cells)
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
