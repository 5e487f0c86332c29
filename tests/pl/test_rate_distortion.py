from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from betascvi.pl import rate_distortion


@pytest.fixture
def sweep():
    betas, seeds = np.array([0.5, 1.0, 4.0, np.nan]), 2
    rate = np.array([20.0, 12.0, 4.0, 8.0])
    frame = pd.DataFrame(
        {
            "objective": np.repeat(["BetaVAE"] * 3 + ["LVAE"], seeds),
            "beta": np.repeat(betas, seeds),
            "seed": np.tile([0, 1], 4),
            "rate": np.repeat(rate, seeds) + np.tile([-0.5, 0.5], 4),
            "distortion": np.repeat([1000.0, 1003.0, 1020.0, 1010.0], seeds),
        }
    )
    return frame.assign(elbo=-frame["rate"] - frame["distortion"])


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_points_are_means_over_seeds_labelled_with_their_beta(sweep):
    ax = rate_distortion(sweep)

    beta_vae = ax.containers[0].lines[0]
    np.testing.assert_allclose(np.asarray(beta_vae.get_xdata()), [4.0, 12.0, 20.0])
    np.testing.assert_allclose(np.asarray(beta_vae.get_ydata()), [1020.0, 1003.0, 1000.0])
    assert [text.get_text() for text in ax.texts] == ["4", "1", "0.5"]


def test_an_objective_without_a_beta_is_a_point_of_its_own(sweep):
    ax = rate_distortion(sweep)

    np.testing.assert_allclose(np.asarray(ax.containers[1].lines[0].get_xdata()), [8.0])
    assert ax.containers[1].get_label() == "LVAE"


def test_the_faint_line_joins_points_of_the_best_elbo(sweep):
    ax = rate_distortion(sweep)

    line = next(line for line in ax.get_lines() if line.get_label().startswith("ELBO"))
    np.testing.assert_allclose(-line.get_xdata() - line.get_ydata(), -1015.0)


def test_every_point_lies_within_the_axes(sweep):
    ax = rate_distortion(sweep)
    ax.figure.canvas.draw()

    low, high = ax.get_ylim()
    assert ((sweep["distortion"] > low) & (sweep["distortion"] < high)).all()
    assert sweep["rate"].max() < ax.get_xlim()[1]
