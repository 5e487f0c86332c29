"""The non-zeros of a minibatch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from scipy import sparse, special

from betascvi.likelihoods import SparseRows

_matrices = hypothesis_numpy.arrays(
    np.float32, hypothesis_numpy.array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 3)
)


def _from_scipy(matrix, index_dtype=torch.int32):
    return SparseRows.from_csr(
        torch.from_numpy(matrix.indptr),
        torch.from_numpy(matrix.indices).to(index_dtype),
        torch.from_numpy(matrix.data),
        matrix.shape[1],
    )


@given(x=_matrices)
def test_dense_counts_come_back_from_dense(x):
    assert np.array_equal(SparseRows.from_dense(torch.from_numpy(x)).dense().numpy(), x)


@given(x=_matrices)
def test_dense_counts_come_back_from_compressed_rows(x):
    assert np.array_equal(_from_scipy(sparse.csr_matrix(x)).dense().numpy(), x)


@given(x=_matrices)
def test_log_factorials_are_summed_over_the_genes_of_each_cell(x):
    total = SparseRows.from_dense(torch.from_numpy(x)).log_factorial

    np.testing.assert_allclose(total, special.gammaln(x.astype(float) + 1).sum(1), atol=1e-12)


@pytest.mark.parametrize("index_dtype", [torch.uint8, torch.int16, torch.int64], ids=str)
def test_columns_may_be_stored_in_any_dtype(index_dtype):
    x = sparse.random(20, 100, 0.2, format="csr", rng=np.random.default_rng(0))

    rows = _from_scipy(x, index_dtype)

    assert np.array_equal(rows.dense(torch.float64).numpy(), x.toarray())


def test_stored_zeros_are_dropped():
    x = sparse.csr_matrix(np.array([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]]))
    x.data[1] = 0.0

    assert _from_scipy(x).value.tolist() == [1.0, 3.0]


def test_log_factorials_that_are_handed_in_are_not_computed_again():
    crow, col, value = torch.tensor([0, 1, 2]), torch.tensor([0, 1]), torch.tensor([2.0, 3.0])

    rows = SparseRows.from_csr(crow, col, value, 4, torch.tensor([7.0, 8.0]))

    assert rows.log_factorial.tolist() == [7.0, 8.0]


def test_repeated_rows_are_whole_copies_one_after_the_other():
    x = torch.tensor([[0.0, 2.0, 1.0], [4.0, 0.0, 0.0]])

    rows = SparseRows.from_dense(x).repeat(3)

    assert torch.equal(rows.dense(), x.repeat(3, 1))
    assert torch.equal(rows.log_factorial, SparseRows.from_dense(x).log_factorial.repeat(3))


def test_counts_that_are_no_matrix_are_refused():
    with pytest.raises(ValueError, match=r"must be \(cells, genes\); got shape \(3,\)"):
        SparseRows.from_dense(torch.zeros(3))
