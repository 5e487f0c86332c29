from __future__ import annotations

import numpy as np
import pytest

from betascvi.metrics._diagnosis import Fit, axes_of, collapse, problems_of


def _axes(sd_of_means, posterior_sd, sensitivity=0.1):
    sd = np.asarray(sd_of_means, dtype=float)
    mean = np.random.default_rng(0).normal(size=(2000, len(sd))) * sd
    variance = np.full_like(mean, np.asarray(posterior_sd) ** 2)
    names = [f"free_{i + 1}" for i in range(len(sd))]
    return axes_of(names, mean, variance, np.broadcast_to(sensitivity, len(sd)))


def _fit(distortion, null=100.0):
    return Fit(10, -distortion - 5, distortion, null)


def test_collapse_names_the_axes_that_carry_nothing():
    kl = np.array([0.3, 0.001, 0.2, 0.0, 0.1])

    assert collapse(["1", "2", "3", "4", "5"], kl) == (
        "collapse: axes 2, 4 carry < 0.01 nat, all together 0.60 nat"
    )


def test_pruned_axes_of_a_latent_that_works_are_no_collapse():
    assert collapse(list("abcdef"), np.array([2.0, 1.5, 0.0, 0.0, 0.0, 0.0])) is None


def test_a_latent_of_many_weak_axes_is_a_collapse_without_a_dead_axis():
    assert collapse(list("abc"), np.full(3, 0.05)) == (
        "collapse: all 3 axes together carry 0.15 nat"
    )


def test_kl_per_axis_is_the_gaussian_closed_form():
    axes = _axes([1.0, 0.0], [0.5, 1.0])

    expected = 0.5 * (0.25 + 1.0 - 1.0 - np.log(0.25))
    assert axes.kl[0] == pytest.approx(expected, abs=0.03)
    assert axes.kl[1] == pytest.approx(0.0, abs=1e-12)
    assert axes.is_active.tolist() == [True, False]
    assert axes.is_dead.tolist() == [False, True]


def test_a_healthy_model_has_no_problem():
    axes = _axes([1.0, 1.0, 0.0], [0.3, 0.3, 1.0])

    assert problems_of(axes, "balanced", "", _fit(90.0), _fit(95.0)) == ()


def test_a_faint_axis_that_moves_the_decoder_as_far_as_its_nats_go_is_no_problem():
    faint = _axes([2.0, 0.2], [0.3, 0.98], sensitivity=[0.2, 0.002])

    assert problems_of(faint, "balanced", "", _fit(90.0), None) == ()


def test_an_axis_that_carries_much_and_moves_nothing_is_named():
    axes = _axes([1.0, 1.0], [0.3, 0.3], sensitivity=[0.2, 0.001])

    (problem,) = problems_of(axes, "balanced", "", _fit(90.0), None)
    assert problem.startswith("the decoder does not listen to free_2,")


def test_a_decoder_that_hears_no_axis_is_a_problem_that_names_it():
    axes = _axes([1.0, 1.0], [0.3, 0.3], sensitivity=1e-5)

    problems = problems_of(axes, "balanced", "", _fit(90.0), None)

    assert len(problems) == 1
    assert "free_1, free_2" in problems[0]


def test_a_reconstruction_no_better_than_gene_means_is_a_problem():
    problems = problems_of(_axes([1.0], [0.3]), "noise", "...", _fit(101.0), None)

    assert problems == (
        "the decoder ignores z (or training was short): gene means alone reconstruct 1.0 nats better",
    )


def test_worse_than_gene_means_on_held_out_cells_alone_is_overfitting():
    problems = problems_of(_axes([1.0], [0.3]), "balanced", "", _fit(80.0), _fit(103.0))

    assert problems == ("overfitting: on held-out cells gene means alone are 3.0 nats better",)


def test_islands_are_a_problem_with_their_reason():
    problems = problems_of(_axes([1.0], [0.3]), "islands", "why", _fit(80.0), _fit(85.0))

    assert problems == ("islands: why",)
