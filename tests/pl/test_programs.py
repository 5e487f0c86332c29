from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from betascvi._errors import UnknownFactorError
from betascvi.metrics._programs import GenePrograms
from betascvi.pl import programs


@pytest.fixture
def record():
    effects = np.zeros((2, 2, 30))
    effects[0, 1, :3] = [3.0, 1.0, 2.0]
    effects[1, 0, 5] = 4.0
    genes = tuple(f"g{i}" for i in range(30))
    return GenePrograms(
        ("free_1", "free_2"), genes, effects, np.array([0.6, 0.1]), np.ones(2), 2.0, True
    )


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    adata = AnnData(obs=pd.DataFrame(index=[f"c{i}" for i in range(40)]))
    adata.obsm["X_umap"], adata.obsm["X_betascvi"] = rng.normal(size=(2, 40, 2))
    adata.uns["betascvi"] = {"X_betascvi": {"axes": ["free_1", "free_2"]}}
    return adata


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_the_axis_that_explains_most_is_drawn_largest_effect_on_top(record):
    rises, _ = programs(record, n_genes=3)

    assert [t.get_text() for t in rises.get_yticklabels()] == ["g1", "g2", "g0"]
    assert [bar.get_width() for bar in rises.patches] == [1.0, 2.0, 3.0]
    assert "free_1: 60.0%" in rises.get_title(loc="left")


def test_an_axis_is_asked_for_by_name_or_position(record):
    by_name, by_position = (programs(record, axis)[1] for axis in ("free_2", 1))

    assert by_name.get_yticklabels()[-1].get_text() == "g5"
    assert by_position.get_yticklabels()[-1].get_text() == "g5"


def test_cells_are_coloured_by_where_they_are_on_the_axis(record, cells):
    where = programs(record, "free_2", cells)[2]

    drawn = where.collections[0].get_array()
    np.testing.assert_allclose(np.sort(drawn), np.sort(cells.obsm["X_betascvi"][:, 1]))


def test_cells_without_the_map_or_the_axis_are_refused(record, cells):
    with pytest.raises(UnknownFactorError, match="X_tsne"):
        programs(record, 0, cells, basis="X_tsne")
    cells.uns["betascvi"]["X_betascvi"]["axes"] = ["a", "b"]
    with pytest.raises(UnknownFactorError, match="holds no axis"):
        programs(record, 0, cells)
