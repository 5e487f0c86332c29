"""Verdicts on learned sigmas: four ways to fail, and none of them in a healthy course."""

from __future__ import annotations

import numpy as np
import pytest

from betascvi.metrics._sigma_verdict import SigmaVerdict, sigma_verdict

EPOCHS = np.arange(60)
RECONSTRUCTION = 1000.0 + 150.0 * np.exp(-EPOCHS / 8.0)
KL = 15.0 * (1.0 - np.exp(-EPOCHS / 6.0)) + 0.5


def approach(start: float, target: np.ndarray, pace: float = 0.15) -> np.ndarray:
    """A sigma that covers a share of the (logarithmic) way to its target each epoch."""
    log_sigma, course = np.log(start), []
    for goal in np.log(target):
        log_sigma += pace * (goal - log_sigma)
        course.append(np.exp(log_sigma))
    return np.array(course)


def healthy(n_epochs: int = 60, seed: int = 0, **changes: object) -> SigmaVerdict:
    rng = np.random.default_rng(seed)
    noise = np.exp(0.01 * rng.standard_normal((2, 60)))
    course = {
        "sigma0": approach(1.0, (100.0 * RECONSTRUCTION) ** 0.25),
        "sigma1": approach(1.0, (KL + 0.01) ** 0.25),
        "reconstruction": RECONSTRUCTION * noise[0],
        "kl": KL * noise[1],
    }
    settings = {"scale": 100.0, "epsilon": 0.01, "baseline": 1120.0}
    given = {k: v[:n_epochs] for k, v in course.items()} | settings | changes
    return sigma_verdict(**given)  # type: ignore[arg-type]


def test_a_course_that_settles_where_its_law_says_has_converged() -> None:
    verdict = healthy()

    assert verdict.state == "converged"
    assert verdict.signatures == ()
    assert verdict.beta_hat == pytest.approx(np.sqrt(100.0 * 1000.0 / 15.5), rel=0.03)
    assert verdict.beta_hat == pytest.approx(verdict.expected_beta_hat, rel=0.03)


@pytest.mark.parametrize("n_epochs", [4, 6, 10, 15, 25])
@pytest.mark.parametrize("seed", range(10))
def test_a_healthy_run_cut_short_raises_no_alarm(n_epochs: int, seed: int) -> None:
    verdict = healthy(n_epochs, seed)

    assert verdict.signatures == ()
    assert verdict.state in ("moving", "converged")


def test_three_epochs_are_too_short_to_judge() -> None:
    verdict = healthy(3)

    assert verdict.state == "too short"
    assert verdict.signatures == ()


def test_sigmas_that_grow_for_ever_explode() -> None:
    growing = np.exp(0.1 * EPOCHS)

    verdict = healthy(sigma0=5.0 * growing, sigma1=growing)

    assert verdict.state == "diverging"
    assert verdict.signatures == ("sigma_explodes",)


def test_a_sigma_on_its_way_to_zero_vanishes() -> None:
    verdict = healthy(sigma1=np.exp(-0.1 * EPOCHS), kl=np.full(60, 1e-6), epsilon=0.0)

    assert verdict.state == "diverging"
    assert "sigma_vanishes" in verdict.signatures


def test_a_negative_reconstruction_loss_makes_sigma0_vanish() -> None:
    verdict = healthy(
        sigma0=np.exp(-0.02 * EPOCHS), reconstruction=np.full(60, -300.0), baseline=None
    )

    assert verdict.signatures == ("sigma_vanishes",)


def test_a_sigma1_that_never_left_its_start_is_stuck() -> None:
    verdict = healthy(sigma1=np.ones(60))

    assert verdict.signatures == ("sigma1_stuck",)


def test_a_sigma1_that_started_where_it_belongs_is_not_stuck() -> None:
    verdict = healthy(sigma1=np.ones(60), kl=np.full(60, 0.99))

    assert verdict.signatures == ()


def test_no_better_than_gene_means_is_poor_reconstruction() -> None:
    verdict = healthy(baseline=995.0)

    assert verdict.signatures == ("poor_reconstruction",)
    assert "mean profile" in str(verdict)


def test_a_run_that_still_learns_is_not_called_poor() -> None:
    verdict = healthy(6, baseline=995.0)

    assert verdict.signatures == ()


def test_a_beta_hat_that_swings_oscillates() -> None:
    swing = np.exp(0.2 * np.sin(EPOCHS * 1.5))

    verdict = healthy(sigma0=(100.0 * RECONSTRUCTION) ** 0.25 * swing)

    assert verdict.state == "oscillating"


def test_one_sigma_an_axis_is_judged_axis_by_axis() -> None:
    kl = np.stack([0.6 * KL, 0.4 * KL, np.full(60, 1e-4)], 1)
    sigma1 = np.stack([approach(1.0, (k + 0.01) ** 0.25) for k in kl.T], 1)
    stuck = sigma1.copy()
    stuck[:, 1] = 1.0

    assert healthy(sigma1=sigma1, kl=kl).signatures == ()
    assert healthy(sigma1=sigma1, kl=kl).state == "converged"
    assert healthy(sigma1=stuck, kl=kl).signatures == ("sigma1_stuck",)


def test_a_history_with_a_missing_value_is_refused() -> None:
    with pytest.raises(ValueError, match="finite histories"):
        healthy(kl=np.where(EPOCHS == 5, np.nan, KL))
