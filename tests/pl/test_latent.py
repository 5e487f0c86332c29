from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from betascvi.pl import latent


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(["a", "b", None, "b"] * 10),
            "depth": np.where(np.arange(40) % 4, np.arange(40.0), np.nan),
            "is_doublet": [True, False] * 20,
            "barcode": [f"cell {i}" for i in range(40)],
        },
        index=[str(i) for i in range(40)],
    )
    adata = AnnData(obs=obs, obsm={"X_betascvi": rng.normal(size=(40, 3))})
    adata.obsm["X_umap"] = rng.normal(size=(40, 2))
    adata.uns["betascvi"] = {"X_betascvi": {"axes": ["batch", "free_1", "free_2"]}}
    return adata


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def _drawn(ax):
    return np.concatenate(
        [np.asarray(c.get_offsets()) for c in ax.collections if len(c.get_offsets())]
    )


def _sorted(points):
    return points[np.lexsort(points.T)]


def test_every_cell_is_drawn_on_the_axes_asked_for(cells):
    ax = latent(cells, "cell_type", axes=(0, 2))

    expected = cells.obsm["X_betascvi"][:, [0, 2]]
    np.testing.assert_allclose(_sorted(_drawn(ax)), _sorted(expected))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("batch", "free_2")


def test_levels_have_a_legend_and_missing_labels_are_pale(cells):
    ax = latent(cells, "cell_type")

    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b", "missing"]
    colours = ax.collections[0].get_facecolors()
    assert len(np.unique(colours, axis=0)) == 3


def test_numbers_have_a_colour_bar_with_the_values_known(cells):
    ax = latent(cells, "depth", basis="X_umap")

    values = ax.collections[1].get_array()
    assert sorted(values) == sorted(cells.obs["depth"].dropna())
    np.testing.assert_allclose(_sorted(_drawn(ax)), _sorted(cells.obsm["X_umap"]))
    assert ax.get_xlabel() == "umap 1"


def test_truth_values_are_levels(cells):
    ax = latent(cells, "is_doublet")

    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["False", "True"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        pytest.param({"color": "donor"}, KeyError, "not a column", id="no column"),
        pytest.param({"color": "depth", "basis": "X_pca"}, KeyError, "X_pca", id="no basis"),
        pytest.param({"color": "depth", "axes": (0, 3)}, ValueError, "from 0 to 2", id="no axis"),
    ],
)
def test_what_cannot_be_drawn_is_refused(cells, arguments, error, message):
    with pytest.raises(error, match=message):
        latent(cells, **arguments)


def test_more_levels_than_colours_are_refused():
    names = [f"n{i}" for i in range(41)]
    many = AnnData(obs=pd.DataFrame({"name": names}, index=names))
    many.obsm["X_umap"] = np.zeros((41, 2))

    with pytest.raises(ValueError, match="41 levels; 40 can be told apart"):
        latent(many, "name", basis="X_umap")
