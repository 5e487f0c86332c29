"""Active units: a count of variances."""

import numpy as np
import pytest

from betascvi.metrics import active_units


def test_axes_that_move_with_the_cell_are_counted() -> None:
    z = np.random.default_rng(0).normal(size=(2000, 4)) * np.sqrt([1.0, 0.02, 0.005, 0.0])

    score = active_units(z)

    assert float(score) == 2
    assert score.parts["share"] == 0.5
    assert score.details["variance"] == pytest.approx([1, 0.02, 0.005, 0], rel=0.2)


def test_the_threshold_is_the_callers() -> None:
    z = np.random.default_rng(0).normal(size=(500, 2))

    assert float(active_units(z, threshold=5.0)) == 0


def test_constant_axes_are_not_active_even_at_threshold_zero_after_rounding() -> None:
    assert float(active_units(np.full((500, 3), 0.1))) == 0
