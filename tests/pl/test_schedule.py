from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from betascvi.objectives import IWAE, BetaTCVAE, BetaVAE
from betascvi.pl import schedule
from betascvi.schedules import Cyclical, Linear, Sigmoid


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def _lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def test_a_schedule_is_drawn_at_its_values():
    cyclical = Cyclical(Linear(0.0, 2.0, end=0.5), cycles=4)

    (line,) = schedule(cyclical).get_lines()

    x, y = line.get_data()
    assert (x[0], x[-1]) == (0.0, 1.0)
    np.testing.assert_allclose(y, [cyclical(t) for t in x])


def test_the_weights_of_an_objective_have_their_names():
    ax = schedule(BetaTCVAE(beta=Linear(0.0, 6.0)))

    assert set(_lines(ax)) == set(BetaTCVAE().weights)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == list(BetaTCVAE().weights)


def test_what_is_not_reached_is_dotted():
    dotted = schedule({"slow": Sigmoid(0.0, 4.0, centre=1.0), "done": 2.0}).get_lines()

    assert [line.get_ydata()[0] for line in dotted if line.get_linestyle() == ":"] == [4.0]


def test_axes_that_are_given_are_drawn_on():
    _, ax = plt.subplots()

    assert schedule(BetaVAE(), ax=ax) is ax


@pytest.mark.parametrize("nothing", [IWAE(), {}], ids=["learns all", "empty"])
def test_nothing_to_draw_is_said(nothing):
    with pytest.raises(ValueError, match="no weight"):
        schedule(nothing)
