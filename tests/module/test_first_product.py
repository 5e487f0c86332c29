"""The encoder's first product from non-zeros: the dense one to rounding, or not at all."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from betascvi.likelihoods import SparseRows
from betascvi.module._first_product import linear_of_non_zeros, multiplies_non_zeros


def rows_of(n_cells: int, n_genes: int, density: float, seed: int) -> SparseRows:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 50, (n_cells, n_genes), generator=generator).float()
    return SparseRows.from_dense(
        counts * (torch.rand(n_cells, n_genes, generator=generator) < density)
    )


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 9), st.integers(1, 40), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(1, 70)
)
def test_any_shape_and_number_of_entries(n_cells, n_genes, density, width):
    rows, linear = rows_of(n_cells, n_genes, density, n_genes), nn.Linear(n_genes, width)
    expected = linear(rows.dense()).detach()
    found = linear_of_non_zeros(linear, rows)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_a_bit(threads):
    rows, linear = rows_of(50, 300, 0.1, 0), nn.Linear(300, 64)
    alone = linear_of_non_zeros(linear, rows)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(linear_of_non_zeros(linear, rows), alone)
    finally:
        torch.set_num_threads(before)


def test_a_missing_count_is_not_lost():
    rows, linear = rows_of(3, 40, 0.2, 0), nn.Linear(40, 5)
    rows.value[0] = float("nan")
    assert torch.isnan(linear_of_non_zeros(linear, rows)).any()


def test_where_it_does_not_serve():
    sparse, full = rows_of(20, 100, 0.05, 0), rows_of(20, 100, 0.5, 0)
    linear = nn.Linear(100, 8)
    assert not multiplies_non_zeros(linear, sparse)  # a gradient may be asked for
    with torch.no_grad():
        assert multiplies_non_zeros(linear, sparse)
        assert not multiplies_non_zeros(linear, full)
        assert not multiplies_non_zeros(linear.double(), sparse)
        assert not multiplies_non_zeros(nn.Linear(100, 8, bias=False), sparse)
        watched = nn.Linear(100, 8)
        watched.register_forward_hook(lambda *_: None)
        assert not multiplies_non_zeros(watched, sparse)
