"""Genes of axes: read off an additive decoder exactly, decoded from a joint one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData

import betascvi as bs
from betascvi._errors import TrainingError

QUICK: dict[str, Any] = {
    "max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "batch_size": 100,
}  # fmt: skip
COVARIATES: dict[str, Any] = {
    "batch_key": "batch",
    "categorical_covariate_keys": ["condition"],
    "continuous_covariate_keys": ["phase_angle"],
}


def model_of(adata: AnnData, **arguments: Any) -> bs.BetaSCVI:
    bs.BetaSCVI.setup_anndata(adata, layer="counts", **arguments.pop("setup", {}))
    model = bs.BetaSCVI(adata, **{"n_latent": 4, "n_hidden": 16, **arguments})
    model.train(**QUICK)
    return model


@pytest.fixture
def additive(tiny_adata: AnnData) -> bs.BetaSCVI:
    """Axis 1 raises genes 0-9 as it rises, 10-19 as it falls; axis 2 is dead."""
    model = model_of(tiny_adata, setup=COVARIATES, decoder="additive")
    pool = model.module.decoder.pool
    with torch.no_grad():
        pool.profiles[0].fill_(-3.0)
        pool.profiles[0, 0, :10] = 5.0
        pool.profiles[0, 1, 10:20] = 4.0
        pool.profiles[1].fill_(-20.0)
    return model


def test_planted_programs_are_read_by_direction(additive: bs.BetaSCVI) -> None:
    programs = bs.tl.attribute_genes(additive)

    assert programs.is_exact
    frame = programs.to_frame(10)
    found = frame[frame["axis"] == "free_1"].groupby("direction")["gene"].agg(set)
    names = list(additive.adata.var_names)
    rises = programs.effects[0, 1, :10].min() > programs.effects[0, 1, 20:].max()
    assert rises
    assert found["+"] >= set(names[:5])
    assert programs.explained[1] < 1e-3
    assert "free_2" in programs.vanished


def test_exact_effects_are_changes_of_decoded_expression(additive: bs.BetaSCVI) -> None:
    """But for covariates: those of a cell move the share that is the whole, a little."""
    programs = bs.tl.attribute_genes(additive, span=1.5)
    z = np.zeros((2, 4), dtype=np.float32)
    z[1, 2] = 1.5

    covariates = {"batch": "batch_0", "condition": "ctrl", "phase_angle": 1.0}
    levels = {k: additive.adata.obs[k].iloc[0] for k in ("batch", "condition")}
    decoded = np.log(additive.decode(z, {**covariates, **levels}).astype(float))

    change = decoded[1] - decoded[0]
    offset = change - programs.effects[2, 1]
    np.testing.assert_allclose(offset, offset.mean(), atol=1e-3)
    assert abs(offset.mean()) < 0.05
    shares = np.exp(programs.effects[2, 1]) * np.exp(_log_profile_of(additive))
    assert shares.sum() == pytest.approx(1.0, rel=1e-4)  # what some genes gain others lose


def _log_profile_of(model: bs.BetaSCVI) -> np.ndarray:
    """(genes,) log shares at the origin."""
    with torch.no_grad():
        decoder = model.module.decoder
        rates = decoder.shift.log_profile + decoder.pool(torch.zeros(1, 4))[0]
    return rates.double().log_softmax(-1).numpy()


@pytest.mark.parametrize("seed", [0, 2])
def test_the_kl_of_an_anchored_axis_is_to_its_own_prior(tiny_adata: AnnData, seed: int) -> None:
    model = model_of(
        tiny_adata, setup={"factor_keys": ["condition"]}, anchors=["condition"], n_latent=2
    )
    with torch.no_grad():  # all cells at the origin, unit variance: far from either anchor's prior
        head = model.module.z_encoder.mean_encoder
        head.weight.zero_()
        head.bias.zero_()

    programs = bs.tl.attribute_genes(model, seed=seed)

    assert programs.kl[model.blocks["condition"]].max() > 1.0
    assert programs.kl[model.blocks["free"]].max() < 1.0


def test_what_a_setting_cannot_be_is_refused_in_words(additive: bs.BetaSCVI) -> None:
    with pytest.raises(ValueError, match="n_cells is a whole number from 2 up, got 0"):
        bs.tl.attribute_genes(additive, n_cells=0)
    with pytest.raises(ValueError, match=r"span is a positive number .* got '2'"):
        bs.tl.attribute_genes(additive, span="2")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="reads a BetaSCVI model, got ndarray"):
        bs.tl.attribute_genes(np.zeros(3))  # type: ignore[arg-type]
    programs = bs.tl.attribute_genes(additive)
    with pytest.raises(ValueError, match=r"direction is '-', '\+' or None .*got 'x'"):
        programs.program("free_1", "x")
    with pytest.raises(ValueError, match="n_genes is a whole number"):
        programs.to_frame(-1)


def test_what_an_axis_does_grows_with_the_span(additive: bs.BetaSCVI) -> None:
    small, large = (bs.tl.attribute_genes(additive, span=s).effects[0] for s in (1.0, 3.0))

    assert (np.abs(large).max(1) > np.abs(small).max(1)).all()


def test_a_joint_decoder_is_decoded_around_the_origin(tiny_adata: AnnData) -> None:
    model = model_of(tiny_adata, setup=COVARIATES)

    programs = bs.tl.attribute_genes(model, n_cells=50)

    assert not programs.is_exact
    assert programs.effects.shape == (4, 2, tiny_adata.n_vars)
    assert np.isfinite(programs.effects).all()
    assert (programs.explained >= 0).all()


def test_a_model_of_a_pca_moves_what_its_loadings_decode_to(tiny_adata: AnnData) -> None:
    rng = np.random.default_rng(0)
    tiny_adata.obsm["X_pca"] = rng.normal(size=(tiny_adata.n_obs, 6)).astype(np.float32)
    bs.BetaSCVI.setup_anndata(tiny_adata, obsm_key="X_pca")
    model = bs.BetaSCVI(tiny_adata, n_latent=2, n_hidden=16, decoder="additive")
    model.train(**QUICK)

    programs = bs.tl.attribute_genes(model)

    assert not programs.is_exact
    assert programs.genes == tuple(f"dimension_{i + 1}" for i in range(6))


def test_an_untrained_model_and_a_bad_span_are_refused(tiny_adata: AnnData) -> None:
    bs.BetaSCVI.setup_anndata(tiny_adata, layer="counts")
    model = bs.BetaSCVI(tiny_adata, n_latent=2, n_hidden=8)
    with pytest.raises(TrainingError, match="train"):
        bs.tl.attribute_genes(model)

    model.is_trained_ = True
    with pytest.raises(ValueError, match="span"):
        bs.tl.attribute_genes(model, span=-1.0)


def test_markers_of_an_axis_are_what_tells_the_cells_it_is_on_in(
    additive: bs.BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cells far out on the third axis are those with many counts of the last ten genes."""
    counts = additive.adata.layers["counts"].toarray()
    share = counts[:, -10:].sum(1) / counts.sum(1)
    z = np.zeros((len(counts), 4), dtype=np.float32)
    z[:, 2] = np.where(share > np.median(share), 3.0, 0.0)
    real = type(additive).get_latent_representation

    def placed(model: Any, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        if kwargs.get("return_dist"):
            return real(model, *args, indices=indices, **kwargs)
        return z[indices]

    monkeypatch.setattr(type(additive), "get_latent_representation", placed)

    programs = bs.tl.attribute_genes(additive, by="cells")

    rows = np.sort(additive.train_indices)
    is_on = z[rows, 2] > 0
    per_10k = 1e4 * counts[rows] / counts[rows].sum(1, keepdims=True)
    expected = np.log(per_10k[is_on].mean(0) + 0.1) - np.log(per_10k[~is_on].mean(0) + 0.1)
    np.testing.assert_allclose(programs.effects[2, 1], expected, atol=1e-5)
    np.testing.assert_allclose(programs.effects[2, 0], -expected, atol=1e-5)  # the other end
    assert (programs.effects[0] == 0).all()
    assert programs.by == "cells"
    assert not programs.is_exact


def test_markers_without_counts_are_refused(tiny_adata: AnnData, additive: bs.BetaSCVI) -> None:
    with pytest.raises(ValueError, match="by is 'decoder' or 'cells', got 'genes'"):
        bs.tl.attribute_genes(additive, by="genes")  # type: ignore[arg-type]
    tiny_adata.obsm["X_pca"] = np.random.default_rng(0).normal(size=(tiny_adata.n_obs, 5))
    bs.BetaSCVI.setup_anndata(tiny_adata, obsm_key="X_pca")
    of_embedding = bs.BetaSCVI(tiny_adata, n_latent=3, n_hidden=8)
    of_embedding.train(**QUICK)
    bs.BetaSCVI.setup_anndata(tiny_adata, layer="counts")
    gaussian = bs.BetaSCVI(tiny_adata, n_latent=3, n_hidden=8, gene_likelihood="normal")
    gaussian.train(**QUICK)
    for model in (of_embedding, gaussian):
        with pytest.raises(ValueError, match="its likelihood is a Gaussian"):
            bs.tl.attribute_genes(model, by="cells")


def test_a_model_loaded_with_other_cells_reads_those(additive: bs.BetaSCVI, tmp_path: Path) -> None:
    additive.save(tmp_path / "model")
    few = additive.adata[:30].copy()
    loaded = bs.BetaSCVI.load(tmp_path / "model", adata=few)

    for by in ("decoder", "cells"):
        assert np.isfinite(bs.tl.attribute_genes(loaded, by=by).effects).all()


def test_a_gaussian_of_counts_has_programs_without_a_logarithm(tiny_adata: AnnData) -> None:
    tiny_adata.layers["centred"] = np.log1p(tiny_adata.layers["counts"].toarray()).round()
    bs.BetaSCVI.setup_anndata(tiny_adata, layer="centred")
    model = bs.BetaSCVI(tiny_adata, n_latent=3, n_hidden=8, gene_likelihood="normal")
    model.train(max_epochs=2, accelerator="cpu", enable_progress_bar=False)

    found = bs.tl.attribute_genes(model)

    assert np.isfinite(found.effects).all()
    assert np.isfinite(found.explained).all()
