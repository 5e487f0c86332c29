"""Weights that move: exact formulas, boundary values, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from betascvi.objectives import IWAE, BetaVAE
from betascvi.schedules import (
    Constant,
    Cyclical,
    Linear,
    Sigmoid,
    Staged,
    bounds_of,
    check_weight,
    target_of,
    weight_at,
)


@pytest.mark.parametrize(
    ("progress", "weight"), [(0.0, 1.0), (0.125, 2.0), (0.25, 3.0), (0.7, 3.0), (1.0, 3.0)]
)
def test_linear_rises_in_a_straight_line_and_then_holds(progress: float, weight: float) -> None:
    assert Linear(1.0, 3.0, end=0.25)(progress) == pytest.approx(weight, rel=1e-12)


def test_linear_reaches_its_stop_after_a_quarter_of_the_training_by_default() -> None:
    schedule = Linear(0.0, 4.0)

    assert schedule(0.25) == 4.0
    assert schedule(0.2499) < 4.0


def test_linear_that_ends_after_the_training_falls_short_of_its_target() -> None:
    schedule = Linear(0.0, 1.0, end=2.0)

    assert schedule(1.0) == pytest.approx(0.5)
    assert target_of(schedule) == 1.0


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.25, 0.4, 1.0])
def test_sigmoid_is_the_logistic_function_of_the_distance_to_its_centre(progress: float) -> None:
    logistic = 1.0 / (1.0 + math.exp(-(progress - 0.25) / 0.05))

    assert Sigmoid(0.5, 4.0)(progress) == pytest.approx(0.5 + 3.5 * logistic, rel=1e-12)


def test_sigmoid_is_half_way_at_its_centre() -> None:
    assert Sigmoid(1.0, 3.0, centre=0.6, width=0.1)(0.6) == pytest.approx(2.0)


def test_sigmoid_of_a_tiny_width_is_a_step_without_overflow() -> None:
    step = Sigmoid(0.0, 2.0, centre=0.5, width=1e-12)

    assert (step(0.0), step(1.0)) == (0.0, 2.0)


@pytest.mark.parametrize("cycles", [1, 2, 3, 4, 7, 10])
def test_cyclical_starts_every_part_afresh(cycles: int) -> None:
    schedule = Cyclical(Linear(0.5, 2.0, end=0.5), cycles)

    assert [schedule(k / cycles) for k in range(cycles)] == pytest.approx([0.5] * cycles)


@pytest.mark.parametrize("within", [0.0, 0.2, 0.5, 0.8, 0.999])
def test_cyclical_follows_its_inner_schedule_in_each_cycle(within: float) -> None:
    inner = Linear(0.0, 4.0, end=0.5)

    assert Cyclical(inner, 4)((2 + within) / 4) == pytest.approx(inner(within), abs=1e-9)


def test_cyclical_ends_at_the_top_of_its_last_cycle() -> None:
    assert Cyclical(Linear(0.0, 4.0, end=0.5), cycles=4)(1.0) == 4.0


def test_one_cycle_is_the_inner_schedule() -> None:
    inner = Sigmoid(0.0, 1.0, centre=0.4)

    assert [Cyclical(inner, 1)(t / 20) for t in range(21)] == pytest.approx(
        [inner(t / 20) for t in range(21)]
    )


@pytest.mark.parametrize(
    ("progress", "weight"), [(0.0, 0.0), (0.2999, 0.0), (0.3, 1.0), (0.6, 2.5), (1.0, 2.5)]
)
def test_staged_changes_at_the_fraction_named(progress: float, weight: float) -> None:
    assert Staged(((0.0, 0.0), (0.3, 1.0), (0.6, 2.5)))(progress) == weight


def test_staged_takes_lists_and_still_compares_and_hashes() -> None:
    from_lists = Staged([[0, 0], [0.3, 1]])  # type: ignore[arg-type]

    assert from_lists == Staged(((0.0, 0.0), (0.3, 1.0)))
    assert hash(from_lists) == hash(Staged(((0.0, 0.0), (0.3, 1.0))))


def test_a_plain_number_is_a_constant_weight() -> None:
    assert weight_at(2, 0.3) == Constant(2)(0.3) == 2.0
    assert bounds_of(2.0) == bounds_of(Constant(2.0)) == (2.0, 2.0)
    assert target_of(2.0) == target_of(Constant(2.0)) == 2.0


@pytest.mark.parametrize(("progress", "weight"), [(-0.5, 1.0), (1.5, 3.0)])
def test_a_clock_outside_the_training_stands_at_its_ends(progress: float, weight: float) -> None:
    assert weight_at(Linear(1.0, 3.0, end=1.0), progress) == weight


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Linear(0.0, 1.0, end=0.0), id="linear that never starts"),
        pytest.param(lambda: Linear(0.0, 1.0, end=math.nan), id="linear with a missing end"),
        pytest.param(lambda: Linear(0.0, math.inf), id="linear to infinity"),
        pytest.param(lambda: Sigmoid(0.0, 1.0, width=0.0), id="sigmoid without width"),
        pytest.param(lambda: Sigmoid(0.0, 1.0, centre=math.nan), id="sigmoid without centre"),
        pytest.param(lambda: Constant(math.nan), id="constant that is no number"),
        pytest.param(lambda: Cyclical(Linear(0.0, 1.0), cycles=0), id="no cycles"),
        pytest.param(lambda: Cyclical(Linear(0.0, 1.0), cycles=True), id="cycles is a bool"),
        pytest.param(lambda: Cyclical(1.0), id="cycle of a number"),
        pytest.param(lambda: Constant("1"), id="constant that is a word"),
        pytest.param(lambda: Linear("a", 1.0), id="a line from a word"),
        pytest.param(lambda: Staged((0.0, 1.0)), id="a pair of numbers for pairs"),
        pytest.param(lambda: Staged(()), id="no stages"),
        pytest.param(lambda: Staged(((0.1, 1.0),)), id="nothing at the start"),
        pytest.param(lambda: Staged(((0.0, 1.0), (0.5, 2.0), (0.5, 3.0))), id="a stage twice"),
        pytest.param(lambda: Staged(((0.0, 1.0), (0.5, math.nan))), id="a missing weight"),
    ],
)
def test_a_schedule_that_cannot_run_is_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"Linear|Sigmoid|Constant|Cyclical|Staged"):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    "weight", [-1.0, math.nan, math.inf, "4", None, True, Linear(-1.0, 1.0)], ids=repr
)
def test_a_weight_that_is_no_weight_is_refused_by_its_name(weight: object) -> None:
    with pytest.raises(ValueError, match="beta"):
        check_weight("beta", weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("beta", [np.float32(2), np.int64(2), np.float64(2), 2])
def test_numbers_of_numpy_are_numbers(beta: float) -> None:
    assert weight_at(BetaVAE(beta=beta).beta, 0.5) == 2.0
    assert Cyclical(Linear(0.0, 1.0, end=1.0), np.int64(4))(0.1) == pytest.approx(0.4)
    assert IWAE(n_samples=np.int64(3)).n_samples == 3


def test_before_its_first_stage_a_staged_weight_is_that_of_the_first() -> None:
    assert Staged(((0.0, 0.5), (0.3, 1.0)))(-0.1) == 0.5
