"""Moves of blocks: to the target by the cell's own offset, and exactly nowhere for its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betascvi.model._block_moves import BlockMove

ANCHORS = np.array([[1.0, 0.3], [-0.7, 0.9], [-0.5, -1.1]])


def move(kind: Any, width: int = 2, **more: Any) -> BlockMove:
    levels = ("a", "b", "c") if kind == "categorical" else ()
    return BlockMove("f", kind, slice(1, 1 + width), levels, ANCHORS, np.ones(3) / 3, **more)


def positions(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(50, 4)).astype(np.float32)


@given(st.integers(0, 2**31))
def test_a_cell_moved_to_its_own_value_stays_to_the_last_bit(seed: int) -> None:
    rng, z = np.random.default_rng(seed), positions(seed)
    levels, angles, numbers = rng.integers(0, 3, 50), rng.uniform(0, 6.28, 50), rng.normal(size=50)

    np.testing.assert_array_equal(move("categorical").moved(z, levels, levels), z)
    np.testing.assert_array_equal(move("circular").moved(z, angles, angles), z)
    np.testing.assert_array_equal(move("continuous", 1).moved(z, numbers, numbers), z)


@given(st.integers(0, 2**31))
def test_the_offset_from_the_anchor_and_all_other_axes_stay(seed: int) -> None:
    rng, z = np.random.default_rng(seed), positions(seed)
    own, target = rng.integers(0, 3, 50), rng.integers(0, 3, 50)

    out = move("categorical").moved(z, own, target)

    np.testing.assert_allclose(out[:, 1:3] - ANCHORS[target], z[:, 1:3] - ANCHORS[own], atol=1e-5)
    np.testing.assert_array_equal(out[:, [0, 3]], z[:, [0, 3]])


def test_an_angle_turns_the_block_and_keeps_its_radius() -> None:
    z = positions(0)
    own = np.arctan2(z[:, 2], z[:, 1])

    out = move("circular").moved(z, own, own + np.pi / 2)

    np.testing.assert_allclose(out[:, 1], -z[:, 2], atol=1e-5)
    np.testing.assert_allclose(
        np.hypot(out[:, 1], out[:, 2]), np.hypot(z[:, 1], z[:, 2]), rtol=1e-5
    )


def test_a_number_moves_by_its_standard_deviations() -> None:
    z = positions(1)

    out = move("continuous", 1, scale=(10.0, 2.0)).moved(z, np.full(50, 10.0), np.full(50, 16.0))

    np.testing.assert_allclose(out[:, 1], z[:, 1] + 3.0, rtol=1e-5)


@pytest.mark.parametrize("missing", [-1.0, np.nan])
def test_a_cell_without_a_label_leaves_from_the_anchor_it_is_nearest_to(missing: float) -> None:
    z = np.zeros((3, 4), dtype=np.float32)
    z[:, 1:3] = ANCHORS + 0.05

    out = move("categorical").moved(z, np.full(3, missing), np.zeros(3, dtype=int))

    np.testing.assert_allclose(out[:, 1:3], np.tile(ANCHORS[0] + 0.05, (3, 1)), atol=1e-6)


def test_the_free_mean_is_the_mean_of_the_prior() -> None:
    out = move("categorical").at_free_mean(positions(2))

    np.testing.assert_allclose(out[:, 1:3], np.tile(ANCHORS.mean(0), (50, 1)), atol=1e-6)
