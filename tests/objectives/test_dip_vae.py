"""DIP-VAE: the covariance of the aggregate posterior, by hand and by the penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from betascvi.objectives import DIPVAE, Step
from betascvi.objectives._dip_vae import aggregate_covariance

# two axes, four cells: means (0, 1, 2, 3) and (0, 2, 0, 2); biased covariance
# [[1.25, 0.5], [0.5, 1.0]]; variances 0.25 and 0.04 throughout
LOC = torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 0.0], [3.0, 2.0]], dtype=torch.float64)
SCALE = torch.tensor([[0.5, 0.2]], dtype=torch.float64).expand(4, 2)


@pytest.mark.parametrize(
    ("kind", "off_diagonal", "diagonal"),
    [
        pytest.param("i", 2 * 0.5**2, 0.25**2 + 0.0, id="DIP-VAE-I"),
        pytest.param("ii", 2 * 0.5**2, 0.5**2 + 0.04**2, id="DIP-VAE-II"),
    ],
)
def test_penalties_are_those_of_a_matrix_worked_out_by_hand(
    step_of: Callable[..., Step], kind: str, off_diagonal: float, diagonal: float
) -> None:
    objective = DIPVAE(kind=kind, off_diagonal=3.0, diagonal=5.0)  # type: ignore[arg-type]

    penalties = objective(step_of(LOC, SCALE)).penalties

    assert penalties["off_diagonal"].value.item() == pytest.approx(off_diagonal, abs=1e-12)
    assert penalties["diagonal"].value.item() == pytest.approx(diagonal, abs=1e-12)
    assert (penalties["off_diagonal"].weight, penalties["diagonal"].weight) == (3.0, 5.0)


def test_the_covariance_is_numpys_biased_one(posterior: tuple[Tensor, Tensor]) -> None:
    q = Normal(*posterior)

    means = aggregate_covariance(q, "i").numpy()
    samples = aggregate_covariance(q, "ii").numpy()

    expected = np.cov(posterior[0].numpy().T, bias=True)
    np.testing.assert_allclose(means, expected, atol=1e-12)
    added = np.diag((posterior[1].numpy() ** 2).mean(0))
    np.testing.assert_allclose(samples, expected + added, atol=1e-12)


def test_gradient_descent_on_the_penalty_uncorrelates_a_toy(step_of: Callable[..., Step]) -> None:
    torch.manual_seed(0)
    axis = torch.randn(200, 1)
    loc = torch.cat([axis, axis + 0.3 * torch.randn(200, 1)], 1).requires_grad_()
    scale = torch.full_like(loc, 0.1).detach()
    optimizer = torch.optim.Adam([loc], lr=0.02)

    for _ in range(300):
        optimizer.zero_grad()
        step = replace(step_of(loc, scale), reconstruction=loc.new_zeros(200))
        DIPVAE(kind="i", beta=0.0)(step).total().backward()
        optimizer.step()

    covariance = aggregate_covariance(Normal(loc.detach(), scale), "i")
    assert abs(covariance[0, 1]) < 0.05


def test_anchored_axes_take_no_part_in_the_penalty(step_of: Callable[..., Step]) -> None:
    anchored = torch.cat([100.0 * LOC[:, :1], LOC], 1)
    step = step_of(
        anchored,
        torch.cat([SCALE[:, :1], SCALE], 1),
        blocks={"batch": slice(0, 1), "free": slice(1, 3)},
    )

    penalties = DIPVAE(kind="i")(step).penalties

    assert penalties["off_diagonal"].value.item() == pytest.approx(0.5)


def test_free_bits_floor_the_kl_and_leave_the_covariance_alone(step: Step) -> None:
    plain, floored = DIPVAE()(step).penalties, DIPVAE(free_bits=50.0)(step).penalties

    assert floored["kl"].value.item() == pytest.approx(4 * 50.0)
    torch.testing.assert_close(floored["off_diagonal"].value, plain["off_diagonal"].value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"kind": "iii"}, "kind is 'i' or 'ii'", id="kind"),
        pytest.param({"off_diagonal": -1.0}, "off_diagonal", id="negative weight"),
        pytest.param({"free_bits": -0.1}, "free_bits", id="negative free bits"),
    ],
)
def test_settings_without_meaning_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DIPVAE(**arguments)  # type: ignore[arg-type]
