"""The KL of Gaussians is torch's, in value and slope, compiled or not."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from betascvi.objectives._gaussian_kl import kl_per_axis


def parts(dtype: torch.dtype) -> list[torch.Tensor]:
    torch.manual_seed(0)
    loc, prior_loc = torch.randn(2, 40, 6, dtype=dtype).unbind()
    scale, prior_scale = (0.05 + torch.rand(2, 40, 6, dtype=dtype)).unbind()
    return [part.clone().requires_grad_() for part in (loc, scale, prior_loc, prior_scale)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("learns_prior", [False, True])
@pytest.mark.parametrize("is_transposed", [False, True])
def test_value_and_slopes(dtype, learns_prior, is_transposed):
    weight = torch.linspace(-1.0, 2.0, 240, dtype=dtype).view(40, 6)
    slopes = []
    for divergence in (kl_per_axis, kl_divergence):
        own = parts(dtype)
        for part in own[2:]:
            part.requires_grad_(learns_prior)
        used = [part.t().contiguous().t() for part in own] if is_transposed else own
        kl = divergence(Normal(*used[:2]), Normal(*used[2:]))
        (weight * kl).sum().backward()
        slopes.append([kl.detach(), *(part.grad for part in own if part.requires_grad)])
    for found, expected in zip(*slopes, strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-5)


def test_single_precision_is_right_to_its_last_digits():
    own = [part.detach() for part in parts(torch.float64)]
    exact = kl_divergence(Normal(*own[:2]), Normal(*own[2:]))
    single = [part.float() for part in own]
    found = kl_per_axis(Normal(*single[:2]), Normal(*single[2:]))
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-6)


def test_a_nan_stays_where_it_is():
    own = [part.detach() for part in parts(torch.float32)]
    own[0][3, 2] = float("nan")
    found = kl_per_axis(Normal(*own[:2], validate_args=False), Normal(*own[2:]))
    assert torch.isnan(found).nonzero().tolist() == [[3, 2]]
