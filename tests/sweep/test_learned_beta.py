from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import betascvi as bs
from betascvi import BetaSCVI
from betascvi.objectives import LVAE, BetaVAE
from betascvi.sweep import ENGINES, learned_beta
from betascvi.sweep._learned_beta import _of_length

_ASKED = {
    "seeds": [0, 1],
    "model": {"n_latent": 3, "n_hidden": 8},
    "train": {"max_epochs": 4, "accelerator": "cpu", "log_every_n_steps": 1},
    "held_out": 0.25,
    "metrics": ["mig"],
}


@pytest.fixture(scope="module")
def cells(tiny_source):
    adata = tiny_source.copy()
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["condition", "cell_type"])
    return adata


class Recorded:
    """Trains, and remembers the objectives it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, runs, adata, split):
        self.asked += [one.objective for one in runs]
        yield from ENGINES["sequential"](runs, adata, split)


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    return tmp_path_factory.mktemp("learned")


@pytest.fixture(scope="module")
def engine():
    return Recorded()


@pytest.fixture(scope="module")
def found(cells, engine, there):
    return learned_beta(cells, engine=engine, out=there, **_ASKED)


def test_four_arms_of_every_seed_are_trained(found):
    assert found.runs.groupby("arm").size().to_dict() == {
        "learned": 2, "fixed": 2, "replayed": 2, "shuffled": 2
    }  # fmt: skip


def test_arms_have_the_values_that_were_learned(found, engine):
    learned, fixed, replayed, shuffled = engine.asked[:4]
    course = [weight for _, weight in replayed.beta.stages]

    assert learned == LVAE()
    assert fixed.beta == course[-1] == found.runs.loc[0, "beta"]
    assert len(course) == 4
    assert sorted(course) == sorted(weight for _, weight in shuffled.beta.stages)
    assert isinstance(shuffled, BetaVAE)


def test_differences_are_paired_by_seed_with_student_s_interval(found):
    wide = found.runs.pivot(index="seed", columns="arm", values="elbo")
    gain = (wide["learned"] - wide["shuffled"]).to_numpy()

    frame = found.to_frame().set_index(["arm", "score"])
    row = frame.loc[("shuffled", "elbo")]

    reach = stats.t.ppf(0.975, 1) * stats.sem(gain)
    assert row["mean"] == pytest.approx(gain.mean())
    assert (row["low"], row["high"]) == pytest.approx((gain.mean() - reach, gain.mean() + reach))
    assert ("fixed", "mig") in frame.index
    assert "fixed: ELBO of the learned one" in str(found)


def test_with_a_folder_nothing_is_trained_twice(cells, found, there):
    again = Recorded()

    read = learned_beta(cells, engine=again, out=there, **_ASKED)

    assert again.asked == []
    np.testing.assert_allclose(read.differences["mean"], found.differences["mean"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"objective": LVAE(per_axis=True)}, "LVAE with one beta", id="many betas"),
        pytest.param({"objective": BetaVAE()}, "LVAE with one beta", id="nothing learned"),
        pytest.param({"betas": [1.0]}, "belong to the comparison", id="betas"),
    ],
)
def test_what_cannot_be_compared_is_refused(cells, arguments, message):
    with pytest.raises(ValueError, match=message):
        bs.sweep.learned_beta(cells, **arguments)


def test_arms_of_a_training_that_stopped_early_have_its_epochs():
    spec = {"seeds": [0], "train": {"early_stopping": True, "max_epochs": 40}}

    assert _of_length(spec, 3)["train"] == {"early_stopping": False, "max_epochs": 3}
    assert _of_length({"seeds": [0], "train": {"max_epochs": 40}}, 3)["train"] == {"max_epochs": 40}
