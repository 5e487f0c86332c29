"""Chunks of minibatches: every cell once an epoch, and the fraction of the epoch with each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from betascvi.data._loader import MINIBATCHES_PER_CHUNK, ResidentLoader
from betascvi.data._resident import ResidentCells


def numbered(n: int) -> ResidentCells:
    """Cells that hold nothing but their own number."""
    return ResidentCells(None, {"number": torch.arange(n)})


def numbers_seen(loader: ResidentLoader) -> list[list[int]]:
    return [m["number"].tolist() for chunk in loader for _, m in chunk]


def flat(minibatches: list[list[int]]) -> list[int]:
    return [number for minibatch in minibatches for number in minibatch]


@given(
    n=st.integers(1, 400),
    batch_size=st.integers(1, 50),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_every_cell_comes_once_an_epoch(n: int, batch_size: int, shuffle: bool, seed: int) -> None:
    indices = np.random.default_rng(seed).permutation(n + 7)[:n]
    loader = ResidentLoader(numbered(n + 7), indices, batch_size, shuffle=shuffle)

    minibatches = numbers_seen(loader)

    assert sorted(flat(minibatches)) == sorted(indices)
    assert all(len(minibatch) == batch_size for minibatch in minibatches[:-1])
    assert len(minibatches) == loader.n_minibatches


@given(n=st.integers(1, 400), batch_size=st.integers(1, 50))
def test_each_minibatch_knows_the_fraction_of_the_epoch_before_it(n: int, batch_size: int) -> None:
    loader = ResidentLoader(numbered(n), np.arange(n), batch_size)

    fractions = [done for chunk in loader for done, _ in chunk]

    assert fractions == pytest.approx(np.arange(len(fractions)) / loader.n_minibatches)


@given(n=st.integers(1, 200), batch_size=st.integers(1, 50))
def test_a_short_last_minibatch_can_be_dropped(n: int, batch_size: int) -> None:
    loader = ResidentLoader(numbered(n), np.arange(n), batch_size, drop_last=True)

    minibatches = numbers_seen(loader)

    assert len(minibatches) == n // batch_size
    assert all(len(minibatch) == batch_size for minibatch in minibatches)


def test_the_number_of_chunks_is_the_one_announced() -> None:
    loader = ResidentLoader(numbered(1000), np.arange(1000), 10)

    assert len(loader) == len(list(loader)) == -(-100 // MINIBATCHES_PER_CHUNK)


def test_without_shuffling_cells_come_in_their_order() -> None:
    indices = np.array([5, 3, 9, 1])

    assert flat(numbers_seen(ResidentLoader(numbered(10), indices, 3))) == [5, 3, 9, 1]


def test_every_epoch_has_an_order_of_its_own() -> None:
    loader = ResidentLoader(numbered(200), np.arange(200), 16, shuffle=True)

    assert numbers_seen(loader) != numbers_seen(loader)


def test_the_order_is_the_seeds() -> None:
    loader = ResidentLoader(numbered(200), np.arange(200), 16, shuffle=True)
    orders = []
    for _ in range(2):
        torch.manual_seed(7)
        orders.append(numbers_seen(loader))

    assert orders[0] == orders[1]
