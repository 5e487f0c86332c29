"""Minibatches of counts, and the likelihoods written down naively, in dense double precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch

from betascvi import likelihoods


@dataclass(frozen=True)
class Minibatch:
    """Counts and everything a likelihood can be evaluated at."""

    x: torch.Tensor
    logits: torch.Tensor
    log_library: torch.Tensor
    log_dispersion: torch.Tensor
    dropout_logits: torch.Tensor
    weight: torch.Tensor

    def to(self, dtype: torch.dtype) -> Minibatch:
        names = ("logits", "log_library", "log_dispersion", "dropout_logits", "weight")
        return replace(
            self, **{name: getattr(self, name).detach().to(dtype).clone() for name in names}
        )

    @property
    def rows(self) -> likelihoods.SparseRows:
        return likelihoods.SparseRows.from_dense(self.x)

    def evaluate(self, kind: str, how: str = "sparse") -> dict[str, torch.Tensor]:
        """Value per cell, and the gradients of its weighted sum."""
        parameters = {
            name: getattr(self, name).clone().requires_grad_() for name in ARGUMENTS[kind]
        }
        if how == "sparse":
            nll = getattr(likelihoods, kind)(self.rows, **parameters)
        else:
            nll = -NAIVE[kind](self.x.to(self.logits.dtype), **parameters).sum(-1)
        gradients = torch.autograd.grad((nll * self.weight).sum(), list(parameters.values()))
        return {"nll": nll.detach(), **dict(zip(parameters, gradients, strict=True))}


COUNT_LIKELIHOODS = ("negative_binomial", "zero_inflated_negative_binomial", "poisson")
ARGUMENTS = {
    "negative_binomial": ("logits", "log_library", "log_dispersion"),
    "zero_inflated_negative_binomial": (
        "logits",
        "log_library",
        "log_dispersion",
        "dropout_logits",
    ),
    "poisson": ("logits", "log_library"),
}


def draw(
    seed: int,
    density: float = 0.1,
    shape: tuple[int, int] = (12, 60),
    spread: float = 1.0,
) -> Minibatch:
    """Overdispersed counts of about the density asked for, in single precision."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=rng)

    n_cells, n_genes = shape
    rate = torch.exp(normal(n_cells, n_genes) + normal(n_genes)) * density
    x = torch.poisson(rate, generator=rng)
    x[:, 0] += 1.0  # no cell without counts
    return Minibatch(
        x,
        torch.log(x.mean(0) + 0.01) + spread * normal(n_cells, n_genes),
        torch.log(1.3 * x.sum(1, keepdim=True)),  # at the sum itself the slope by library vanishes
        spread * normal(n_genes),
        spread * normal(n_cells, n_genes),
        torch.rand(n_cells, generator=rng) + 0.1,
    )


def _naive_negative_binomial(
    x: torch.Tensor,
    logits: torch.Tensor,
    log_library: torch.Tensor,
    log_dispersion: torch.Tensor,
) -> torch.Tensor:
    mu, theta = torch.softmax(logits, -1) * log_library.exp(), log_dispersion.exp()
    return (
        torch.lgamma(x + theta)
        - torch.lgamma(theta)
        - torch.lgamma(x + 1)
        - theta * torch.log1p(mu / theta)
        + x * torch.log(mu / (mu + theta))
    )


def _naive_zero_inflated(
    x: torch.Tensor,
    logits: torch.Tensor,
    log_library: torch.Tensor,
    log_dispersion: torch.Tensor,
    dropout_logits: torch.Tensor,
) -> torch.Tensor:
    log_p = _naive_negative_binomial(x, logits, log_library, log_dispersion)
    dropped = torch.sigmoid(dropout_logits)
    return torch.where(
        x == 0,
        torch.log(dropped + (1 - dropped) * log_p.exp()),
        torch.nn.functional.logsigmoid(-dropout_logits) + log_p,
    )


def _naive_poisson(
    x: torch.Tensor, logits: torch.Tensor, log_library: torch.Tensor
) -> torch.Tensor:
    log_rate = torch.log_softmax(logits, -1) + log_library
    return x * log_rate - log_rate.exp() - torch.lgamma(x + 1)


NAIVE = {
    "negative_binomial": _naive_negative_binomial,
    "zero_inflated_negative_binomial": _naive_zero_inflated,
    "poisson": _naive_poisson,
}


@pytest.fixture(scope="session")
def minibatch() -> Callable[..., Minibatch]:
    return draw


@pytest.fixture(scope="session", params=COUNT_LIKELIHOODS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)
