"""The quick evaluation in linear space: where it is used, and that it is the same likelihood."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from betascvi.likelihoods._fused import Needs, Parameters
from betascvi.likelihoods._linear import linear_terms
from betascvi.likelihoods._terms import log_space_terms

ALL = Needs(True, True, True, False)


def _at(batch):
    return Parameters(batch.logits, batch.log_library, batch.log_dispersion)


@pytest.mark.parametrize("normalise", ["softmax", "softplus", "exp"])
@given(seed=st.integers(0, 2**16))
def test_its_terms_are_those_of_the_log_space(minibatch, normalise, seed):
    batch = minibatch(seed, 0.3, (6, 30), spread=2.0)

    quick = linear_terms(batch.rows, _at(batch), normalise, ALL)

    exact = log_space_terms(batch.rows, _at(batch.to(torch.float64)), normalise, ALL)
    assert quick is not None
    dense = [(quick.cost, exact.cost), (quick.cost_by_rate, exact.cost_by_rate)]
    for mine, expected in dense:
        torch.testing.assert_close(mine.double(), expected, rtol=1e-5, atol=0.0)
    for name in ("gain", "gain_by_rate", "gain_by_theta"):  # differences of terms of x's size
        mine, expected = (
            getattr(terms, name).double() / batch.rows.value for terms in (quick, exact)
        )
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize("log_theta", [-5.0, 0.0, 3.1, 10.0, 18.0], ids=lambda t: f"theta e^{t:g}")
def test_the_cost_by_dispersion_keeps_its_digits_summed_over_cells(minibatch, log_theta):
    batch = minibatch(0, 0.3, (200, 30))
    batch = replace(batch, log_dispersion=torch.full((30,), log_theta))

    quick = linear_terms(batch.rows, _at(batch), "softmax", ALL).cost_by_theta().sum(0)

    exact = log_space_terms(batch.rows, _at(batch.to(torch.float64)), "softmax", ALL)
    torch.testing.assert_close(quick.double(), exact.cost_by_theta().sum(0), rtol=2e-5, atol=0.0)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"log_dispersion": torch.full((60,), -70.0)}, id="tiny theta"),
        pytest.param({"log_dispersion": torch.full((60,), 30.0)}, id="huge theta"),
        pytest.param({"log_library": torch.full((12, 1), 79.0)}, id="huge library"),
        pytest.param({"logits": torch.full((12, 60), torch.nan)}, id="not a number"),
    ],
)
def test_it_declines_what_single_precision_cannot_hold(minibatch, change):
    batch = replace(minibatch(1, 0.3), **change)

    assert linear_terms(batch.rows, _at(batch), "softmax", ALL) is None


def test_it_declines_double_precision_and_dispersions_per_cell(minibatch):
    batch = minibatch(2, 0.3)
    per_cell = replace(batch, log_dispersion=batch.log_dispersion.expand_as(batch.logits))

    assert linear_terms(batch.rows, _at(batch.to(torch.float64)), "softmax", ALL) is None
    assert linear_terms(batch.rows, _at(per_cell), "softmax", ALL) is None
