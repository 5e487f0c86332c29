"""Weights that move: functions of the fraction of training done, from 0 to 1.

One clock, one unit. A schedule knows nothing of epochs, steps or data set sizes, so a warm-up
completes whatever the number of cells.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real

from typing_extensions import override

from betascvi._whole_numbers import refuse_count

__all__ = [
    "Constant",
    "Cyclical",
    "Linear",
    "Schedule",
    "Sigmoid",
    "Staged",
    "Weight",
    "bounds_of",
    "check_weight",
    "target_of",
    "weight_at",
]


class Schedule(abc.ABC):
    """A weight as a function of the fraction of training done."""

    @abc.abstractmethod
    def __call__(self, progress: float) -> float:
        """Weight at ``progress``, the fraction of training done (0 to 1)."""

    @property
    @abc.abstractmethod
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest weight the schedule can ask for."""

    @property
    @abc.abstractmethod
    def target(self) -> float:
        """Weight the schedule means to end at; ``schedule(1.0)`` may fall short of it."""


Weight = float | Schedule


def weight_at(weight: Weight, progress: float) -> float:
    """Value of a weight, fixed or scheduled, at a fraction of the training done."""
    return weight(min(max(progress, 0.0), 1.0)) if isinstance(weight, Schedule) else float(weight)


def target_of(weight: Weight) -> float:
    """Weight that a training run to its end is meant to reach."""
    return weight.target if isinstance(weight, Schedule) else float(weight)


def bounds_of(weight: Weight) -> tuple[float, float]:
    """Smallest and largest value a weight can take."""
    return weight.bounds if isinstance(weight, Schedule) else (float(weight), float(weight))


def check_weight(name: str, weight: Weight, *, minimum: float = 0.0) -> None:
    """Refuse a weight that is not a number or schedule, or can fall below ``minimum``."""
    if not isinstance(weight, Schedule | Real) or isinstance(weight, bool):
        raise ValueError(f"{name} is a number or a schedule, got {weight!r}.")
    low, high = bounds_of(weight)
    if not (math.isfinite(low) and math.isfinite(high)) or low < minimum:
        raise ValueError(f"{name} must stay finite and at least {minimum:g}, got {weight!r}.")


@dataclass(frozen=True)
class Constant(Schedule):
    """The same weight throughout."""

    weight: float

    def __post_init__(self) -> None:
        _check_finite(self, weight=self.weight)

    @override
    def __call__(self, progress: float) -> float:
        return float(self.weight)

    @property
    @override
    def bounds(self) -> tuple[float, float]:
        return float(self.weight), float(self.weight)

    @property
    @override
    def target(self) -> float:
        return float(self.weight)


@dataclass(frozen=True)
class Linear(Schedule):
    r"""From ``start`` to ``stop`` in a straight line, then held.

    .. math:: w(t) = start + (stop - start) \, \min(t / end, 1)

    ``end`` is the fraction of training after which ``stop`` is reached.
    """

    start: float
    stop: float
    end: float = 0.25

    def __post_init__(self) -> None:
        _check_finite(self, start=self.start, stop=self.stop)
        if not 0.0 < self.end < math.inf:
            raise ValueError(f"Linear: end is a positive fraction of training, got {self.end!r}.")

    @override
    def __call__(self, progress: float) -> float:
        return self.start + (self.stop - self.start) * min(progress / self.end, 1.0)

    @property
    @override
    def bounds(self) -> tuple[float, float]:
        return _ordered(self.start, self.stop)

    @property
    @override
    def target(self) -> float:
        return float(self.stop)


@dataclass(frozen=True)
class Sigmoid(Schedule):
    r"""From ``start`` to ``stop`` along a logistic curve.

    .. math:: w(t) = start + (stop - start) \, \sigma((t - centre) / width)
    """

    start: float
    stop: float
    centre: float = 0.25
    width: float = 0.05

    def __post_init__(self) -> None:
        _check_finite(self, start=self.start, stop=self.stop, centre=self.centre)
        if not 0.0 < self.width < math.inf:
            raise ValueError(f"Sigmoid: width is positive, got {self.width!r}.")

    @override
    def __call__(self, progress: float) -> float:
        x = (progress - self.centre) / self.width
        # tanh form of the logistic function: no overflow for narrow widths
        return self.start + (self.stop - self.start) * 0.5 * (1.0 + math.tanh(0.5 * x))

    @property
    @override
    def bounds(self) -> tuple[float, float]:
        return _ordered(self.start, self.stop)

    @property
    @override
    def target(self) -> float:
        return float(self.stop)


@dataclass(frozen=True)
class Cyclical(Schedule):
    r"""``inner`` run afresh in each of ``cycles`` equal parts (Fu et al., 2019).

    .. math:: w(t) = inner(t \cdot cycles - \lfloor t \cdot cycles \rfloor), \quad w(1) = inner(1)

    The fraction of a cycle held at the top is one minus ``inner``'s own ``end``.
    """

    inner: Schedule
    cycles: int = 4

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Schedule):
            raise ValueError(f"Cyclical wraps a schedule, got {self.inner!r}.")
        refuse_count("Cyclical: cycles", self.cycles)

    @override
    def __call__(self, progress: float) -> float:
        position = progress * self.cycles
        # rounding must not start the next cycle early or late: 0.3 * 10 is 2.999...
        cycle = min(math.floor(position + 1e-9), self.cycles - 1)
        return self.inner(min(max(position - cycle, 0.0), 1.0))

    @property
    @override
    def bounds(self) -> tuple[float, float]:
        return self.inner.bounds

    @property
    @override
    def target(self) -> float:
        return self.inner.target


@dataclass(frozen=True)
class Staged(Schedule):
    """Steps: pairs (fraction of training, weight from there on), the first at 0."""

    stages: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        try:
            stages = tuple((float(at), float(weight)) for at, weight in self.stages)
        except (TypeError, ValueError):
            raise ValueError(
                f"Staged takes pairs (fraction, weight), such as ((0.0, 0.0), (0.5, 1.0)); got "
                f"{self.stages!r}."
            ) from None
        object.__setattr__(self, "stages", stages)
        starts = [at for at, _ in stages]
        if not stages or starts[0] != 0.0 or any(b <= a for a, b in pairwise(starts)):
            raise ValueError(
                f"Staged takes pairs (fraction, weight) from 0.0 upwards, got {self.stages!r}."
            )
        _check_finite(self, **{f"the weight from {at:g}": weight for at, weight in stages})

    @override
    def __call__(self, progress: float) -> float:
        reached = (weight for at, weight in reversed(self.stages) if progress >= at)
        return next(reached, self.stages[0][1])

    @property
    @override
    def bounds(self) -> tuple[float, float]:
        weights = [weight for _, weight in self.stages]
        return min(weights), max(weights)

    @property
    @override
    def target(self) -> float:
        return self.stages[-1][1]


def _ordered(a: float, b: float) -> tuple[float, float]:
    return (float(a), float(b)) if a <= b else (float(b), float(a))


def _check_finite(schedule: Schedule, **values: float) -> None:
    for name, value in values.items():
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(
                f"{type(schedule).__name__}: {name} must be a finite number, got {value!r}."
            )
