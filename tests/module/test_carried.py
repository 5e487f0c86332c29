"""Counts carried to other expectations: the identities and moments that the coupling promises."""

from __future__ import annotations

import pytest
import torch

from betascvi.module._carried import carried
from betascvi.module._decoded import Decoded
from betascvi.module._likelihood import LIKELIHOODS, EmbeddingLikelihood

N_CELLS, N_GENES = 4000, 3


def decoded(seed: int = 0, dropout: float = -1.0) -> Decoded:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(N_GENES, generator=generator).expand(N_CELLS, -1)
    return Decoded(
        logits, torch.full((N_CELLS, 1), 3.0), torch.tensor([0.0, 1.0, 40.0]),
        torch.full_like(logits, dropout),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["nb", "zinb", "poisson"])
def test_equal_expectations_give_the_counts_back(name: str) -> None:
    likelihood, one = LIKELIHOODS[name], decoded()
    torch.manual_seed(0)
    x = likelihood.draw(one)

    assert torch.equal(carried(likelihood, x, one, one), x)


@pytest.mark.parametrize("name", ["nb", "zinb", "poisson"])
def test_counts_that_follow_one_distribution_follow_the_other_afterwards(name: str) -> None:
    likelihood, one, other = LIKELIHOODS[name], decoded(0), decoded(1)
    torch.manual_seed(0)

    moved = carried(likelihood, likelihood.draw(one), one, other)

    fresh = likelihood.draw(other)
    error = fresh.std(0) * (2 / N_CELLS) ** 0.5
    assert ((moved.mean(0) - fresh.mean(0)).abs() < 4 * error).all()
    torch.testing.assert_close(moved.var(0), fresh.var(0), rtol=0.3, atol=0.1)
    assert torch.equal(moved, moved.round())


def test_carried_counts_stay_nearer_than_counts_drawn_anew() -> None:
    likelihood, one, other = LIKELIHOODS["nb"], decoded(0), decoded(1)
    torch.manual_seed(0)
    x = likelihood.draw(one)

    apart = (carried(likelihood, x, one, other) - x).square().mean(0)

    assert apart.sum() < 0.5 * (likelihood.draw(other) - x).square().mean(0).sum()


def test_real_values_keep_their_residual() -> None:
    likelihood, one, other = EmbeddingLikelihood(), decoded(0), decoded(1)
    x = torch.randn(N_CELLS, N_GENES)

    moved = carried(likelihood, x, one, other)

    torch.testing.assert_close(moved - other.logits, x - one.logits)


def test_a_zero_that_was_surely_dropped_stays_one() -> None:
    likelihood, one, other = LIKELIHOODS["zinb"], decoded(0, 30.0), decoded(1, 30.0)

    moved = carried(likelihood, torch.zeros(N_CELLS, N_GENES), one, other)

    assert not moved.any()
