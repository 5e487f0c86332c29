from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData

from betascvi.datasets import Truth, counterfactual_truth, draw_cells, simulated_atlas


@pytest.fixture(scope="module")
def atlas() -> AnnData:
    return simulated_atlas(200, 40, "confounded", seed=1)


def test_fixed_factors_are_held_and_the_others_vary(atlas):
    cells = draw_cells(atlas, 500, {"condition": "stim", "phase_angle": 1.5})

    assert set(cells.obs["condition"]) == {"stim"}
    assert set(cells.obs["phase_angle"]) == {1.5}
    assert set(cells.obs["batch"]) == {"b0", "b1", "b2"}
    assert cells.obs["donor"].value_counts().min() >= 83


def test_factors_may_be_fixed_cell_by_cell(atlas):
    donors = np.array([f"d{i % 6}" for i in range(60)])

    cells = draw_cells(atlas, 60, {"donor": donors, "library_size": 100.0})

    assert list(cells.obs["donor"]) == list(donors)
    np.testing.assert_allclose(Truth.of(cells).rates().sum(1), 100.0, rtol=1e-5)


def test_new_cells_have_the_programs_and_genes_of_the_source(atlas):
    cells = draw_cells(atlas[:, 5:25], 30)

    assert list(cells.var_names) == list(atlas.var_names[5:25])
    np.testing.assert_array_equal(Truth.of(cells).to_frame(), Truth.of(atlas).to_frame().iloc[5:25])


def test_same_factors_give_the_expression_of_the_source(atlas):
    codes = {name: atlas.obs[name].to_numpy() for name in atlas.obs}
    codes["library_size"] = Truth.of(atlas).codes["library_size"]

    twins = draw_cells(atlas, 200, codes)

    np.testing.assert_array_equal(counterfactual_truth(twins, {}), counterfactual_truth(atlas, {}))
    assert not np.array_equal(twins.X.toarray(), atlas.X.toarray())


def test_a_seed_names_the_cells(atlas):
    first, again = draw_cells(atlas, 20, seed=5), draw_cells(Truth.of(atlas), 20, seed=5)
    other = draw_cells(atlas, 20, seed=6)

    np.testing.assert_array_equal(first.X.toarray(), again.X.toarray())
    assert not np.array_equal(first.X.toarray(), other.X.toarray())


def test_one_new_cell_is_enough(atlas):
    assert draw_cells(atlas, 1, {"batch": "b2"}).obs["batch"].tolist() == ["b2"]


@pytest.mark.parametrize(
    ("n_cells", "fixed", "error", "says"),
    [
        pytest.param(0, {}, ValueError, "n_cells", id="no_cells"),
        pytest.param(5, {"batch": "b9"}, KeyError, "b0", id="unknown_level"),
        pytest.param(5, {"donor": ["d0", "d1"]}, ValueError, "5 cells", id="wrong_length"),
    ],
)
def test_impossible_wishes_are_refused(atlas, n_cells, fixed, error, says):
    with pytest.raises(error, match=says):
        draw_cells(atlas, n_cells, fixed)
