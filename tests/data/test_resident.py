"""Cells held on a device: the minibatches cut there are the ones scvi-tools would load."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scvi.dataloaders import AnnDataLoader

from betascvi import BetaSCVI
from betascvi.data._resident import CompressedRows, ResidentCells, why_not_resident


def random_counts(seed: int, n_cells: int, n_genes: int, largest: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, largest + 1, size=(n_cells, n_genes)) * (
        rng.random((n_cells, n_genes)) < 0.3
    )
    counts[:, 0] += 1  # no cell is empty
    return counts


@given(
    seed=st.integers(0, 2**31),
    n_cells=st.integers(1, 30),
    n_genes=st.integers(1, 20),
    batch_size=st.integers(1, 12),
    largest=st.sampled_from([1, 200, 255, 256, 40_000, 2_000_000]),
)
def test_rows_cut_for_any_cells_in_any_order_are_those_of_the_matrix(
    seed: int, n_cells: int, n_genes: int, batch_size: int, largest: int
) -> None:
    counts = random_counts(seed, n_cells, n_genes, largest)
    rng = np.random.default_rng(seed + 1)
    cells = rng.integers(0, n_cells, size=rng.integers(1, 2 * n_cells + 1))
    rows = CompressedRows.from_scipy(sparse.csr_matrix(counts), "cpu")

    cut = rows.cut(torch.as_tensor(cells), batch_size)

    assert [part.shape[0] for part in cut[:-1]] == [batch_size] * (len(cut) - 1)
    together = torch.cat([part.dense(torch.float64) for part in cut]).numpy()
    np.testing.assert_array_equal(together, counts[cells])


@given(seed=st.integers(0, 2**31), batch_size=st.integers(1, 12))
def test_the_constants_of_each_cell_come_with_it(seed: int, batch_size: int) -> None:
    counts = random_counts(seed, 20, 10, 50)
    cells = np.random.default_rng(seed).permutation(20)
    rows = CompressedRows.from_scipy(sparse.csr_matrix(counts), "cpu")

    cut = rows.cut(torch.as_tensor(cells), batch_size)

    by_hand = torch.lgamma(torch.as_tensor(counts[cells]).double() + 1.0).sum(1)
    together = torch.cat([part.log_factorial for part in cut])
    torch.testing.assert_close(together, by_hand, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("largest", "n_bytes"), [(255, 1), (256, 2), (32_767, 2), (32_768, 4)], ids=str
)
def test_counts_are_held_in_the_smallest_integers_that_hold_them(
    largest: int, n_bytes: int
) -> None:
    rows = CompressedRows.from_scipy(sparse.csr_matrix([[largest, 0, 1]]), "cpu")

    assert rows.value.element_size() == n_bytes
    assert rows.col.element_size() == 2
    assert float(rows.cut(torch.tensor([0]), 1)[0].dense()[0, 0]) == largest


def test_fractional_values_stay_what_they_are() -> None:
    rows = CompressedRows.from_scipy(sparse.csr_matrix([[0.5, 0.0, 2.25]]), "cpu")

    assert rows.cut(torch.tensor([0]), 1)[0].dense().tolist() == [[0.5, 0.0, 2.25]]


@pytest.fixture
def atlas() -> ad.AnnData:
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(random_counts(0, 23, 9, 30).astype(np.float32))
    obs = pd.DataFrame(
        {
            "batch": np.array(["a", "b", "c"])[rng.integers(3, size=23)],
            "cell_type": np.array(["s", "t"])[np.arange(23) % 2],
            "site": np.array(["u", "v"])[rng.integers(2, size=23)],
            "age": rng.normal(size=23),
            "size": rng.random(23) + 0.5,
        },
        index=[f"cell {i}" for i in range(23)],
    )
    adata = ad.AnnData(counts, obs=obs)
    BetaSCVI.setup_anndata(
        adata, batch_key="batch", labels_key="cell_type", size_factor_key="size",
        categorical_covariate_keys=["site"], continuous_covariate_keys=["age"],
        factor_keys=["cell_type", "age"],
    )  # fmt: skip
    return adata


def dense(minibatch: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {**minibatch, "X": minibatch["X"].dense()}


@pytest.mark.filterwarnings("ignore:Category .* has fewer than 3 cells")
@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_minibatches_are_those_of_scvi_tools_own_loader(atlas: ad.AnnData, batch_size: int) -> None:
    manager = BetaSCVI(atlas, n_hidden=4).adata_manager
    theirs = list(AnnDataLoader(manager, batch_size=batch_size, shuffle=False))

    ours = list(ResidentCells.from_manager(manager).minibatches(torch.arange(23), batch_size))

    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert set(one) == set(other)
        torch.testing.assert_close(dense(one), dict(other))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda m: sparse.csr_matrix(np.ones(m.shape)), "100%", id="full"),
        pytest.param(lambda m: np.ones(m.shape), "100%", id="dense and full"),
    ],
)
def test_matrices_too_full_to_compress_are_left_to_scvi_tools(
    atlas: ad.AnnData, change: Any, reason: str
) -> None:
    atlas.X = change(atlas.X)
    BetaSCVI.setup_anndata(atlas)

    assert reason in (why_not_resident(BetaSCVI(atlas, n_hidden=4).adata_manager) or "")


@pytest.mark.parametrize("convert", [lambda m: m, lambda m: m.tocsc(), lambda m: m.toarray()])
@pytest.mark.filterwarnings("ignore:Training will be faster when sparse matrix is formatted as CSR")
def test_sparse_counts_in_memory_can_reside(atlas: ad.AnnData, convert: Any) -> None:
    atlas.X = convert(atlas.X)
    BetaSCVI.setup_anndata(atlas)

    assert why_not_resident(BetaSCVI(atlas, n_hidden=4).adata_manager) is None
