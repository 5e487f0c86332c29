"""Draws of cells that agree on one factor."""

import numpy as np
import pytest

from betascvi._errors import UndefinedScoreError
from betascvi.metrics._sampling import CellDraws, SimulatorDraws, draw_chunks, make_draws


class Identity:
    """A simulator whose code is its factors."""

    def sample_factors(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(5, size=(n, 3))

    def embed(self, factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return factors + 0.01 * rng.normal(size=factors.shape)


def cell_draws() -> CellDraws:
    levels = np.random.default_rng(0).integers(5, size=(800, 3))
    return CellDraws(levels.astype(float), list(levels.T))


@pytest.fixture(params=["cells", "simulator"])
def draws(request: pytest.FixtureRequest) -> CellDraws | SimulatorDraws:
    if request.param == "cells":
        return cell_draws()
    return SimulatorDraws(Identity(), np.random.default_rng(0))


def test_pairs_agree_on_their_factor_and_by_chance_on_others(
    draws: CellDraws | SimulatorDraws,
) -> None:
    factor = np.arange(300) % 3

    one, other = draws.pairs(factor, 8, np.random.default_rng(1))

    agree = (np.round(one) == np.round(other)).mean(axis=1)
    own = agree[np.arange(300), factor]
    assert own.min() == 1
    assert (agree.sum(axis=1) - own).mean() / 2 == pytest.approx(1 / 5, abs=0.03)


def test_a_batch_shares_one_value_of_its_factor(draws: CellDraws | SimulatorDraws) -> None:
    factor = np.arange(300) % 3

    batch = np.round(draws.batches(factor, 8, np.random.default_rng(1)))

    spread = np.ptp(batch, axis=1)
    assert spread[np.arange(300), factor].max() == 0
    assert (spread > 0).sum(axis=1).mean() > 1.9


def test_every_cell_of_a_level_may_be_drawn() -> None:
    z = np.arange(40.0)[:, None]
    draws = CellDraws(z, [np.arange(40) % 2, np.arange(40) % 4])

    drawn = draws.pairs(np.zeros(200, int), 20, np.random.default_rng(0))[1]

    assert set(drawn.ravel()) == set(range(40))


def test_chunks_add_up_to_the_draws() -> None:
    assert sum(draw_chunks(10_000, 64)) == 10_000
    assert max(draw_chunks(10_000, 64)) == 1024


def test_cells_without_a_label_for_every_factor_are_left_out() -> None:
    factors = np.random.default_rng(0).integers(3, size=(100, 2)).astype(float)
    factors[:50, 1] = np.nan
    z = np.arange(100.0)[:, None]

    draws = make_draws(z, factors, (True, None, 20), np.random.default_rng(0), "score")

    assert draws.anything(500, np.random.default_rng(0)).min() == 50


def test_labels_that_no_cell_has_together_are_refused() -> None:
    factors = np.full((20, 2), np.nan)
    factors[:10, 0] = np.arange(10)
    factors[10:, 1] = np.arange(10)

    with pytest.raises(ValueError, match="no cell has a label for every factor"):
        make_draws(np.ones((20, 1)), factors, (True, None, 20), np.random.default_rng(0), "score")


def test_neither_labels_nor_simulator_is_refused() -> None:
    with pytest.raises(ValueError, match="score needs labels"):
        make_draws(np.ones((20, 1)), None, (None, None, 20), np.random.default_rng(0), "score")


def test_a_simulator_of_one_factor_is_refused() -> None:
    class Single(Identity):
        def sample_factors(self, n: int, rng: np.random.Generator) -> np.ndarray:
            return rng.integers(5, size=(n, 1))

    with pytest.raises(UndefinedScoreError, match="the simulator has one only"):
        make_draws(Single(), None, (None, None, 20), np.random.default_rng(0), "score")
