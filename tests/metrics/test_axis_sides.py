"""Cells part where the positions on an axis do, in two ends or with some cells between them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betascvi.metrics._axis_sides import sides


def _at(*places: tuple[float, int], seed: int = 0, spread: float = 0.1) -> np.ndarray:
    """(cells, 1) groups of cells at these places."""
    rng = np.random.default_rng(seed)
    return np.concatenate([place + spread * rng.normal(size=n) for place, n in places])[:, None]


def test_two_groups_are_the_two_ends() -> None:
    z = _at((-1.0, 300), (1.0, 700))

    low, high = sides(z)[:, :, 0].T

    np.testing.assert_array_equal(low, z[:, 0] < 0)
    np.testing.assert_array_equal(high, z[:, 0] > 0)


@pytest.mark.parametrize("n_between", [400, 2000])
def test_cells_between_two_groups_are_at_neither_end(n_between: int) -> None:
    z = _at((-2.0, 200), (0.0, n_between), (2.0, 200))

    low, high = sides(z)[:, :, 0].T

    np.testing.assert_array_equal(low, z[:, 0] < -1)
    np.testing.assert_array_equal(high, z[:, 0] > 1)


def test_a_few_cells_far_out_are_one_end_and_all_others_the_other() -> None:
    z = _at((0.0, 980), (3.0, 20))

    low, high = sides(z)[:, :, 0].T

    assert high.sum() == 20
    np.testing.assert_array_equal(low, ~high)


@pytest.mark.parametrize("turn", [0.0, 1.0, 2.5])
def test_an_axis_of_evenly_spread_cells_or_of_a_cycle_has_two_halves(turn: float) -> None:
    z = np.stack([np.linspace(-1, 1, 999), np.cos(np.linspace(0, 2 * np.pi, 999) + turn)], axis=1)

    on = sides(z)

    np.testing.assert_array_equal(on[:, 0], ~on[:, 1])
    np.testing.assert_allclose(on.mean(0), 0.5, atol=0.02)


def test_an_axis_where_all_cells_are_at_one_place_has_no_ends() -> None:
    assert not sides(np.full((50, 1), 0.3, dtype=np.float32)).any()
    assert not sides(np.zeros((1, 2))).any()


def test_cells_at_one_place_stay_together() -> None:
    z = np.repeat([0.0, 0.0, 0.0, 1.0], 25)[:, None]

    low, high = sides(z)[:, :, 0].T

    assert (low.sum(), high.sum()) == (75, 25)


@given(st.integers(0, 2**31), st.floats(0.1, 50.0), st.floats(-20.0, 20.0))
def test_ends_do_not_depend_on_where_an_axis_begins_nor_on_its_unit(
    seed: int, scale: float, shift: float
) -> None:
    z = _at((-2.0, 60), (0.0, 90), (2.5, 70), seed=seed, spread=0.3)

    on = sides(z)

    np.testing.assert_array_equal(sides(scale * z + shift), on)
    np.testing.assert_array_equal(sides(-z)[:, ::-1], on)
