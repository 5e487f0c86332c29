"""What every schedule keeps to, whatever its arguments."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betascvi import schedules
from betascvi.schedules import (
    Constant,
    Cyclical,
    Linear,
    Schedule,
    Sigmoid,
    Staged,
    bounds_of,
    weight_at,
)

WEIGHTS = st.floats(0.0, 100.0)
FRACTIONS = st.floats(0.01, 1.5)
PROGRESS = st.floats(0.0, 1.0)
SIMPLE = st.one_of(
    st.builds(Constant, WEIGHTS),
    st.builds(Linear, WEIGHTS, WEIGHTS, FRACTIONS),
    st.builds(Sigmoid, WEIGHTS, WEIGHTS, st.floats(0.0, 1.0), FRACTIONS),
    st.lists(st.tuples(st.floats(0.01, 1.0), WEIGHTS), max_size=4, unique_by=lambda s: s[0]).map(
        lambda later: Staged(((0.0, 1.0), *sorted(later)))
    ),
)
ANY = st.one_of(SIMPLE, st.builds(Cyclical, SIMPLE, st.integers(1, 12)))


def test_every_public_schedule_is_drawn_here() -> None:
    public = {
        value
        for name in schedules.__all__
        if isinstance(value := getattr(schedules, name), type) and issubclass(value, Schedule)
    }

    assert public - {Schedule} == {Constant, Linear, Sigmoid, Cyclical, Staged}


@given(ANY, PROGRESS)
def test_a_schedule_is_finite_and_within_the_bounds_it_declares(
    schedule: Schedule, progress: float
) -> None:
    low, high = bounds_of(schedule)

    weight = weight_at(schedule, progress)

    assert math.isfinite(weight)
    assert low - 1e-9 <= weight <= high + 1e-9


@given(ANY, st.lists(PROGRESS, min_size=1, max_size=5))
def test_a_schedule_has_no_memory_of_when_it_was_asked(
    schedule: Schedule, others: list[float]
) -> None:
    before = schedule(0.4)

    for progress in others:
        schedule(progress)

    assert schedule(0.4) == before


@given(ANY)
def test_a_schedule_is_equal_to_its_saved_self(schedule: Schedule) -> None:
    again = pickle.loads(pickle.dumps(schedule))

    assert again == schedule
    assert hash(again) == hash(schedule)
    assert repr(again) == repr(schedule)


@given(st.one_of(st.builds(Linear, WEIGHTS, WEIGHTS, FRACTIONS),
                 st.builds(Sigmoid, WEIGHTS, WEIGHTS, PROGRESS, FRACTIONS)), PROGRESS)  # fmt: skip
def test_ramps_are_continuous(schedule: Schedule, progress: float) -> None:
    near = min(progress + 1e-7, 1.0)

    # the steepest ramp drawn climbs 100 in a hundredth of the training
    assert schedule(near) == pytest.approx(schedule(progress), abs=1e-2)


@given(WEIGHTS, WEIGHTS, st.floats(0.01, 1.0))
def test_a_ramp_that_ends_within_the_training_reaches_its_target(
    start: float, stop: float, end: float
) -> None:
    schedule = Linear(start, stop, end)

    assert schedule(1.0) == pytest.approx(schedule.target, abs=1e-9)


@given(ANY)
def test_a_schedule_cannot_be_changed(schedule: Schedule) -> None:
    with pytest.raises((AttributeError, TypeError)):
        schedule.weight = 3.0  # type: ignore[attr-defined]
