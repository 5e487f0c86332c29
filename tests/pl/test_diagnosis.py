from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from betascvi.metrics._diagnosis import Diagnosis, Fit, axes_of
from betascvi.metrics._information_identity import information_identity
from betascvi.metrics._regime import Support
from betascvi.pl import diagnosis


@pytest.fixture
def record():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(200, 3)) * [1.0, 0.0, 0.5]
    variance = np.broadcast_to([0.1, 1.0, 0.6], mean.shape).copy()
    names = ["free_1", "free_2", "free_3"]
    axes = axes_of(names, mean, variance, np.array([0.7, 0.0, 0.2]))
    identity = information_identity(mean, variance, rng=np.random.default_rng(1))
    fit = Fit(200, -105.0, 100.0, 120.0)
    return Diagnosis(axes, identity, fit, None, Support(0.9, 0.95), 0.5, "balanced", "because")


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_bars_are_the_kl_of_each_axis_largest_on_top_and_dead_ones_pale(record):
    kl, _, _ = diagnosis(record)

    widths = [bar.get_width() for bar in kl.patches]
    np.testing.assert_allclose(widths, np.sort(record.axes.kl))
    assert [t.get_text() for t in kl.get_yticklabels()] == ["free_2", "free_3", "free_1"]
    colours = [bar.get_facecolor() for bar in kl.patches]
    assert colours[0] != colours[1] == colours[2]


def test_sensitivity_stands_in_the_same_order(record):
    _, listens, _ = diagnosis(record)

    assert [bar.get_width() for bar in listens.patches] == [0.0, 0.2, 0.7]


def test_the_two_parts_of_the_rate_are_stacked_under_the_ceiling(record):
    _, _, split = diagnosis(record)

    low, high = split.patches
    assert low.get_height() == pytest.approx(record.identity.information)
    assert high.get_y() + high.get_height() == pytest.approx(record.identity.rate)
    assert split.get_lines()[0].get_ydata()[0] == pytest.approx(np.log(200))
