from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betascvi.objectives import LVAE, BetaTCVAE, BetaVAE, TargetRate
from betascvi.schedules import Linear
from betascvi.sweep import Spec


@given(
    n_objectives=st.integers(1, 3),
    betas=st.lists(st.floats(0, 10), min_size=1, max_size=4, unique=True),
    seeds=st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
)
def test_a_grid_is_the_product_of_its_values_and_no_two_runs_share_a_folder(
    n_objectives, betas, seeds
):
    objectives = ["beta_vae", BetaVAE(free_bits=0.1), "beta_tc_vae"][:n_objectives]

    runs = Spec(objectives=objectives, betas=betas, seeds=seeds).runs()

    assert len(runs) == n_objectives * len(betas) * len(seeds)
    assert len({run.folder("cells") for run in runs}) == len(runs)
    assert {run.beta for run in runs} == set(betas)


def test_objectives_without_a_beta_are_run_once_a_seed():
    runs = Spec(objectives=["beta_vae", "l_vae"], betas=[1.0, 2.0, 4.0], seeds=[0, 1]).runs()

    assert sum(run.label == "LVAE" for run in runs) == 2
    assert [run.beta for run in runs if run.label == "LVAE"] == [None, None]
    assert sum(run.label == "BetaVAE" for run in runs) == 6


def test_a_rate_controller_keeps_the_beta_it_starts_from():
    (run,) = Spec(objectives=[TargetRate(rate=10.0)], betas=[4.0], seeds=[0]).runs()

    assert run.objective == TargetRate(rate=10.0)
    assert run.beta is None


def test_the_label_holds_what_differs_from_the_defaults_but_beta():
    spec = Spec(objectives=[BetaVAE(free_bits=0.5), BetaTCVAE(), LVAE()], betas=[2.0], seeds=[0])

    assert [run.label for run in spec.runs()] == ["BetaVAE(free_bits=0.5)", "BetaTCVAE", "LVAE"]


def test_a_scheduled_beta_is_named_by_where_it_ends_and_shown_in_the_label():
    (run,) = Spec(betas=[Linear(0.0, 4.0)], seeds=[0]).runs()

    assert run.beta == 4.0
    assert "Linear(start=0.0, stop=4.0, end=0.25)" in run.label


def test_without_betas_each_objective_is_taken_as_it_is():
    runs = Spec(objectives=[BetaVAE(beta=3.0), "beta_tc_vae"], seeds=[0]).runs()

    assert [run.objective for run in runs] == [BetaVAE(beta=3.0), BetaTCVAE()]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"train": {"max_epochs": 2}}, id="training"),
        pytest.param({"model": {"n_latent": 3}}, id="model"),
        pytest.param({"held_out": 0.5}, id="held-out cells"),
        pytest.param({"metrics": ["mig"]}, id="metrics"),
        pytest.param({"score_on": "all"}, id="scored cells"),
        pytest.param({"seeds": [1]}, id="seed"),
        pytest.param({"betas": [1.0 + 1e-9]}, id="beta"),
    ],
)
def test_whatever_changes_a_row_changes_the_folder(change):
    settings = {"betas": [1.0], "seeds": [0]}
    before = Spec(**settings).runs()[0]
    after = Spec(**(settings | change)).runs()[0]

    assert before.folder("cells") != after.folder("cells")


def test_other_cells_mean_another_folder_and_folders_are_plain_names():
    run = Spec(objectives=[BetaVAE(free_bits=0.5)], betas=[0.5], seeds=[0]).runs()[0]

    assert run.folder("some cells") != run.folder("other cells")
    assert run.folder("c") == run.folder("c")
    assert not set(run.folder("c")) & set("/\\ ()=,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"objectives": []}, "objectives is a list", id="no objective"),
        pytest.param({"objectives": "beta_vae"}, "objectives is a list", id="a word"),
        pytest.param({"objectives": ["beta_vea"]}, "did you mean 'beta_vae'", id="misspelt"),
        pytest.param({"seeds": []}, "seeds is a list", id="no seed"),
        pytest.param({"seeds": [1, 1]}, "twice", id="a seed twice"),
        pytest.param({"seeds": [1.5]}, "seeds are whole numbers", id="half a seed"),
        pytest.param({"betas": []}, "betas is a list of at least one", id="no beta"),
        pytest.param({"betas": [1.0, 1.0]}, "stands twice", id="a beta twice"),
        pytest.param({"betas": [-1.0]}, "beta must stay finite and at least 0", id="negative"),
        pytest.param({"betas": [math.nan]}, "beta must stay finite", id="missing beta"),
        pytest.param({"betas": 2.0}, "betas is a list", id="one beta"),
        pytest.param({"seeds": 3}, "seeds is a list", id="a number of seeds"),
        pytest.param({"metrics": ["mgi"]}, "metrics is a list of some", id="unknown metric"),
        pytest.param({"metrics": "mig"}, "metrics is a list of some", id="a metric's letters"),
        pytest.param({"held_out": 1.0}, "held_out is a share", id="all held out"),
        pytest.param({"score_on": "some"}, "score_on is", id="unknown cells"),
        pytest.param({"train": {"train_size": 0.5}}, "belong to the sweep", id="split twice"),
        pytest.param({"model": {"objective": "iwae"}}, "belong to the sweep", id="objective twice"),
    ],
)
def test_a_spec_that_cannot_run_is_refused_when_it_is_written(arguments, message):
    with pytest.raises(ValueError, match=message):
        Spec(**arguments)


def test_a_whole_number_is_the_same_run_as_its_float():
    folders = [Spec(betas=betas, seeds=[0]).runs()[0].folder("c") for betas in ([1], [1.0])]

    assert folders[0] == folders[1]
