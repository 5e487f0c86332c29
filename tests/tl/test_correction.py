"""Batch correction: by a covariate of the decoder, by axes found, and what each of them says."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import betascvi as bs
from betascvi import BetaSCVI
from betascvi._errors import FactorError, UnknownFactorError
from betascvi.factors import Factor, code_factor
from betascvi.tl._axis_information import axes_that_carry, axis_shares

QUICK: dict[str, Any] = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}
BATCHES = ["b0", "b1", "b2"]


@pytest.fixture(scope="module")
def atlas() -> AnnData:
    from betascvi.datasets import Levels, Sequencing, simulated_atlas

    return simulated_atlas(
        n_cells=400, n_genes=60, seed=0, levels=Levels(n_cell_types=3, n_donors=4),
        sequencing=Sequencing(counts_per_gene=2.0),
    )  # fmt: skip


def fitted(adata: AnnData, **setup: Any) -> BetaSCVI:
    BetaSCVI.setup_anndata(adata, layer="counts", **setup)
    model = BetaSCVI(adata, n_hidden=16, n_latent=4)
    model.train(**QUICK)
    return model


@pytest.fixture(scope="module")
def conditioned(atlas: AnnData) -> BetaSCVI:
    return fitted(atlas.copy(), batch_key="batch")


@pytest.fixture(scope="module")
def undeclared(atlas: AnnData) -> BetaSCVI:
    return fitted(atlas.copy())


def test_expression_at_a_reference_batch_is_the_counterfactual_to_it(
    conditioned: BetaSCVI,
) -> None:
    found = bs.tl.correct_batch(conditioned, conditioned.adata, to="b1").to_anndata()

    moved = bs.tl.counterfactual(conditioned, conditioned.adata, {"batch": "b1"})
    np.testing.assert_array_equal(found.X, moved.to_anndata().X)


def test_expression_is_averaged_over_all_batches_unless_told(conditioned: BetaSCVI) -> None:
    found = bs.tl.correct_batch(conditioned, conditioned.adata)

    z = conditioned.get_latent_representation()
    sizes = np.asarray(conditioned.adata.layers["counts"].sum(1)).ravel()
    np.testing.assert_allclose(
        found.to_anndata().X, conditioned.decode(z, library_size=sizes), rtol=1e-4
    )
    np.testing.assert_array_equal(found.latent, z)
    assert found.via == "covariate"
    assert "conditioned" in str(found)


def test_corrected_expression_no_longer_depends_on_the_batch_a_cell_came_from(
    conditioned: BetaSCVI,
) -> None:
    adata = conditioned.adata.copy()
    renamed = adata.copy()
    renamed.obs["batch"] = pd.Categorical(np.roll(adata.obs["batch"].to_numpy(), 1), BATCHES)

    first, second = (
        bs.tl.correct_batch(conditioned, cells).to_anndata().X for cells in (adata, renamed)
    )

    np.testing.assert_allclose(first, second, rtol=1e-4)


def test_axes_that_carry_an_undeclared_batch_are_found_named_and_held(
    undeclared: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata = undeclared.adata
    z = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    z[:, 2] += 3.0 * adata.obs["batch"].cat.codes.to_numpy()
    z[:, 2] += 2.0 * (adata.obs["condition"] == "stim").to_numpy()
    monkeypatch.setattr(BetaSCVI, "get_latent_representation", lambda *_, **__: z)

    with pytest.warns(UserWarning, match=r"free_3.*condition"):
        found = bs.tl.correct_batch(undeclared, adata)

    assert (found.via, found.dropped) == ("axes", ("free_3",))
    np.testing.assert_array_equal(found.latent, z[:, [0, 1, 3]])
    held = z.copy()
    held[:, 2] = z[:, 2].mean()
    sizes = np.asarray(adata.layers["counts"].sum(1)).ravel()
    np.testing.assert_allclose(
        found.to_anndata().X, undeclared.decode(held, library_size=sizes), rtol=1e-4
    )
    assert found.carried is not None
    assert found.carried.loc["free_3", "batch"] > 0.5
    assert found.shares[1] < 0.05 < found.shares[0]


def test_no_axis_is_dropped_for_a_batch_that_none_tells(
    undeclared: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    z = np.random.default_rng(1).normal(size=(400, 4)).astype(np.float32)
    monkeypatch.setattr(BetaSCVI, "get_latent_representation", lambda *_, **__: z)

    with pytest.warns(UserWarning, match="nothing was left out"):
        found = bs.tl.correct_batch(undeclared, undeclared.adata)

    assert found.dropped == ()
    np.testing.assert_array_equal(found.latent, z)


def test_noise_carries_a_factor_as_often_as_the_false_alarm_rate_says() -> None:
    rng = np.random.default_rng(0)
    labels = pd.Series(rng.integers(0, 4, 300).astype(str))
    coded = code_factor(labels, Factor("batch"))

    alarms = [len(axes_that_carry(rng.normal(size=(300, 5)), coded)) for _ in range(40)]

    assert sum(alarms) <= 1


def test_an_axis_that_is_the_factor_tells_all_of_it() -> None:
    codes = np.repeat([0, 1, 2], 200)
    coded = code_factor(pd.Series(codes.astype(str)), Factor("batch"))

    shares, is_beyond = axis_shares(codes[:, None].astype(float), coded)

    assert shares[0] == pytest.approx(1.0, abs=0.01)
    assert is_beyond[0]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"factor": "bach"}, UnknownFactorError, "did you mean 'batch'"),
        ({"factor": "celltype"}, UnknownFactorError, "did you mean 'cell_type'"),
        ({"factor": "phase_angle"}, FactorError, r"different numbers.*pd\.cut"),
        ({"to": np.array(["b0", "b1"])}, FactorError, r"got 2 values.*counterfactual"),
        ({"to": "b7"}, UnknownFactorError, "has no level 'b7'"),
        ({"to": "free mean"}, FactorError, "covariate of the decoder"),
        ({"store": "sparse"}, ValueError, "nowhere zero"),
        ({"factor": "condition", "to": "stim"}, FactorError, "leave to= out"),
        ({"indices": []}, ValueError, "no cell is chosen"),
    ],
)
def test_bad_input_is_refused(
    conditioned: BetaSCVI, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        bs.tl.correct_batch(conditioned, conditioned.adata, **arguments)


def test_columns_of_the_host_are_not_offered(conditioned: BetaSCVI) -> None:
    with pytest.raises(UnknownFactorError) as raised:
        bs.tl.correct_batch(conditioned, conditioned.adata, factor="scvi_labels")

    assert "_scvi" in " ".join(conditioned.adata.obs)
    assert "_scvi" not in str(raised.value)


def test_a_batch_key_of_another_name_is_offered(atlas: AnnData) -> None:
    adata = atlas.copy()
    adata.obs = adata.obs.rename(columns={"batch": "plate"})
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="plate")

    with pytest.raises(UnknownFactorError, match="batch_key is 'plate'"):
        bs.tl.correct_batch(BetaSCVI(adata, n_hidden=8, n_latent=3), adata)


@pytest.mark.parametrize("alone", [True, False])
def test_an_undeclared_batch_of_whole_numbers_is_read_as_levels(
    undeclared: BetaSCVI, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    adata = undeclared.adata.copy()
    codes = adata.obs["batch"].cat.codes.to_numpy().astype(int)
    adata.obs["plate"] = codes
    if alone:
        adata.obs = adata.obs[[n for n in adata.obs if n == "plate" or n.startswith("_scvi")]]
    z = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    z[:, 2] += 3.0 * codes
    monkeypatch.setattr(BetaSCVI, "get_latent_representation", lambda *_, **__: z)

    with pytest.warns(UserWarning, match="carry it and are left out"):
        found = bs.tl.correct_batch(undeclared, adata, "plate")

    assert found.dropped == ("free_3",)
    assert "nothing was left out" not in str(found)
    assert found.shares is not None
    assert found.shares[1] < 0.05 < 0.5 < found.shares[0]
    assert found.carried is not None
    assert found.carried.columns[0] == "plate"


def test_a_number_that_has_a_handle_is_told_by_its_quarters(
    atlas: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted(atlas.copy(), continuous_covariate_keys=["phase_angle"])
    z = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    z[:, 1] = model.adata.obs["phase_angle"]
    monkeypatch.setattr(BetaSCVI, "get_latent_representation", lambda *_, **__: z)

    found = bs.tl.correct_batch(model, model.adata, "phase_angle")

    assert found.shares is not None
    assert found.shares[0] > 0.5
    assert f"tells at most {found.shares[0]:.0%} of it before" in str(found)


def test_of_one_cell_no_share_is_claimed(conditioned: BetaSCVI) -> None:
    found = bs.tl.correct_batch(conditioned, conditioned.adata, indices=[3])

    assert (found.shares, found.expression) == (None, None)
    assert "not measured" in str(found)


def test_the_record_says_how_well_expression_tells_the_batch_before_and_after(
    atlas: AnnData,
) -> None:
    adata = atlas.copy()
    shifted = np.asarray(adata.layers["counts"].toarray(), dtype=np.float32)
    shifted[(adata.obs["batch"] == "b1").to_numpy(), :20] *= 20
    adata.layers["counts"] = shifted
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    model = BetaSCVI(adata, n_hidden=16, n_latent=4)
    model.train(**{**QUICK, "max_epochs": 20})

    found = bs.tl.correct_batch(model, adata)

    assert found.expression is not None
    before, after, chance = found.expression
    assert before > after
    assert chance == pytest.approx(1 / 3)
    assert "Expected expression" in str(found)


@pytest.fixture(scope="module")
def embedded(atlas: AnnData) -> BetaSCVI:
    adata = atlas.copy()
    adata.obsm["X_given"] = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    BetaSCVI.setup_anndata(adata, obsm_key="X_given", batch_key="batch")
    model = BetaSCVI(adata, n_hidden=16, n_latent=4)
    model.train(**QUICK)
    return model


def test_the_correction_of_an_embedding_is_drawn_as_it_is(embedded: BetaSCVI) -> None:
    corrected = bs.tl.correct_batch(embedded, embedded.adata)

    before, after = bs.pl.correction(corrected)

    assert np.isfinite(before.get_xlim()).all()
    assert before.get_xlim() == after.get_xlim()


def test_one_cell_has_no_components_to_be_drawn_on(conditioned: BetaSCVI) -> None:
    corrected = bs.tl.correct_batch(conditioned, conditioned.adata, indices=[3])

    with pytest.raises(ValueError, match="at least 3 cells"):
        bs.pl.correction(corrected)


def test_levels_that_no_cell_has_are_not_averaged_over(atlas: AnnData) -> None:
    adata = atlas.copy()
    adata.obs["batch"] = adata.obs["batch"].cat.add_categories(["b7", "b8"])

    model = fitted(adata, batch_key="batch")
    found = bs.tl.correct_batch(model, adata)

    assert found.to == "the average of 3 levels"
    assert list(adata.obs["batch"].cat.categories) == [*BATCHES, "b7", "b8"]
    with pytest.raises(UnknownFactorError, match="no training cell has batch='b8'"):
        bs.tl.correct_batch(model, adata, to="b8")


def test_of_more_levels_than_can_be_averaged_over_the_commonest_are(atlas: AnnData) -> None:
    adata = atlas.copy()
    adata.obs["well"] = [f"w{i % 70:02d}" for i in range(200)] + ["w05"] * 200

    found = bs.tl.correct_batch(fitted(adata, batch_key="well"), adata, factor="well")

    assert found.to == "the average of the 64 commonest of 70 levels"
    assert np.isfinite(found.to_anndata().X).all()


def test_a_column_nobody_asked_about_may_mix_types(undeclared: BetaSCVI) -> None:
    adata = undeclared.adata.copy()
    adata.obs["note"] = pd.Series([1, "two"] * 200, index=adata.obs_names, dtype=object)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # which axes it drops is not what is asked here
        found = bs.tl.correct_batch(undeclared, adata, factor="cell_type")

    assert found.carried is not None
    assert "note" in found.carried
