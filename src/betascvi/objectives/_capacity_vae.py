from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from typing_extensions import override

from betascvi.objectives._contract import LossTerms, Objective, Step, Term
from betascvi.schedules import Linear, Weight, check_weight, weight_at

_RISING = Linear(0.0, 15.0, end=0.5)


@dataclass(frozen=True)
class CapacityVAE(Objective):
    r"""The :math:`\beta`-VAE with a capacity (Burgess et al., 2018, eq. 8): the KL pulled to C.

    .. math::
        -\log p(x \mid z) + \gamma \, \bigl| \overline{\mathrm{KL}} - C \bigr|

    with the mean KL over the cells of the minibatch. ``capacity = 0`` with ``gamma = beta`` is
    :class:`BetaVAE`.

    Parameters
    ----------
    gamma
        Weight of the distance to the capacity; it holds the rate where it outweighs what a
        further nat of rate saves in reconstruction.
    capacity
        C, nats per cell; a number or a schedule (usually one that rises).

    See Also
    --------
    TargetRate : reaches a rate by moving the weight of the KL instead.
    """

    gamma: Weight = 100.0
    capacity: Weight = _RISING

    def __post_init__(self) -> None:
        check_weight("gamma", self.gamma)
        check_weight("capacity", self.capacity)

    @property
    @override
    def weights(self) -> Mapping[str, Weight]:
        return {"capacity_gap": self.gamma, "capacity": self.capacity}

    @override
    def __call__(self, step: Step) -> LossTerms:
        rate = step.kl.sum(-1).mean()
        capacity = weight_at(self.capacity, step.progress)
        gamma = weight_at(self.gamma, step.progress)
        return LossTerms(
            Term(step.reconstruction),
            {"capacity_gap": Term((rate - capacity).abs(), gamma)},
            {"capacity": torch.as_tensor(capacity)},
        )
