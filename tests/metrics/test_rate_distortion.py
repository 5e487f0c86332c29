from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from betascvi._errors import UndefinedScoreError
from betascvi.tl import rate_distortion


def _sweep(rate, distortion, noise=0.0, n_seeds=3):
    rng = np.random.default_rng(0)
    rows = [
        {"objective": "BetaVAE", "beta": beta, "seed": seed, "rate": r,
         "distortion": d + noise * rng.normal()}
        for beta, r, d in zip((4.0, 2.0, 1.0, 0.5), rate, distortion, strict=True)
        for seed in range(n_seeds)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.assign(elbo=-frame["rate"] - frame["distortion"])


def test_a_convex_curve_has_no_bulge():
    found = rate_distortion(_sweep([1, 4, 9, 16], [100, 80, 70, 66]))

    assert found.is_convex
    assert found.best()["beta"] == 1.0
    assert "convex" in str(found)


def test_a_point_above_the_line_between_two_others_is_named():
    found = rate_distortion(_sweep([1, 4, 9, 16], [100, 80, 90, 66]))

    assert not found.is_convex
    assert "BetaVAE at beta 1 lies" in found.bulges[0]


def test_a_bulge_within_the_noise_of_seeds_is_none():
    found = rate_distortion(_sweep([1, 4, 9, 16], [100, 80, 75.2, 66], noise=5.0))

    assert found.is_convex


def test_means_and_spreads_are_over_seeds_and_failed_runs_are_left_out():
    frame = _sweep([1, 4, 9, 16], [100, 80, 70, 66], noise=1.0)
    frame.loc[0, ["rate", "distortion", "elbo"]] = np.nan

    table = rate_distortion(frame).to_frame().set_index("beta")

    assert table.loc[4.0, "n_seeds"] == 2
    assert table.loc[1.0, "distortion_sd"] == pytest.approx(
        frame.loc[frame["beta"] == 1.0, "distortion"].std()
    )


def test_a_table_without_rates_is_refused():
    with pytest.raises(UndefinedScoreError, match="no column"):
        rate_distortion(pd.DataFrame({"beta": [1.0]}))


def test_of_one_seed_a_setting_no_bulge_can_be_told_from_noise():
    found = rate_distortion(_sweep([1, 4, 9, 16], [100, 80, 90, 66], n_seeds=1))

    assert found.is_convex is None
    assert "cannot be told from one seed" in str(found)
