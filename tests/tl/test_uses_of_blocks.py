"""Counterfactuals, correction and traversals of a model with factors anchored in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from anndata import AnnData

import betascvi as bs
from betascvi import BetaSCVI
from betascvi._errors import FactorError, UnknownFactorError

pytestmark = pytest.mark.skipif(
    not hasattr(bs, "Anchor"), reason="this version has no named blocks"
)

QUICK: dict[str, Any] = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}
PHASE = bs.Factor("phase_angle", kind="circular")


@pytest.fixture(scope="module")
def atlas() -> AnnData:
    from betascvi.datasets import Levels, Sequencing, simulated_atlas

    adata = simulated_atlas(
        n_cells=400, n_genes=60, seed=0, levels=Levels(n_cell_types=3, n_donors=4),
        sequencing=Sequencing(counts_per_gene=2.0),
    )  # fmt: skip
    adata.obs["age"] = np.random.default_rng(0).normal(50.0, 10.0, size=400)
    return adata


@pytest.fixture(scope="module")
def model(atlas: AnnData) -> BetaSCVI:
    BetaSCVI.setup_anndata(
        atlas, layer="counts", factor_keys=["condition", "batch", "cell_type", "age", PHASE]
    )
    fitted = BetaSCVI(
        atlas, n_hidden=16, n_latent=3, anchors=["condition", "batch", "age", "phase_angle"]
    )
    fitted.train(**QUICK)
    return fitted


@pytest.mark.parametrize("factor", ["condition", "batch", "age", "phase_angle"])
@pytest.mark.parametrize("output", ["mean", "counts", "carried"])
def test_a_cell_set_to_its_own_value_is_its_reconstruction_exactly(
    model: BetaSCVI, atlas: AnnData, factor: str, output: Any
) -> None:
    changes = {factor: atlas.obs[factor].to_numpy()}

    found = bs.tl.counterfactual(model, atlas, changes, output=output).to_anndata()

    np.testing.assert_array_equal(found.X, found.layers["factual"])


def test_only_the_block_of_the_factor_moves_and_by_the_difference_of_its_anchors(
    model: BetaSCVI, atlas: AnnData
) -> None:
    found = bs.tl.counterfactual(model, atlas, {"condition": "stim"}).to_anndata()

    z = model.get_latent_representation().copy()
    is_control = (atlas.obs["condition"] == "ctrl").to_numpy()
    z[is_control, model.blocks["condition"]] += 2.0  # two levels stand 2 apart, on one axis
    down = model.get_latent_representation().copy()
    down[is_control, model.blocks["condition"]] -= 2.0
    sizes = np.asarray(atlas.layers["counts"].sum(1)).ravel()
    gaps = [np.abs(found.X - model.decode(moved, library_size=sizes)).max() for moved in (z, down)]
    assert min(gaps) < 1e-3


def test_a_batch_is_left_out_of_the_latent_by_its_name(model: BetaSCVI, atlas: AnnData) -> None:
    found = bs.tl.correct_batch(model, atlas)

    np.testing.assert_array_equal(found.latent, model.get_latent_representation(drop=["batch"]))
    assert found.via == "block"
    assert found.dropped == ("batch_1", "batch_2")


def test_the_free_mean_lies_between_all_batches_and_is_the_same_for_all(
    model: BetaSCVI, atlas: AnnData
) -> None:
    found = bs.tl.correct_batch(model, atlas, to="free mean").to_anndata()

    z = model.get_latent_representation().copy()
    moved = bs.tl.traverse(model, atlas, axis="batch", at=0)
    assert moved.labels[0] == "b0"
    assert found.X.shape == (len(z), 60)
    assert np.abs(found.X - found.layers["factual"]).max() > 0


@pytest.mark.parametrize(
    ("axis", "kind"), [("condition", "levels"), ("age", "line"), ("phase_angle", "circle")]
)
def test_blocks_are_traversed_by_the_name_of_their_factor(
    model: BetaSCVI, atlas: AnnData, axis: str, kind: str
) -> None:
    found = bs.tl.traverse([model, model], atlas, axis=axis)

    assert (found.axis, found.kind, found.n_models) == (axis, kind, 2)
    np.testing.assert_allclose(found.effects["sd_over_models"], 0.0, atol=1e-6)


def test_a_factor_that_is_registered_and_not_anchored_has_no_handle(
    model: BetaSCVI, atlas: AnnData
) -> None:
    with pytest.raises(ValueError, match=r"no handle on 'cell_type'.*anchors=\['cell_type'\]"):
        bs.tl.counterfactual(model, atlas, {"cell_type": "type_1"})


def test_a_nested_factor_takes_its_parent_along_and_a_contradiction_is_refused() -> None:
    nested = bs.datasets.simulated_atlas(n_cells=300, n_genes=60, design="nested", seed=0)
    BetaSCVI.setup_anndata(nested, layer="counts", factor_keys=["batch", "donor"])
    model = BetaSCVI(
        nested, n_hidden=16, n_latent=3, anchors=["batch", bs.Anchor("donor", within="batch")]
    )
    model.train(**QUICK | {"max_epochs": 1})
    donor = str(nested.obs["donor"].iloc[0])
    home = str(nested.obs["batch"].iloc[0])
    other = next(b for b in nested.obs["batch"].cat.categories if b != home)

    alone = bs.tl.counterfactual(model, nested, {"donor": donor}).to_anndata()
    both = bs.tl.counterfactual(model, nested, {"donor": donor, "batch": home}).to_anndata()

    np.testing.assert_array_equal(alone.X, both.X)
    with pytest.raises(ValueError, match="contradict"):
        bs.tl.counterfactual(model, nested, {"donor": donor, "batch": other})


def test_a_factor_that_is_a_covariate_too_has_one_code_whatever_the_order_of_its_levels(
    atlas: AnnData,
) -> None:
    adata = atlas.copy()
    order = ["unused", "batch_2", "batch_0", "batch_1"]
    names = dict(zip(sorted(adata.obs["batch"].unique()), order[2:] + order[1:2], strict=False))
    adata.obs["batch"] = adata.obs["batch"].map(names).astype("category").cat.set_categories(order)
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch", factor_keys=["batch"])
    model = BetaSCVI(adata, n_hidden=16, n_latent=3, anchors=["batch"])
    model.train(**QUICK)

    own = bs.tl.counterfactual(model, adata, {"batch": adata.obs["batch"].to_numpy()}).to_anndata()
    moved = bs.tl.counterfactual(model, adata, {"batch": "batch_1"})

    np.testing.assert_array_equal(own.X, own.layers["factual"])
    is_there = (adata.obs["batch"] == "batch_1").to_numpy()
    found = moved.to_anndata()
    np.testing.assert_array_equal(found.X[is_there], found.layers["factual"][is_there])
    assert (np.abs(found.X - found.layers["factual"])[~is_there].max(1) > 0).all()
    assert set(moved.seen["level"]) <= {"batch_1"}
    with pytest.raises(UnknownFactorError, match=r"no training cell has batch='unused'.*batch_1"):
        bs.tl.counterfactual(model, adata, {"batch": "unused"})
    corrected = bs.tl.correct_batch(model, adata)
    assert corrected.to == "the average of 3 levels"
    assert np.isfinite(corrected.to_anndata().X).all()


def test_a_column_that_is_levels_and_a_number_is_refused(atlas: AnnData) -> None:
    adata = atlas.copy()
    adata.obs["lane"] = np.arange(400) % 3 * 10
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="lane", factor_keys=["lane"])

    with pytest.raises(FactorError, match=r"levels to the decoder .* and continuous as a factor"):
        BetaSCVI(adata, anchors=["lane"])


@pytest.mark.parametrize("factor", ["condition", "age"])
def test_cells_that_do_not_say_where_they_start_are_said(
    model: BetaSCVI, atlas: AnnData, factor: str
) -> None:
    new = atlas[:40].copy()
    new.obs[factor] = new.obs[factor].astype(object if factor == "condition" else float)
    new.obs.loc[new.obs_names[:30], factor] = np.nan

    with pytest.warns(UserWarning, match=f"30 of 40 cells have no {factor}; they are taken to"):
        record = bs.tl.counterfactual(model, new, {factor: atlas.obs[factor].iloc[0]})

    assert any("30 of 40 cells" in note for note in record.notes)


@pytest.mark.parametrize("parent_is", ["anchored", "a covariate", "both"])
def test_obs_says_what_went_along_with_a_nested_factor(atlas: AnnData, parent_is: str) -> None:
    adata = atlas.copy()
    adata.obs["donor_of"] = adata.obs["batch"].astype(str) + adata.obs["condition"].astype(str)
    levels = ["unused", *sorted(adata.obs["batch"].unique(), reverse=True)]
    adata.obs["batch"] = adata.obs["batch"].astype("category").cat.set_categories(levels)
    batch_key = None if parent_is == "anchored" else "batch"
    BetaSCVI.setup_anndata(
        adata, layer="counts", batch_key=batch_key, factor_keys=["batch", "donor_of"]
    )
    nested = bs.Anchor("donor_of", within="batch")
    anchors = [nested] if parent_is == "a covariate" else ["batch", nested]
    model = BetaSCVI(adata, n_hidden=8, n_latent=2, anchors=anchors)
    model.train(**QUICK)
    first = adata.obs["batch"].iloc[0]

    found = bs.tl.counterfactual(model, adata, {"donor_of": f"{first}stim"}).to_anndata()

    assert (found.obs["batch"] == first).all()
    assert (found.obs["batch_factual"] == adata.obs["batch"]).all()
