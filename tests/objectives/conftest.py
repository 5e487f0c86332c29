"""Steps made by hand: any posterior, a prior, a size of the training set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from betascvi.objectives import Step


def make(loc: Tensor, scale: Tensor, **fields: Any) -> Step:
    """A step in which every cell's reconstruction is its own number."""
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(loc.shape, generator=generator, dtype=loc.dtype)
    given: dict[str, Any] = {
        "reconstruction": 100.0 + torch.arange(len(loc), dtype=loc.dtype),
        "qz": Normal(loc, scale),
        "pz": Normal(torch.zeros_like(loc), torch.ones_like(loc)),
        "z": loc + scale * noise,
        "blocks": {"free": slice(0, loc.shape[-1])},
        **fields,
    }
    return Step(**given)


@pytest.fixture
def step_of() -> Callable[..., Step]:
    """``step_of(loc, scale, **fields)``."""
    return make


@pytest.fixture
def posterior() -> tuple[Tensor, Tensor]:
    """Means and standard deviations of 9 cells on 4 axes, double precision."""
    generator = torch.Generator().manual_seed(0)
    loc = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    return loc, torch.rand(9, 4, generator=generator, dtype=torch.float64) + 0.2


@pytest.fixture
def step(posterior: tuple[Tensor, Tensor]) -> Step:
    """Nine cells out of a thousand."""
    return make(*posterior, n_cells=1000)
