"""Counterfactuals by decoder covariates: identities, pairs of draws, stores, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

import betascvi as bs
from betascvi import BetaSCVI
from betascvi._errors import FactorError, TrainingError, UnknownFactorError
from betascvi.tl._encoded import encode

QUICK: dict[str, Any] = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}
STIM = {"condition": "stim"}


@pytest.fixture(scope="module")
def atlas() -> AnnData:
    from betascvi.datasets import Levels, Sequencing, simulated_atlas

    adata = simulated_atlas(
        n_cells=400, n_genes=60, seed=0, levels=Levels(n_cell_types=3, n_donors=4),
        sequencing=Sequencing(counts_per_gene=2.0),
    )  # fmt: skip
    adata.obs["age"] = np.random.default_rng(0).normal(size=400)
    return adata


@pytest.fixture(scope="module")
def model(atlas: AnnData) -> BetaSCVI:
    """Conditioned on the batch, the condition and an age; cell types are registered labels."""
    BetaSCVI.setup_anndata(
        atlas, layer="counts", batch_key="batch", categorical_covariate_keys=["condition"],
        continuous_covariate_keys=["age"], factor_keys=["cell_type"],
    )  # fmt: skip
    fitted = BetaSCVI(atlas, n_hidden=16, n_latent=4)
    fitted.train(**QUICK)
    return fitted


@pytest.fixture
def own(model: BetaSCVI, atlas: AnnData) -> np.ndarray:
    """The reconstruction, by the model's own decode."""
    covariates = {name: atlas.obs[name].to_numpy() for name in ("batch", "condition", "age")}
    sizes = np.asarray(atlas.layers["counts"].sum(1)).ravel()
    return model.decode(model.get_latent_representation(), covariates, library_size=sizes)


@pytest.mark.parametrize("factor", ["batch", "condition", "age"])
def test_a_counterfactual_to_each_cell_s_own_value_is_its_reconstruction_exactly(
    model: BetaSCVI, atlas: AnnData, own: np.ndarray, factor: str
) -> None:
    changes = {factor: atlas.obs[factor].to_numpy()}

    found = bs.tl.counterfactual(model, atlas, changes).to_anndata()

    np.testing.assert_array_equal(found.X, found.layers["factual"])
    np.testing.assert_allclose(found.X, own, rtol=1e-5)


def test_cells_that_are_at_the_target_already_stay_and_others_move(
    model: BetaSCVI, atlas: AnnData
) -> None:
    is_stim = (atlas.obs["condition"] == "stim").to_numpy()

    found = bs.tl.counterfactual(model, atlas, STIM).to_anndata()

    moved = np.abs(found.X - found.layers["factual"]).max(1)
    assert (moved[is_stim] == 0).all()
    assert (moved[~is_stim] > 0).all()


def test_the_library_size_of_every_cell_stays(model: BetaSCVI, atlas: AnnData) -> None:
    found = bs.tl.counterfactual(model, atlas, {**STIM, "batch": "b0"}).to_anndata()

    sizes = np.asarray(atlas.layers["counts"].sum(1)).ravel()
    np.testing.assert_allclose(found.X.sum(1), sizes, rtol=1e-4)
    np.testing.assert_allclose(found.layers["factual"].sum(1), sizes, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:.*end up farther")  # three cells, trained for three epochs
def test_several_factors_change_at_once_as_decode_would_have_it(
    model: BetaSCVI, atlas: AnnData
) -> None:
    changes = {"condition": "stim", "batch": "b1", "age": 0.5}

    found = bs.tl.counterfactual(model, atlas, changes, indices=[3, 5, 8]).to_anndata()

    z = model.get_latent_representation()[[3, 5, 8]]
    sizes = np.asarray(atlas.layers["counts"].sum(1)).ravel()[[3, 5, 8]]
    np.testing.assert_allclose(found.X, model.decode(z, changes, library_size=sizes), rtol=1e-5)


def test_a_mixture_is_the_weighted_mean_of_its_levels(model: BetaSCVI, atlas: AnnData) -> None:
    control, stim, mixed = (
        bs.tl.counterfactual(model, atlas, {"condition": target}).to_anndata().X
        for target in ("ctrl", "stim", {"ctrl": 1, "stim": 3})
    )

    np.testing.assert_allclose(mixed, 0.25 * control + 0.75 * stim, rtol=1e-5)


def test_the_same_call_gives_the_same_numbers_and_leaves_global_randomness_alone(
    model: BetaSCVI, atlas: AnnData
) -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002 (what must not move)

    first, second = (
        bs.tl.counterfactual(model, atlas, STIM, output="counts", n_samples=2, seed=5).to_anndata()
        for _ in range(2)
    )

    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(first.layers["sample_2"], second.layers["sample_2"])
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_drawn_counts_of_cells_at_their_own_level_are_those_drawn_of_the_reconstruction(
    model: BetaSCVI, atlas: AnnData
) -> None:
    changes = {"condition": atlas.obs["condition"].to_numpy()}

    found = bs.tl.counterfactual(model, atlas, changes, output="counts").to_anndata()

    np.testing.assert_array_equal(found.X, found.layers["factual"])
    np.testing.assert_array_equal(found.X, np.round(found.X))
    assert (found.X >= 0).all()


def test_counts_carried_over_stay_where_nothing_changes_and_start_from_what_was_counted(
    model: BetaSCVI, atlas: AnnData
) -> None:
    is_stim = (atlas.obs["condition"] == "stim").to_numpy()
    observed = atlas.layers["counts"].toarray()

    found = bs.tl.counterfactual(
        model, atlas, STIM, output="carried", store=bs.tl.Store(chunk_size=150)
    ).to_anndata()

    np.testing.assert_array_equal(found.layers["factual"], observed)
    np.testing.assert_array_equal(found.X[is_stim], observed[is_stim])
    assert (found.X[~is_stim] != observed[~is_stim]).any(1).mean() > 0.9


def test_cells_in_any_order_carry_their_own_counts(model: BetaSCVI, atlas: AnnData) -> None:
    rows = [7, 3, 120]

    found = bs.tl.counterfactual(model, atlas, STIM, rows, output="carried").to_anndata()

    np.testing.assert_array_equal(found.layers["factual"], atlas.layers["counts"][rows].toarray())


def test_counts_of_a_zero_inflated_likelihood_are_not_carried(atlas: AnnData) -> None:
    adata = atlas.copy()
    BetaSCVI.setup_anndata(adata, layer="counts", categorical_covariate_keys=["condition"])
    inflated = BetaSCVI(adata, n_hidden=8, n_latent=3, gene_likelihood="zinb")
    inflated.train(**QUICK | {"max_epochs": 1})

    with pytest.raises(ValueError, match="this model's is 'zinb'"):
        bs.tl.counterfactual(inflated, adata, STIM, output="carried")


def test_posterior_draws_surround_their_mean(model: BetaSCVI, atlas: AnnData) -> None:
    found = bs.tl.counterfactual(model, atlas, STIM, n_samples=8).to_anndata()

    assert (found.layers["low"] <= found.layers["high"]).all()
    inside = (found.layers["low"] <= found.X) & (found.layers["high"] >= found.X)
    assert inside.mean() > 0.95
    is_stim = (atlas.obs["condition"] == "stim").to_numpy()
    np.testing.assert_array_equal(found.X[is_stim], found.layers["factual"][is_stim])


def test_obs_says_what_was_asked_for_and_what_was(model: BetaSCVI, atlas: AnnData) -> None:
    found = bs.tl.counterfactual(model, atlas, STIM, indices=np.arange(10)).to_anndata()

    assert (found.obs["condition"] == "stim").all()
    assert (found.obs["condition_factual"] == atlas.obs["condition"].iloc[:10]).all()
    assert (found.obs["cell_type"] == atlas.obs["cell_type"].iloc[:10]).all()
    assert list(found.obs_names) == list(atlas.obs_names[:10])
    assert list(found.var_names) == list(atlas.var_names)
    assert (found.obs["distance_to_training"] >= 0).all()


@pytest.mark.parametrize("size", [7, 100, 1000])
def test_the_size_of_a_chunk_changes_no_expectation(
    model: BetaSCVI, atlas: AnnData, size: int
) -> None:
    whole = bs.tl.counterfactual(model, atlas, STIM).to_anndata()

    cut = bs.tl.counterfactual(model, atlas, STIM, store=bs.tl.Store(chunk_size=size)).to_anndata()

    np.testing.assert_allclose(cut.X, whole.X, rtol=1e-5)


@pytest.mark.parametrize("output", ["mean", "counts", "carried"])
def test_a_zarr_store_holds_what_memory_would(
    model: BetaSCVI, atlas: AnnData, tmp_path: Path, output: Any
) -> None:
    path = bs.tl.Store(tmp_path / "cells.zarr", chunk_size=150)

    stored = bs.tl.counterfactual(model, atlas, STIM, output=output, store=path)
    kept = bs.tl.counterfactual(
        model, atlas, STIM, output=output, store=bs.tl.Store(chunk_size=150)
    ).to_anndata()

    found = anndata.read_zarr(tmp_path / "cells.zarr")
    np.testing.assert_array_equal(_dense(found.X), kept.X)
    np.testing.assert_array_equal(_dense(found.layers["factual"]), kept.layers["factual"])
    assert sparse.issparse(found.X) == (output != "mean")
    assert list(stored.to_anndata().obs) == list(kept.obs)
    assert [p.name for p in tmp_path.iterdir()] == ["cells.zarr"]


def test_a_store_that_is_there_is_refused_unless_told_and_a_foreign_folder_always(
    model: BetaSCVI, atlas: AnnData, tmp_path: Path
) -> None:
    path, foreign = tmp_path / "cells.zarr", tmp_path / "mine"
    foreign.mkdir()
    bs.tl.counterfactual(model, atlas, STIM, indices=[0, 1], store=path)

    with pytest.raises(FileExistsError, match="overwrite=True"):
        bs.tl.counterfactual(model, atlas, STIM, indices=[0], store=path)
    with pytest.raises(FileExistsError, match="left alone"):
        bs.tl.counterfactual(model, atlas, STIM, store=bs.tl.Store(foreign, overwrite=True))

    again = bs.tl.Store(path, overwrite=True)
    assert (
        bs.tl.counterfactual(model, atlas, STIM, indices=[0], store=again).to_anndata().n_obs == 1
    )


def test_an_interrupted_write_leaves_the_old_store_and_no_half_of_a_new_one(
    model: BetaSCVI, atlas: AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cells.zarr"
    bs.tl.counterfactual(model, atlas, STIM, indices=[0, 1], store=path)
    from betascvi.tl import _counterfactual

    def full(_encoded: Any, _targets: Any, rows: slice, *_: Any) -> dict[str, np.ndarray]:
        if rows.start > 0:
            raise OSError("no space left on device")
        return {"X": np.zeros((rows.stop, 60), dtype=np.float32)}

    monkeypatch.setattr(_counterfactual, "_means", full)
    with pytest.raises(OSError, match="no space left"):
        bs.tl.counterfactual(
            model, atlas, STIM, store=bs.tl.Store(path, overwrite=True, chunk_size=50)
        )

    assert anndata.read_zarr(path).n_obs == 2
    assert [p.name for p in tmp_path.iterdir()] == ["cells.zarr"]


def test_sparse_counts_are_the_counts(model: BetaSCVI, atlas: AnnData) -> None:
    compressed, plain = (
        bs.tl.counterfactual(model, atlas, STIM, output="counts", store=store).to_anndata()
        for store in ("sparse", "memory")
    )

    assert sparse.issparse(compressed.X)
    np.testing.assert_array_equal(compressed.X.toarray(), plain.X)


def test_group_statistics_are_those_of_the_matrices(model: BetaSCVI, atlas: AnnData) -> None:
    by_type = bs.tl.GroupStatistics(groupby="cell_type")

    table = bs.tl.counterfactual(model, atlas, STIM, output=by_type).to_frame()

    found = bs.tl.counterfactual(model, atlas, STIM).to_anndata()
    after, before = (m / m.sum(1, keepdims=True) * 1e4 for m in (found.X, found.layers["factual"]))
    of_type = (atlas.obs["cell_type"] == "type_1").to_numpy()
    rows = table[table["group"] == "type_1"]
    expected = np.log2(after[of_type].mean(0) / before[of_type].mean(0))
    np.testing.assert_allclose(rows["log2_fold_change"], expected, atol=1e-4)
    np.testing.assert_allclose(rows["mean_factual"], before[of_type].mean(0), rtol=1e-4)
    assert (rows["n_cells"] == of_type.sum()).all()
    assert (rows["low"] < rows["log2_fold_change"]).all()
    assert (rows["high"] > rows["log2_fold_change"]).all()


def test_statistics_of_cells_at_their_own_level_are_zero_without_doubt(
    model: BetaSCVI, atlas: AnnData
) -> None:
    stim = np.flatnonzero(atlas.obs["condition"] == "stim")

    table = bs.tl.counterfactual(model, atlas, STIM, stim, output="statistics").to_frame()

    np.testing.assert_array_equal(table[["log2_fold_change", "low", "high"]], 0.0)


def test_statistics_are_an_anndata_of_groups_too(model: BetaSCVI, atlas: AnnData) -> None:
    by_type = bs.tl.GroupStatistics(groupby=["cell_type", "batch"], level=0.5)

    record = bs.tl.counterfactual(model, atlas, STIM, output=by_type, n_samples=2)

    groups = record.to_anndata()
    assert groups.shape == (9, 60)
    layers = set(groups.layers) - {None}  # None: X itself, in newer anndata
    assert layers == {"factual", "log2_fold_change", "low", "high"}
    assert "type_0 / b0" in groups.obs_names


def test_cells_the_model_has_not_seen_are_changed_as_well(model: BetaSCVI, atlas: AnnData) -> None:
    others = atlas[:50].copy()

    found = bs.tl.counterfactual(model, others, STIM).to_anndata()

    known = bs.tl.counterfactual(model, atlas, STIM, indices=np.arange(50)).to_anndata()
    np.testing.assert_allclose(found.X, known.X, rtol=1e-5)


@pytest.fixture(scope="module")
def without_some(atlas: AnnData) -> BetaSCVI:
    """Has never seen type_0 stimulated."""
    is_new = (atlas.obs["cell_type"] == "type_0") & (atlas.obs["condition"] == "stim")
    training = atlas[~is_new].copy()
    BetaSCVI.setup_anndata(
        training, layer="counts", categorical_covariate_keys=["condition"],
        factor_keys=["cell_type"],
    )  # fmt: skip
    fitted = BetaSCVI(training, n_hidden=8, n_latent=3)
    fitted.train(**QUICK | {"max_epochs": 1})
    return fitted


def test_a_combination_never_seen_together_is_said(without_some: BetaSCVI) -> None:
    with pytest.warns(UserWarning, match="condition='stim' was never seen with cell_type='type_0'"):
        record = bs.tl.counterfactual(without_some, without_some.adata, STIM)

    assert "never seen" in str(record)
    unseen = record.seen.set_index("with_level").loc["type_0"]
    assert unseen["n_training"] == 0
    assert unseen["n_cells"] > 0


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"conditon": "stim"}, UnknownFactorError, "did you mean 'condition'"),
        ({"condition": "stym"}, UnknownFactorError, "did you mean 'stim'"),
        ({"cell_type": "type_1"}, FactorError, r"no handle on 'cell_type'.*Anchor it"),
        ({"condition": {"stim": -1.0}}, ValueError, "weights from 0 up"),
        ({"condition": {"stim": 0.0}}, ValueError, "not all of them 0"),
        ({"condition": {}}, ValueError, "weights from 0 up"),
        ({"condition": {"stim": "a"}}, ValueError, "weights from 0 up"),
        ({"condition": {"stim": 1, "stym": 0}}, UnknownFactorError, "did you mean 'stim'"),
        ({"age": "old"}, ValueError, "takes numbers"),
        ({"age": np.nan}, ValueError, "missing or infinite"),
        ({"condition": ["stim", "stim"]}, ValueError, "2 values for 400 cells"),
        ({}, ValueError, "changes names factors"),
    ],
)
def test_targets_that_make_no_sense_are_refused(
    model: BetaSCVI, atlas: AnnData, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        bs.tl.counterfactual(model, atlas, changes)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"output": "median"}, ValueError, "output is one of"),
        ({"indices": []}, ValueError, "no cell is chosen"),
        ({"indices": np.zeros(400, dtype=bool)}, ValueError, "no cell is chosen"),
        ({"indices": [400]}, UnknownFactorError, "there are 400 cells"),
        ({"indices": ["cell_1"]}, ValueError, "get_indexer"),
        ({"indices": np.ones(3, dtype=bool)}, ValueError, "mask of 3 values for 400"),
        ({"n_samples": 0}, ValueError, "n_samples is a whole number"),
        ({"store": "sparse"}, ValueError, "contradict"),
        ({"output": "statistics", "store": "sparse"}, ValueError, "contradict"),
        ({"output": bs.tl.GroupStatistics("type")}, UnknownFactorError, "no column of adata.obs"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    model: BetaSCVI, atlas: AnnData, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        bs.tl.counterfactual(model, atlas, STIM, **arguments)


def test_an_untrained_model_is_refused(atlas: AnnData) -> None:
    adata = atlas.copy()
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch")

    with pytest.raises(TrainingError, match="not trained"):
        bs.tl.counterfactual(BetaSCVI(adata), adata, {"batch": "b1"})


def test_a_store_without_the_reconstruction_holds_the_counterfactual_alone(
    model: BetaSCVI, atlas: AnnData
) -> None:
    alone = bs.tl.Store(factual=False)

    found = bs.tl.counterfactual(model, atlas, STIM, store=alone).to_anndata()

    assert set(found.layers) - {None} == set()


def _dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def test_cells_on_disk_in_any_order_are_their_own(
    model: BetaSCVI, atlas: AnnData, tmp_path: Path
) -> None:
    atlas.write_h5ad(tmp_path / "atlas.h5ad")
    on_disk = anndata.read_h5ad(tmp_path / "atlas.h5ad", backed="r")
    rows = [5, 3, 300]

    found, expected = (
        bs.tl.counterfactual(model, adata, STIM, indices=rows).to_anndata()
        for adata in (on_disk, atlas)
    )

    np.testing.assert_allclose(found.X, expected.X, rtol=1e-4)
    assert list(found.obs_names) == [atlas.obs_names[i] for i in rows]


def test_genes_in_another_order_are_refused(model: BetaSCVI, atlas: AnnData) -> None:
    turned = atlas[:, ::-1].copy()

    with pytest.raises(ValueError, match=r"another order than the model's .*gene 0 is 'gene_59'"):
        bs.tl.counterfactual(model, turned, STIM)
    sorted_back = turned[:, model.get_var_names()].copy()
    bs.tl.counterfactual(model, sorted_back, STIM)


def test_every_part_of_a_mixture_is_looked_up_in_training(without_some: BetaSCVI) -> None:
    mostly_control = {"condition": {"ctrl": 0.6, "stim": 0.4}}

    with pytest.warns(UserWarning, match="condition='stim' was never seen with cell_type='type_0'"):
        bs.tl.counterfactual(without_some, without_some.adata, mostly_control)


@pytest.mark.filterwarnings("ignore:the training cells are not at hand")
def test_intervals_that_leave_the_training_cells_out_say_so(
    model: BetaSCVI, atlas: AnnData, tmp_path: Path
) -> None:
    model.save(tmp_path / "model", save_anndata=False)
    other = atlas[:50].copy()
    loaded = BetaSCVI.load(tmp_path / "model", adata=other)

    with pytest.warns(UserWarning, match="intervals do not cover what the training cells leave"):
        bs.tl.counterfactual(loaded, other, STIM, output="statistics")


def test_zeros_of_an_inflated_likelihood_are_shared_whatever_the_target(atlas: AnnData) -> None:
    adata = atlas.copy()
    BetaSCVI.setup_anndata(adata, layer="counts", categorical_covariate_keys=["condition"])
    model = BetaSCVI(adata, n_hidden=8, n_latent=3, gene_likelihood="zinb")
    model.train(**QUICK | {"max_epochs": 1})

    arms = [
        bs.tl.counterfactual(model, adata, {"condition": level}, output="counts").to_anndata()
        for level in ("ctrl", "stim", {"ctrl": 1, "stim": 1})
    ]

    before = [arm.layers["factual"] for arm in arms]
    np.testing.assert_array_equal(before[0], before[1])
    np.testing.assert_array_equal(before[0], before[2])


@pytest.mark.parametrize("dispersion", ["gene-label", "gene-batch"])
@pytest.mark.parametrize("output", ["mean", "counts", "carried", "statistics"])
def test_dispersions_by_label_and_by_batch_are_those_of_the_cells(
    atlas: AnnData, dispersion: Any, output: Any
) -> None:
    adata = atlas[:200].copy()
    BetaSCVI.setup_anndata(
        adata, layer="counts", batch_key="batch", labels_key="cell_type",
        categorical_covariate_keys=["condition"],
    )  # fmt: skip
    model = BetaSCVI(adata, n_hidden=8, n_latent=3, dispersion=dispersion)
    model.train(**QUICK | {"max_epochs": 1})

    bs.tl.counterfactual(model, adata, STIM, output=output)
    encoded = encode(model, adata, None)
    theta = encoded.factual(encoded.mean, slice(0, 50)).dispersion

    column = "cell_type" if dispersion == "gene-label" else "batch"
    levels = adata.obs[column].iloc[:50].astype("category").cat.codes.to_numpy()
    registered = np.exp(model.module.px_r.detach().numpy()).T
    assert theta is not None
    np.testing.assert_allclose(theta, registered[levels], rtol=1e-5)


def test_what_is_no_model_or_no_data_is_refused_in_words(model: BetaSCVI, atlas: AnnData) -> None:
    with pytest.raises(TypeError, match=r"takes a BetaSCVI model, got AnnData.*from_scvi"):
        bs.tl.counterfactual(atlas, model, STIM)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="adata is an AnnData, got NoneType"):
        bs.tl.counterfactual(model, None, STIM)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"list of positions or a mask, got 3; one cell is \[i\]"):
        bs.tl.counterfactual(model, atlas, STIM, indices=3)  # type: ignore[arg-type]


def test_a_series_of_targets_goes_by_the_names_of_the_cells(
    model: BetaSCVI, atlas: AnnData
) -> None:
    target = atlas.obs["condition"].sample(frac=1.0, random_state=0)

    found = bs.tl.counterfactual(model, atlas, {"condition": target}).to_anndata()
    some = bs.tl.counterfactual(model, atlas, {"condition": target}, indices=[7, 2]).to_anndata()

    np.testing.assert_array_equal(found.X, found.layers["factual"])
    np.testing.assert_array_equal(some.X, some.layers["factual"])


@pytest.mark.parametrize("n_named", [1, 399])
def test_a_series_that_names_some_of_the_cells_is_refused(
    model: BetaSCVI, atlas: AnnData, n_named: int
) -> None:
    target = atlas.obs["condition"].iloc[:n_named]

    with pytest.raises(ValueError, match=f"names {n_named} of the 400 cells, and 'cell_"):
        bs.tl.counterfactual(model, atlas, {"condition": target})


def test_groups_that_some_training_cells_lack_are_counted_without_them(
    model: BetaSCVI, atlas: AnnData
) -> None:
    new = atlas[:50].copy()
    new.obs["kind"] = "new"
    with_gaps = atlas.obs["cell_type"].astype(object).where(np.arange(400) > 40)
    atlas.obs["kind"] = with_gaps
    try:
        table = bs.tl.counterfactual(
            model, new, STIM, output=bs.tl.GroupStatistics("kind")
        ).to_frame()
    finally:
        del atlas.obs["kind"]

    assert set(table["group"]) == {"new"}
    assert np.isfinite(table.select_dtypes("number")).all(axis=None)


def test_a_word_that_is_nearly_a_place_in_memory_makes_no_folder() -> None:
    with pytest.raises(ValueError, match=r"store='sprase': did you mean 'sparse'"):
        bs.tl.Store("sprase")
    with pytest.raises(TypeError, match="a store is 'memory', 'sparse' or the path"):
        bs.tl.Store(3)  # type: ignore[arg-type]
    assert bs.tl.Store("~/x.zarr").path == Path.home() / "x.zarr"
    assert bs.tl.Store("sparse.zarr").path == Path("sparse.zarr")


def test_groups_of_no_cell_are_refused_and_a_column_named_twice_is_one(
    model: BetaSCVI, atlas: AnnData
) -> None:
    empty = atlas.copy()
    empty.obs["nothing"] = np.nan

    with pytest.raises(ValueError, match=r"no cell has a value of \['nothing'\]"):
        bs.tl.counterfactual(model, empty, STIM, output=bs.tl.GroupStatistics("nothing"))
    twice = bs.tl.GroupStatistics(["cell_type", "cell_type"])
    table = bs.tl.counterfactual(model, atlas, STIM, output=twice).to_frame()
    assert table["group"].nunique() == 3


def test_a_draw_of_positions_is_made_once_for_all_chunks(model: BetaSCVI) -> None:
    encoded = encode(model, model.adata, None, with_sd=True)

    first = encoded.positions(0, 3)

    assert encoded.positions(0, 3) is first
    assert not np.array_equal(encoded.positions(1, 3), first)
    again = encode(model, model.adata, None, with_sd=True)
    np.testing.assert_array_equal(again.positions(0, 3), first)
