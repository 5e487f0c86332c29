"""The encoder's first product from non-zeros: the dense one to rounding, or not at all."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from betascvi.likelihoods import SparseRows
from betascvi.module._first_product import (
    gradient_by_weight,
    product,
    skips_zeros,
    store_by_gene,
)


def rows_of(n_cells: int, n_genes: int, density: float, seed: int) -> SparseRows:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(1, 50, (n_cells, n_genes), generator=generator).float()
    kept = torch.rand(n_cells, n_genes, generator=generator) < density
    return SparseRows.from_dense(counts * kept)


def layer(n_genes: int, width: int) -> nn.Linear:
    linear = nn.Linear(n_genes, width)
    store_by_gene(linear)
    return linear


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 9), st.integers(1, 40), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(1, 70)
)
def test_product_and_gradient_are_the_dense_ones(n_cells, n_genes, density, width):
    rows, linear = rows_of(n_cells, n_genes, density, n_genes), layer(n_genes, width)
    gradient = torch.randn(n_cells, width)
    expected = linear(rows.dense())
    expected.backward(gradient)
    found = product(rows, linear.weight, linear.bias)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-4)
    by_weight = gradient_by_weight(rows, gradient)
    torch.testing.assert_close(by_weight, linear.weight.grad, rtol=1e-5, atol=1e-4)
    assert by_weight.t().is_contiguous()  # as the weights are, or autograd copies it


def test_threads_do_not_change_a_bit():
    rows, linear, gradient = rows_of(50, 300, 0.1, 0), layer(300, 66), torch.randn(50, 66)
    before = torch.get_num_threads()

    def results(n_threads: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.set_num_threads(n_threads)
        try:
            return product(rows, linear.weight, linear.bias), gradient_by_weight(rows, gradient)
        finally:
            torch.set_num_threads(before)

    for one, other in zip(results(1), results(2), strict=True):
        assert torch.equal(one, other)


def test_a_missing_count_is_not_lost():
    rows, linear = rows_of(3, 40, 0.2, 0), layer(40, 5)
    rows.value[0] = float("nan")
    assert torch.isnan(product(rows, linear.weight, linear.bias)).any()


def test_storing_by_gene_changes_no_weight():
    linear = nn.Linear(7, 3)
    before = linear.weight.detach().clone()
    store_by_gene(linear)
    assert linear.weight.shape == (3, 7)
    assert torch.equal(linear.weight, before)


@pytest.mark.parametrize(
    ("what", "serves"),
    [("usual", True), ("full", False), ("double", False), ("no bias", False), ("row by row", False),
     ("watched", False)],
)  # fmt: skip
def test_where_zeros_are_skipped(what, serves):
    rows = rows_of(20, 100, 0.5 if what == "full" else 0.05, 0)
    linear = layer(100, 8)
    if what == "double":
        linear.double()
    elif what == "no bias":
        linear.bias = None
    elif what == "row by row":
        linear = nn.Linear(100, 8)
    elif what == "watched":
        linear.register_forward_hook(lambda *_: None)
    assert skips_zeros(linear, rows) is serves
