from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from betascvi.datasets import Truth, counterfactual_truth, draw_cells, simulated_atlas


@pytest.fixture(scope="module")
def atlas() -> AnnData:
    return simulated_atlas(300, 60, "correlated", seed=1)


def log_ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(cells, genes) log-fold change without the constant that normalising adds to a cell."""
    ratio = np.log(one.astype(float)) - np.log(other.astype(float))
    return ratio - np.median(ratio, axis=1, keepdims=True)


def test_counterfactual_to_nothing_and_to_the_own_level_is_the_cell_itself(atlas):
    own = atlas.obs["condition"].to_numpy()

    np.testing.assert_array_equal(counterfactual_truth(atlas, {}), Truth.of(atlas).rates())
    np.testing.assert_array_equal(
        counterfactual_truth(atlas, {"condition": own}), Truth.of(atlas).rates()
    )


def test_counterfactual_keeps_the_library_size_unless_told(atlas):
    own = Truth.of(atlas).codes["library_size"]
    changes = {"condition": "stim", "batch": "b1"}

    kept = counterfactual_truth(atlas, changes)
    set_to = counterfactual_truth(atlas, changes, library_size=1e4)

    np.testing.assert_allclose(kept.sum(1), own, rtol=1e-5)
    np.testing.assert_allclose(set_to.sum(1), 1e4, rtol=1e-5)
    np.testing.assert_allclose(set_to / 1e4, kept / own[:, None], rtol=1e-5)


def test_moving_a_batch_adds_the_difference_of_its_programs(atlas):
    truth = Truth.of(atlas)
    programs = truth.to_frame()
    expected = (programs["batch=b2"] - programs["batch=b0"]).to_numpy()

    moved = log_ratio(truth.rates({"batch": "b2"}), truth.rates({"batch": "b0"}))

    np.testing.assert_allclose(moved, np.tile(expected - np.median(expected), (300, 1)), atol=1e-5)


def test_response_is_the_common_program_and_the_cell_types_own(atlas):
    cells = atlas[atlas.obs["cell_type"] == "type_3"]
    truth = Truth.of(cells)
    programs = truth.to_frame()
    expected = programs["condition=stim"] + programs["cell_type=type_3:condition=stim"]

    moved = log_ratio(truth.rates({"condition": "stim"}), truth.rates({"condition": "ctrl"}))

    np.testing.assert_allclose(moved[0], expected - np.median(expected), atol=1e-5)


def test_response_differs_between_cell_types(atlas):
    stimulated = counterfactual_truth(atlas, {"condition": "stim"})
    resting = counterfactual_truth(atlas, {"condition": "ctrl"})
    moved = log_ratio(stimulated, resting)
    first = {t: moved[(atlas.obs["cell_type"] == t).to_numpy()][0] for t in ("type_0", "type_1")}

    correlation = np.corrcoef(first["type_0"], first["type_1"])[0, 1]

    assert 0.2 < correlation < 0.95


def test_phase_programs_go_round(atlas):
    truth = Truth.of(atlas)
    angle = truth.codes["phase_angle"]

    np.testing.assert_allclose(
        truth.rates({"phase_angle": angle + 2 * np.pi}), truth.rates(), rtol=1e-5
    )
    assert not np.allclose(truth.rates({"phase_angle": angle + np.pi}), truth.rates(), rtol=0.1)


def test_changes_may_be_given_cell_by_cell(atlas):
    levels = np.where(np.arange(300) % 2, "d1", "d4")

    mixed = counterfactual_truth(atlas, {"donor": levels})

    np.testing.assert_array_equal(mixed[1::2], counterfactual_truth(atlas, {"donor": "d1"})[1::2])
    np.testing.assert_array_equal(mixed[::2], counterfactual_truth(atlas, {"donor": "d4"})[::2])


@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
def test_truth_survives_a_file(atlas, tmp_path, ending):
    path = tmp_path / f"atlas.{ending}"
    changes = {"condition": "stim", "phase_angle": 1.0}

    (atlas.write_h5ad if ending == "h5ad" else atlas.write_zarr)(path)
    read = (ad.read_h5ad if ending == "h5ad" else ad.read_zarr)(path)

    np.testing.assert_array_equal(
        counterfactual_truth(read, changes), counterfactual_truth(atlas, changes)
    )
    np.testing.assert_array_equal(
        draw_cells(read, 20, seed=1).X.toarray(), draw_cells(atlas, 20, seed=1).X.toarray()
    )


def test_truth_follows_a_selection_of_cells_and_genes(atlas):
    selection = atlas[::-3, [5, 2, 40]].copy()
    changes = {"batch": "b1"}

    np.testing.assert_array_equal(
        counterfactual_truth(selection, changes),
        counterfactual_truth(atlas, changes)[::-3][:, [5, 2, 40]],
    )
    assert list(Truth.of(selection).to_frame().index) == list(selection.var_names)


def test_programs_name_their_genes_and_leave_out_the_control(atlas):
    programs = Truth.of(atlas).to_frame()

    assert list(programs.index) == list(atlas.var_names)
    assert programs.shape == (60, 5 + 1 + 3 + 6 + 5 + 2)
    assert {"cell_type=type_0", "condition=stim", "phase_angle=cos"} <= set(programs.columns)
    assert not any("ctrl" in name for name in programs.columns)


def test_programs_touch_the_share_of_genes_and_have_the_strength_asked_for():
    programs = Truth.of(simulated_atlas(50, 2000, seed=0)).to_frame()
    touched = programs["batch=b0"][programs["batch=b0"] != 0]

    assert len(touched) == 300
    assert np.sqrt(np.mean(touched**2)) == pytest.approx(1.0, abs=0.1)
    assert 0.4 < np.mean(touched > 0) < 0.6


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        pytest.param({"conditon": "stim"}, KeyError, "did you mean 'condition'", id="factor"),
        pytest.param({"condition": "stimm"}, KeyError, "did you mean 'stim'", id="level"),
        pytest.param({"batch": ["b0", "b1"]}, ValueError, "300 cells", id="wrong_length"),
        pytest.param({"phase_angle": "late"}, ValueError, "number", id="angle_as_text"),
        pytest.param({"phase_angle": np.inf}, ValueError, "finite", id="infinite_angle"),
        pytest.param({"library_size": 0}, ValueError, "positive", id="no_library"),
    ],
)
def test_changes_that_make_no_sense_are_refused(atlas, changes, error, says):
    with pytest.raises(error, match=says):
        counterfactual_truth(atlas, changes)


def test_data_without_a_truth_say_who_has_one(atlas):
    with pytest.raises(KeyError, match="simulated_atlas"):
        Truth.of(AnnData(atlas.X))


def test_renamed_cells_are_refused(atlas):
    renamed = atlas[:10].copy()
    renamed.obs_names = [f"renamed_{i}" for i in range(10)]

    with pytest.raises(KeyError, match="renamed_0"):
        Truth.of(renamed)


def test_targets_with_the_names_of_cells_go_by_name() -> None:
    adata = simulated_atlas(n_cells=60, n_genes=20, seed=0)
    targets = pd.Series(np.where(np.arange(60) < 30, "ctrl", "stim"), index=adata.obs_names)

    shuffled = targets.sample(frac=1.0, random_state=0)

    np.testing.assert_array_equal(
        counterfactual_truth(adata, {"condition": shuffled}),
        counterfactual_truth(adata, {"condition": targets.to_numpy()}),
    )
