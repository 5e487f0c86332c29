"""One fit from AnnData to a folder: latents, model, scores, figure."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anndata import AnnData

from betascvi._written_whole import Folder
from betascvi.factors import Factor
from betascvi.report._figure import draw_axes
from betascvi.report._held_out import latents_of, score_held_out
from betascvi.report._report_run import report_into

if TYPE_CHECKING:
    from betascvi.model import BetaSCVI
    from betascvi.tl import Budget, ScoreTable


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What a fit needs to know beside the cells."""

    layer: str | None = None
    batch_key: str | None = None
    factors: Sequence[str | Factor] = ()
    n_latent: int = 10
    objective: str = "beta_vae"
    beta: float | None = None
    max_epochs: int | None = None
    seed: int = 0
    budget: Budget | None = None
    """Permutations and resamples behind the scores."""


def fit_into(
    adata: AnnData, settings: FitSettings, out: Path, *, overwrite: bool = False
) -> ScoreTable | None:
    """Fit, embed, score on cells that were not trained on, and write all of it into ``out``.

    Writes ``latents.h5ad`` (obs, latent, names of the axes), ``model/``, ``scores.csv``,
    ``axes.png``, ``report.html`` and ``settings.json``. Returns the scores; None where no factor
    was named.
    """
    place = Folder(out, overwrite, ("settings.json",), "folder of a fit", "--overwrite")
    with place.written_whole() as folder:
        model = _fit(adata, settings)
        latents = latents_of(model, adata)
        scores = score_held_out(latents, settings.factors, settings.budget, settings.seed)
        latents.write_h5ad(folder / "latents.h5ad")
        model.save(str(folder / "model"))
        if scores is not None:
            scores.to_frame().to_csv(folder / "scores.csv", index=False)
        draw_axes(latents, settings.factors).savefig(folder / "axes.png", dpi=150)
        report_into(
            model, adata, latents, settings.factors, folder / "report.html",
            scores=scores, title=out.name, seed=settings.seed,
        )  # fmt: skip
        (folder / "settings.json").write_text(_as_json(settings))
    return scores


def _fit(adata: AnnData, settings: FitSettings) -> BetaSCVI:
    import scvi

    from betascvi.model import BetaSCVI
    from betascvi.objectives import resolve, with_beta

    for chatty in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    scvi.settings.seed = settings.seed
    BetaSCVI.setup_anndata(
        adata,
        layer=settings.layer,
        batch_key=settings.batch_key,
        factor_keys=list(settings.factors),
    )
    objective = resolve(settings.objective)
    if settings.beta is not None:
        objective = with_beta(objective, settings.beta)
    model = BetaSCVI(adata, n_latent=settings.n_latent, objective=objective)
    model.train(max_epochs=settings.max_epochs)
    return model


def _as_json(settings: FitSettings) -> str:
    from betascvi import __version__

    return json.dumps({"betascvi": __version__, **asdict(settings)}, indent=2, default=str)
