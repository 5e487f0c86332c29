"""The additive decoder with one ingredient changed at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from anndata import AnnData

from benchmarks._unsupervised_methods import Embed, Embedded, ours
from betascvi.model import BetaSCVI
from betascvi.objectives import LVAE, BetaTCVAE, BetaVAE
from betascvi.schedules import Linear

_RISE = Linear(0.0, 1.0, end=0.5)
BASE = "softplus gates"


@dataclass(frozen=True)
class Variant:
    """What differs from the preset."""

    model: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    before: Callable[[BetaSCVI], None] | None = None
    """Done to the model before it trains."""


def _decoder(**options: Any) -> Variant:
    return Variant({"extra_decoder_kwargs": {"gate": "softplus", **options}})


def _objective(objective: Any) -> Variant:
    return Variant({**_decoder().model, "objective": objective})


def _schedule(start: float, stop: float, end: float = 0.5) -> Variant:
    return _objective(BetaVAE(beta=Linear(start, stop, end=end)))


@torch.no_grad()
def _flat_profile(model: BetaSCVI) -> None:
    model.module.decoder.shift.log_profile.zero_()


VARIANTS: dict[str, Variant] = {
    BASE: _decoder(),
    "sigmoid gates": Variant({"extra_decoder_kwargs": {"gate": "sigmoid"}}),
    "sigmoid gates, W at 3e-2 (the preset)": Variant(),
    # what the decoder is
    "joint decoder": Variant({"decoder": "joint", "extra_decoder_kwargs": None}),
    "logits add": _decoder(pooling="logit"),
    "one profile an axis": _decoder(n_profiles=1),
    "four profiles an axis": _decoder(n_profiles=4),
    # what makes it train
    "W at 1e-3": _decoder(learning_rate=1e-3),
    "W at 3e-2": _decoder(learning_rate=3e-2),
    "eps 0.01": Variant(_decoder().model, {"plan_kwargs": {"eps": 1e-2}}),
    "starts at equal genes": Variant(_decoder().model, before=_flat_profile),
    "spread 0.1": _decoder(spread=0.1),
    "spread 1": _decoder(spread=1.0),
    "KL at once": _objective(BetaVAE()),
    "KL over all epochs": _schedule(0.0, 1.0, end=1.0),
    "one encoder layer": Variant({**_decoder().model, "n_layers": 1}),
    # what it is asked for
    "beta 0.5": _schedule(0.0, 0.5),
    "beta 2": _schedule(0.0, 2.0),
    "TC 2": _objective(BetaTCVAE(beta=Linear(0.0, 2.0, end=0.5), alpha=_RISE, gamma=_RISE)),
    "TC 4": _objective(BetaTCVAE(beta=Linear(0.0, 4.0, end=0.5), alpha=_RISE, gamma=_RISE)),
    "a sigma an axis": _objective(LVAE(per_axis=True)),
    "free bits 0.05": _objective(BetaVAE(beta=_RISE, free_bits=0.05)),
}


def _fit(variant: Variant, adata: AnnData, seed: int, epochs: int) -> Embedded:
    return ours(adata, seed, epochs, variant.train, variant.before, **variant.model)


def embed(name: str) -> Embed:
    """The variant as a method of the unsupervised benchmark."""
    return partial(_fit, VARIANTS[name])


def paired(wide: Any, score: str, rng: np.random.Generator) -> Any:
    """Each variant less the base, over data sets and seeds, with a bootstrapped interval."""
    import pandas as pd

    rows = []
    for name in wide:
        gap = (wide[name] - wide[BASE]).dropna().to_numpy()
        if name == BASE or not len(gap):
            continue
        draws = rng.choice(gap, (2000, len(gap))).mean(1)
        low, high = np.quantile(draws, [0.025, 0.975])
        rows.append({"variant": name, "score": score, "pairs": len(gap),
                     "difference": gap.mean(), "low": low, "high": high})  # fmt: skip
    return pd.DataFrame(rows)
