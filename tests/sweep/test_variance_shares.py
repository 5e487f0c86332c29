from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from betascvi._errors import UndefinedScoreError
from betascvi.sweep import variance_shares


def _runs(objective=0.0, beta=0.0, seed=0.0):
    rng = np.random.default_rng(0)
    rows = [
        {"objective": name, "beta": b, "seed": s,
         "elbo": objective * i + beta * j + seed * rng.normal(), "constant": 3.0, "words": "x"}
        for i, name in enumerate(["BetaVAE", "BetaTCVAE"])
        for j, b in enumerate([0.5, 1.0, 4.0])
        for s in range(40)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("cause", ["objective", "beta", "seed"])
def test_a_spread_with_one_cause_is_given_to_it(cause):
    found = variance_shares(_runs(**{cause: 1.0}))

    assert list(found.index) == ["elbo"]  # what does not vary has no shares
    assert found.loc["elbo", cause] > 0.95  # chance gives settings 5 of 239
    assert found.loc["elbo", ["objective", "beta", "seed"]].sum() == pytest.approx(1.0)
    assert found.loc["elbo", "n_runs"] == 240


def test_an_objective_without_a_beta_is_one_setting():
    frame = pd.concat(
        [_runs(seed=1.0), _runs(seed=1.0).assign(objective="LVAE", beta=np.nan)], ignore_index=True
    )

    found = variance_shares(frame, ["elbo"])

    assert found.loc["elbo", "n_runs"] == 480
    assert 0.0 < found.loc["elbo", "beta"] < 0.5


def test_one_seed_a_setting_has_no_shares():
    frame = _runs(seed=1.0)

    assert variance_shares(frame[frame["seed"] == 0]).empty


@pytest.mark.parametrize(
    ("change", "scores", "message"),
    [
        pytest.param({"columns": ["seed"]}, None, "no column", id="no seed"),
        pytest.param({"columns": []}, ["mig"], "no scores of the frame", id="no such score"),
    ],
)
def test_another_table_is_refused(change, scores, message):
    with pytest.raises(UndefinedScoreError, match=message):
        variance_shares(_runs(seed=1.0).drop(**change), scores)
