from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from betascvi.datasets import available, load

NAMES = list(available().index)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder with one small file named as a real data set."""
    counts = sparse.random(30, 10, density=0.3, format="csc", random_state=0)
    counts.data = np.ceil(9 * counts.data).astype(np.int64)
    obs = pd.DataFrame({"condition": pd.Categorical(["ctrl", "stim"] * 15)})
    obs.index = [f"cell_{i}" for i in range(30)]
    AnnData(counts, obs).write_h5ad(tmp_path / "kang_pbmc_annotated.h5ad")
    monkeypatch.setenv("BETASCVI_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_load_gives_counts_as_csr_in_x_and_in_a_layer_of_its_own():
    adata = load("kang_pbmc_annotated")
    counts = adata.layers["counts"]
    total = counts.sum()

    adata.X.data[:] = 0.0

    assert sparse.isspmatrix_csr(counts)
    assert counts.dtype == np.float32
    assert counts.sum() == total > 0
    assert list(adata.obs["condition"].cat.categories) == ["ctrl", "stim"]


def test_load_prefers_counts_that_the_file_keeps_in_the_layer(folder):
    counts = np.arange(12.0).reshape(4, 3)
    AnnData(np.log1p(counts), layers={"counts": counts}).write_h5ad(folder / "mine.h5ad")

    adata = load("mine")

    np.testing.assert_array_equal(adata.X.toarray(), counts)
    np.testing.assert_array_equal(adata.layers["counts"].toarray(), counts)


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan], ids=str)
def test_load_refuses_what_is_not_counts(folder, value):
    AnnData(np.array([[1.0, value]])).write_h5ad(folder / "scaled.h5ad")

    with pytest.raises(ValueError, match="not counts"):
        load("scaled")


@pytest.mark.parametrize("name", NAMES)
def test_without_the_variable_load_says_where_the_data_come_from(monkeypatch, name):
    monkeypatch.delenv("BETASCVI_DATA", raising=False)
    source = available().loc[name, "source"].split(" ")[0]

    with pytest.raises(FileNotFoundError, match=f"BETASCVI_DATA is not set.*{source}"):
        load(name)


@pytest.mark.usefixtures("folder")
def test_without_the_file_load_names_the_path_and_the_source():
    with pytest.raises(FileNotFoundError, match=r"worm_l2_neurons\.h5ad.*GSE98561"):
        load("worm_l2_neurons")


@pytest.mark.parametrize("is_set", [True, False])
def test_unknown_name_offers_the_closest(folder, monkeypatch, is_set):
    monkeypatch.setenv("BETASCVI_DATA", str(folder) if is_set else "")

    with pytest.raises(KeyError, match="Did you mean 'kang_pbmc_annotated'"):
        load("kang_pbmc_anotated")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["../kang_pbmc_annotated", "", "a/b", 3], ids=str)
def test_a_name_is_never_a_path(name):
    with pytest.raises(KeyError, match="available"):
        load(name)


@pytest.mark.usefixtures("folder")
def test_available_lists_twelve_sets_and_says_which_are_here():
    frame = available()

    assert len(frame) == 12
    assert frame.index[frame["is_here"]].tolist() == ["kang_pbmc_annotated"]
    assert frame[["factors", "paper", "accession", "source"]].map(len).min().min() > 0


@pytest.mark.real
@pytest.mark.parametrize("name", NAMES)
def test_every_real_set_loads_with_its_factors_and_counts(name):
    assert os.environ["BETASCVI_DATA"]
    factors = available().loc[name, "factors"].split(", ")

    adata = load(name)

    assert set(factors) <= set(adata.obs.columns)
    assert adata.obs[factors].nunique().min() >= 2
    assert sparse.isspmatrix_csr(adata.layers["counts"])
    assert adata.layers["counts"].sum(1).min() > 0
