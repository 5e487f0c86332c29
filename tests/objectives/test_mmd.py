"""The discrepancy between groups against a sum written out pair by pair."""

from __future__ import annotations

import itertools

import pytest
import torch

from betascvi.objectives._mmd import group_discrepancy, kernel_of


def written_out(kernel: torch.Tensor, a: list[int], b: list[int]) -> float:
    def mean(pairs: list[tuple[int, int]]) -> float:
        return sum(float(kernel[i, j]) for i, j in pairs) / len(pairs)

    same = [list(itertools.permutations(group, 2)) for group in (a, b)]
    return mean(same[0]) + mean(same[1]) - 2 * mean(list(itertools.product(a, b)))


def test_of_two_groups_it_is_the_unbiased_squared_mmd() -> None:
    z = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    groups = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, -1])
    kernel = kernel_of(z)

    value = group_discrepancy(kernel, groups, 2, torch.ones(9))

    assert float(value) == pytest.approx(written_out(kernel, [0, 1, 2, 3], [4, 5, 6, 7]), rel=1e-4)


def test_it_is_zero_on_average_where_groups_do_not_differ_and_large_where_they_do() -> None:
    generator = torch.Generator().manual_seed(1)
    groups = torch.arange(60) % 3
    same, apart = [], []
    for _ in range(200):
        z = torch.randn(60, 2, generator=generator)
        same.append(float(group_discrepancy(kernel_of(z), groups, 3, torch.ones(60))))
        moved = z + groups[:, None]
        apart.append(float(group_discrepancy(kernel_of(moved), groups, 3, torch.ones(60))))

    assert abs(sum(same) / 200) < 0.005
    assert sum(apart) / 200 > 0.1


def test_children_are_compared_with_siblings_alone() -> None:
    z = torch.randn(40, 2, generator=torch.Generator().manual_seed(2))
    parents = torch.arange(40) // 20
    z = z + 5.0 * parents[:, None]
    children = 2 * parents + torch.arange(40) % 2
    kernel = kernel_of(z)

    blind = group_discrepancy(kernel, children, 4, torch.ones(40))
    within = group_discrepancy(kernel, children, 4, torch.ones(40), parents)

    assert blind > 0.2 > 0.1 > abs(within)


def test_a_group_of_one_cell_takes_no_part() -> None:
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(3))

    value = group_discrepancy(kernel_of(z), torch.tensor([0, -1, -1, 1, -1]), 2, torch.ones(5))

    assert float(value) == 0.0


def test_identical_positions_have_a_kernel_without_nan_in_value_and_gradient() -> None:
    z = torch.zeros(6, 2, requires_grad=True)

    group_discrepancy(kernel_of(z), torch.arange(6) % 2, 2, torch.ones(6)).backward()

    assert torch.isfinite(z.grad).all()
