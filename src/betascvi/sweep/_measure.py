"""One trained model as one row of a sweep's table."""

from __future__ import annotations

from typing import Any

import numpy as np
from anndata import AnnData

from betascvi._errors import UndefinedScoreError
from betascvi._random_state import seeded
from betascvi.data import FACTORS_KEY
from betascvi.factors import Factor, code_factor, tells_cells_apart
from betascvi.model import BetaSCVI
from betascvi.sweep._spec import RunSpec
from betascvi.tl import Budget, diagnose, score_disentanglement

_N_DRAWS = 5
_NO_NULLS = Budget(n_null=0, n_resamples=0, n_null_fitted=0, n_resamples_fitted=0)
_KEY = "sweep"


def measure(model: BetaSCVI, spec: RunSpec) -> dict[str, Any]:
    """Rate, distortion, bounds, what ``tl.diagnose`` says, and metrics of registered factors."""
    held_out = np.asarray(model.validation_indices)
    elbo_train, distortion_train = bounds(model, np.asarray(model.train_indices))
    elbo, distortion = bounds(model, held_out) if len(held_out) else (elbo_train, distortion_train)
    diagnosis = diagnose(model)
    return {
        "rate": -elbo - distortion,
        "distortion": distortion,
        "elbo": elbo,
        "elbo_train": elbo_train,
        "gap": elbo_train - elbo if len(held_out) else float("nan"),
        "information": diagnosis.identity.information,
        "overlap": diagnosis.identity.overlap,
        "n_active": diagnosis.n_active,
        "n_axes": len(diagnosis.axes.names),
        "regime": diagnosis.regime,
        "problems": "; ".join(diagnosis.problems),
        "gain_over_gene_means": (diagnosis.held_out or diagnosis.train).gain,
        "realised_beta": diagnosis.weights.get("realised_beta", diagnosis.weights.get("kl")),
        "n_epochs": len(model.history["train_loss"]),
        **scores(model, spec),
    }


def bounds(model: BetaSCVI, cells: np.ndarray) -> tuple[float, float]:
    """ELBO and distortion in nats per cell, on the same posterior draws."""
    elbo, distortion = [], []
    for draw in range(_N_DRAWS):
        with seeded(draw):
            elbo.append(float(model.get_elbo(indices=cells)))
        with seeded(draw):
            error = model.get_reconstruction_error(indices=cells)["reconstruction_loss"]
        distortion.append(float(error))
    return float(np.mean(elbo)), float(np.mean(distortion))


def scores(model: BetaSCVI, spec: RunSpec) -> dict[str, Any]:
    """Headline figure of each metric over all registered factors; nothing without factors."""
    factors = registered_factors(model)
    if not factors or not spec.settings["metrics"]:
        return {}
    cells = np.arange(model.adata.n_obs)
    if spec.settings["score_on"] == "held_out" and len(model.validation_indices):
        cells = np.sort(model.validation_indices)
    z = model.get_latent_representation(indices=cells.tolist())
    scored = AnnData(obs=model.adata.obs.iloc[cells].copy(), obsm={_KEY: z})
    found: dict[str, Any] = {"n_scored": len(cells)}
    told = [f for f in factors if tells_cells_apart(code_factor(scored.obs[f.name], f))]
    if len(told) < len(factors):
        found["not_scored"] = ", ".join(f.name for f in factors if f not in told)
    if not told:
        return found
    for metric in spec.settings["metrics"]:
        try:
            frame = score_disentanglement(
                scored, _KEY, told, metrics=[metric], budget=_NO_NULLS
            ).to_frame()
        except UndefinedScoreError as error:
            found[f"{metric}_undefined"] = str(error)
            continue
        is_headline = (frame["factor"] == "all") & (frame["metric"] == metric)
        found[metric] = float(frame.loc[is_headline, "value"].iloc[0])
    return found


def registered_factors(model: BetaSCVI) -> list[Factor]:
    """Factors named in ``setup_anndata``."""
    field = model.registry["field_registries"].get(FACTORS_KEY) or {}
    state = field.get("state_registry") or {}
    names, kinds = state.get("names", ()), state.get("kinds", ())
    return [Factor(name, kind) for name, kind in zip(names, kinds, strict=True)]
