"""Presets: arguments that the model takes, and axes that carry something."""

from __future__ import annotations

from inspect import signature

import pytest
from anndata import AnnData

import betascvi as bs


def test_a_preset_names_arguments_that_model_and_training_have() -> None:
    preset = bs.presets.unsupervised()

    assert set(preset.model) <= set(signature(bs.BetaSCVI.__init__).parameters)
    assert set(preset.train) <= set(signature(bs.BetaSCVI.train).parameters)


def test_a_preset_cannot_be_changed_by_who_holds_it() -> None:
    preset = bs.presets.unsupervised()

    with pytest.raises(TypeError):
        preset.model["n_latent"] = 2  # type: ignore[index]


def test_no_axes_are_refused() -> None:
    with pytest.raises(ValueError, match="n_latent"):
        bs.presets.unsupervised(0)


def test_it_trains_to_axes_that_move_genes(tiny_adata: AnnData) -> None:
    bs.BetaSCVI.setup_anndata(tiny_adata, layer="counts")
    preset = bs.presets.unsupervised(n_latent=6)
    model = bs.BetaSCVI(tiny_adata, **preset.model)

    model.train(**{**preset.train, "max_epochs": 40}, accelerator="cpu", enable_progress_bar=False)

    programs = bs.tl.attribute_genes(model)
    assert programs.is_exact
    assert len(programs.vanished) < 6
    assert model.history["kl_weight"].iloc[-1, 0] == pytest.approx(1.0)


def test_the_programs_of_the_preset_learn_faster_than_its_network(tiny_adata: AnnData) -> None:
    bs.BetaSCVI.setup_anndata(tiny_adata, layer="counts")
    model = bs.BetaSCVI(tiny_adata, **bs.presets.unsupervised(n_latent=3).model)

    parameters, rate = model.module.decoder.own_rates()

    assert rate == pytest.approx(3e-2)
    assert model.module.decoder.pool.profiles is parameters[-1]
