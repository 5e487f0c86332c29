"""Settings that were chosen together, by measurement, for one purpose each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from betascvi._whole_numbers import refuse_count
from betascvi.objectives import BetaVAE
from betascvi.schedules import Linear

__all__ = ["Preset", "unsupervised"]


@dataclass(frozen=True, slots=True)
class Preset:
    """Arguments of a model and of its training; each is a mapping to unpack."""

    model: Mapping[str, Any]
    """For ``BetaSCVI(adata, **preset.model)``."""
    train: Mapping[str, Any]
    """For ``model.train(**preset.train)``."""


def unsupervised(n_latent: int = 32) -> Preset:
    """Axes that are gene programs, without labels.

    The additive decoder with sigmoid gates, an encoder of two layers, and a KL weight that grows
    to one over the first half of the training; chosen in decisions 0011, 0020 and 0025, on the
    simulated atlas and two small data sets. Programs take their time: train for some 200 epochs.

    Parameters
    ----------
    n_latent
        Axes to offer. The model leaves those it does not need at their prior;
        ``bs.tl.attribute_genes(model)`` names them.

    Examples
    --------
    >>> preset = bs.presets.unsupervised()
    >>> model = bs.BetaSCVI(adata, **preset.model)
    >>> model.train(**preset.train)
    >>> bs.tl.attribute_genes(model).axes_frame()
    """
    refuse_count("n_latent", n_latent)
    model = {
        "n_latent": n_latent,
        "n_layers": 2,
        "decoder": "additive",
        # the decoder's own 1e-2 scores lower on some hundred cells: decision 0025
        "extra_decoder_kwargs": {"gate": "sigmoid", "learning_rate": 3e-2},
        "objective": BetaVAE(beta=Linear(0.0, 1.0, end=0.5)),
    }
    # scvi-tools' eps of 0.01 is as large as the programs' gradients and halves their steps
    train = {"max_epochs": 200, "plan_kwargs": {"eps": 1e-8}}
    return Preset(MappingProxyType(model), MappingProxyType(train))
