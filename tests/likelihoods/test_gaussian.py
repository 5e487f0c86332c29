"""The Gaussian of dense values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from betascvi import likelihoods


def _draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("scale_shape", [(5,), (7, 5)], ids=["per feature", "per cell"])
def test_it_equals_scipy(scale_shape):
    x, mean, log_scale = _draw(0, 7, 5), _draw(1, 7, 5), _draw(2, *scale_shape)

    nll = likelihoods.gaussian(x, mean, log_scale)

    expected = -stats.norm.logpdf(x.numpy(), mean.numpy(), log_scale.exp().numpy()).sum(1)
    np.testing.assert_allclose(nll, expected, rtol=1e-12)


def test_samples_of_the_mean_lead_the_cells():
    x, mean, log_scale = _draw(0, 7, 5), _draw(1, 3, 7, 5), _draw(2, 5)

    nll = likelihoods.gaussian(x, mean, log_scale)

    assert nll.shape == (3, 7)
    assert torch.equal(nll[1], likelihoods.gaussian(x, mean[1], log_scale))


def test_a_mean_of_another_width_is_refused():
    with pytest.raises(ValueError, match="mean must end in"):
        likelihoods.gaussian(torch.zeros(7, 5), torch.zeros(7, 1), torch.zeros(5))
