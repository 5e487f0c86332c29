"""What an objective sees, what it returns, and the interface between."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from betascvi.objectives._gaussian_kl import kl_per_axis
from betascvi.objectives._weighted_means import weighted_means
from betascvi.schedules import Weight


class Draws(NamedTuple):
    """Further samples of the posterior of one minibatch, decoded."""

    z: Tensor
    """(samples, cells, axes), differentiable."""
    reconstruction: Tensor
    """(samples, cells): -log p(x | z) in nats, summed over genes."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an objective may look at: one minibatch, encoded and decoded."""

    reconstruction: Tensor
    """(cells,): -log p(x | z) in nats, summed over genes."""
    qz: Normal
    """q(z | x): (cells, axes)."""
    pz: Normal
    """Prior of every cell and axis: (cells, axes)."""
    z: Tensor
    """(cells, axes): one sample of ``qz``."""
    progress: float = 1.0
    """The clock: fraction of the training done."""
    n_cells: int = 1
    """Size of the training set."""
    resample: Callable[[int], Draws] | None = None
    """``resample(k)``: k more samples of the posterior, decoded."""
    make_px: Callable[[], Distribution] | None = None
    """Builds the dense p(x | z); ask :attr:`px` for it."""
    make_x: Callable[[], Tensor] | None = None
    """Builds the dense data; ask :attr:`x` for them."""
    factors: Mapping[str, Tensor] = field(default_factory=dict)
    """Anchored factor -> (cells,) codes or values; NaN where the label is missing."""
    blocks: Mapping[str, slice] = field(default_factory=dict)
    """Block name -> its axes; always has ``"free"``, in a model all that an objective sees."""
    state: nn.Module | None = None
    """What the objective learns, from :meth:`Objective.make_state`."""
    critic: nn.Module | None = None
    """Only in training with a critic, from :meth:`Objective.make_critic`."""
    known_kl: Tensor | None = None
    """:attr:`kl`, where the module has it already."""

    @property
    def kl(self) -> Tensor:
        """KL(q(z | x) || p(z)) in nats, (cells, axes)."""
        return kl_per_axis(self.qz, self.pz) if self.known_kl is None else self.known_kl

    @property
    def x(self) -> Tensor:
        """(cells, genes): the data, dense, built when asked for."""
        if self.make_x is None:
            raise ValueError("this step carries no data; use step.reconstruction.")
        return self.make_x()

    @property
    def px(self) -> Distribution:
        """The dense p(x | z), built when asked for."""
        if self.make_px is None:
            raise ValueError("this step carries no decoder; use step.reconstruction.")
        return self.make_px()


class Term(NamedTuple):
    """One part of a loss, raw, with its weight beside it."""

    value: Tensor
    """Nats; (cells,) or a scalar."""
    weight: float | Tensor = 1.0
    """A tensor where the weight is learned."""


@dataclass(frozen=True, slots=True)
class LossTerms:
    """A loss in parts: what is reported is raw, what is minimised is weighted."""

    reconstruction: Term
    penalties: Mapping[str, Term]
    reports: Mapping[str, Tensor] = field(default_factory=dict)
    """Further scalars for the history, such as what an objective learns; not minimised."""
    pace: float | Tensor = 1.0
    """The training multiplies :meth:`total` by it: no minimum moves, but the length of steps. Where
    the weight of the reconstruction is learned, its reciprocal lets a network learn as elsewhere."""

    def total(self) -> Tensor:
        """Weighted sum of the parts, each averaged over the cells of the minibatch."""
        terms = (self.reconstruction, *self.penalties.values())
        fixed = tuple(float(t.weight) for t in terms if not isinstance(t.weight, Tensor))
        if len(fixed) == len(terms):
            return weighted_means(fixed, tuple(term.value for term in terms))
        return torch.stack([term.weight * term.value.mean() for term in terms]).sum()

    def named(self) -> dict[str, Term]:
        """All parts by name, the reconstruction first."""
        return {"reconstruction": self.reconstruction, **self.penalties}


class Objective(abc.ABC):
    """A training objective: frozen data plus one call.

    Write a subclass as a frozen dataclass; hand it to ``BetaSCVI(adata, objective=...)``.
    It holds no weights. One that learns declares :meth:`make_state`; one trained against a
    critic declares :meth:`make_critic`.
    """

    @abc.abstractmethod
    def __call__(self, step: Step) -> LossTerms:
        """Loss of one minibatch."""

    def __new__(cls, *_args: object, **settings: object) -> Self:
        """Say what to do where free bits mean nothing, before dataclasses say less."""
        if "free_bits" in settings and "free_bits" not in signature(cls.__init__).parameters:
            raise ValueError(
                f"{cls.__name__} has no free_bits: it does not charge the KL axis by axis. "
                "BetaVAE, FactorVAE and DIPVAE do."
            )
        return super().__new__(cls)

    @property
    def weights(self) -> Mapping[str, Weight]:
        """What is fixed or scheduled, by the name of the penalty (or report) it shows in."""
        return {}

    def make_state(self, n_latent: int) -> nn.Module | None:  # noqa: ARG002 (for those that use it)
        """Parameters this objective learns; the module owns, trains and saves them."""
        return None

    def shortfall(self, history: Mapping[str, Any]) -> str | None:  # noqa: ARG002
        """What the training of this history did not reach of what was asked, in words."""
        return None

    def make_critic(self, n_latent: int) -> nn.Module | None:  # noqa: ARG002
        """Network trained against this objective; it lives in the training plan."""
        return None
