from __future__ import annotations

import numpy as np
import pytest

from betascvi.metrics._information_identity import information_identity
from betascvi.metrics._regime import regime_of, support


def _regime_of_codes(sd, gain=10.0):
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(400, 3)) * np.sqrt(max(1 - sd**2, 0.0))
    split = information_identity(mean, np.full((400, 3), sd**2), rng=rng)
    return regime_of(split.information, split.overlap, gain)


@pytest.mark.parametrize(
    ("sd", "regime"),
    [
        pytest.param(0.002, "islands", id="each cell a place of its own"),
        pytest.param(0.4, "balanced", id="overlapping posteriors"),
        pytest.param(1.0, "noise", id="posteriors are the prior"),
    ],
)
def test_width_of_posteriors_decides_the_regime(sd, regime):
    found, reason = _regime_of_codes(sd)

    assert found == regime
    assert len(reason) > 20


def test_a_decoder_no_better_than_gene_means_is_noise_whatever_the_codes_tell():
    found, reason = _regime_of_codes(0.4, gain=-3.0)

    assert found == "noise"
    assert "3.0 nats" in reason


def test_draws_from_the_same_law_have_support_and_far_ones_have_none():
    rng = np.random.default_rng(0)
    cells, others = rng.normal(size=(300, 4)), rng.normal(size=(300, 4))

    look = support(cells[:100] + 50.0, others, cells)

    assert look.prior == 0.0
    assert look.posterior > 0.8


def test_support_asks_for_more_cells_than_neighbours():
    few = np.zeros((4, 2))

    with pytest.raises(ValueError, match="reference cells, got 4"):
        support(few, few, few)
