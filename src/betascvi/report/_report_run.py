"""A page for whoever reads the axes: what they tell, the genes they move, cells to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anndata import AnnData

from betascvi.factors import Factor, as_factors
from betascvi.report._held_out import held_out_of, latents_of, scorable, score_held_out
from betascvi.report._page import write_page
from betascvi.report._page_axes import axes_of, not_walked, walks_of
from betascvi.report._page_cells import drawn_cells

if TYPE_CHECKING:
    from betascvi.model import BetaSCVI
    from betascvi.tl import GenePrograms, ScoreTable


def report_of_saved(
    adata: AnnData, model: Path, factors: Sequence[str | Factor], out: Path, *, seed: int = 0
) -> ScoreTable | None:
    """Load a model, score it on the cells that it was not trained on, and write its page.

    Without factors it is read against those it was registered with.
    """
    from betascvi.model import BetaSCVI
    from betascvi.model._handles import labels_registered

    loaded = BetaSCVI.load(str(model), adata)
    factors = factors or [Factor(*known) for known in labels_registered(loaded).items()]
    latents = latents_of(loaded, adata)
    scores = score_held_out(latents, factors, None, seed)
    title = out.stem if model.name == "model" else model.name
    report_into(loaded, adata, latents, factors, out, scores=scores, title=title, seed=seed)
    return scores


def report_into(
    model: BetaSCVI,
    adata: AnnData,
    latents: AnnData,
    factors: Sequence[str | Factor],
    out: Path,
    *,
    scores: ScoreTable | None = None,
    title: str = "betascvi",
    seed: int = 0,
) -> None:
    """Write one self-contained HTML page about a trained model and its cells.

    Parameters
    ----------
    model, adata, latents
        A trained model, the AnnData of its training, and what ``latents_of`` makes of both.
    factors
        Columns of ``obs`` that the axes are read against.
    out
        The file; one that is there is replaced.
    scores
        Scores of the axes on cells that were not trained on.
    title
        What the page is called.
    seed
        Of the cells that are drawn and moved.
    """
    from betascvi import tl

    named = as_factors(factors)
    programs = tl.attribute_genes(model, seed=seed)
    held_out = held_out_of(latents)
    read, which = (latents, "") if held_out is None else (held_out, " that were not trained on")
    data = {
        "title": title,
        "facts": list(_facts(model, adata, programs)),
        "notes": list(_notes(model, latents, named, programs)),
        "read_on": f"{read.n_obs:,} cells{which}",
        "factors": [factor.name for factor in named],
        "axes": axes_of(model, programs, read, named),
        "walks": walks_of(model, adata, programs, latents, seed),
        "cells": drawn_cells(adata, latents, named, seed),
        "scores": _score_rows(scores),
    }
    write_page(data, _training_svg(model), out)


def _facts(model: BetaSCVI, adata: AnnData, programs: GenePrograms) -> Iterator[tuple[str, str]]:
    from betascvi import __version__
    from betascvi.tl._own_settings import argument_of, is_embedding

    alive = int((~programs.is_vanished).sum())
    yield "cells", f"{adata.n_obs:,}"
    yield "genes", f"{len(programs.genes):,}"
    yield "axes", f"{len(programs.axes)}, {alive} of them alive"
    yield "blocks", ", ".join(name for name in model.blocks if name != "free") or "none"
    yield "objective", str(argument_of(model, "objective"))
    of_pca = "normal, of an embedding" if is_embedding(model) else None
    yield "likelihood", of_pca or str(argument_of(model, "gene_likelihood"))
    if model.history:
        yield "epochs", str(max(len(column) for column in model.history.values()))
    yield "betascvi", __version__


def _notes(
    model: BetaSCVI, latents: AnnData, factors: Sequence[Factor], programs: GenePrograms
) -> Iterator[str]:
    """What a reader should know before believing an axis."""
    from betascvi import tl

    if len(factors) > 1:
        pairs = tl.overlap(latents, factors).pairs
        yield from (pair.words for pair in pairs if not pair.relation.is_identifiable)
    if programs.vanished:
        yield f"Axes that carry nothing: {', '.join(programs.vanished)}."
    yield from (f"{pair}." for pair in programs.duplicates)
    for name in not_walked(model):
        yield f"{name} has too many levels to walk through here; bs.tl.traverse does it."
    held_out = held_out_of(latents)
    scored = factors if held_out is None else scorable(held_out, factors)
    for factor in factors:
        if factor not in scored:
            yield f"The cells that were not trained on do not differ in {factor.name}: not scored."
    if held_out is None:
        yield "Which cells the model was trained on is not known, or all of them: nothing is scored."
    if not factors:
        yield "No factor was named, so that axes are described by their genes alone."


def _score_rows(scores: ScoreTable | None) -> list[dict[str, Any]]:
    """One row a figure and factor, as the page's table takes them."""
    if scores is None:
        return []
    frame = scores.to_frame()
    shown = frame[(frame["given"] == "") & frame["value"].notna()]
    kept = ["metric", "part", "factor", "value", "low", "high", "null_mean", "null_high"]
    rows = shown[kept].astype(object).where(shown[kept].notna(), None)
    return [{str(k): v for k, v in row.items()} for row in rows.to_dict("records")]


def _training_svg(model: BetaSCVI) -> str:
    """The course of training as a picture; empty where there is no history."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    from betascvi import pl

    if not model.history:
        return ""
    figure = pl.training(model)[0].figure
    text = StringIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "betascvi"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
