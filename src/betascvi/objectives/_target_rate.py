from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from betascvi.objectives._contract import LossTerms, Objective, Step, Term
from betascvi.objectives._settings import check_positive
from betascvi.schedules import Weight, bounds_of, check_weight, target_of, weight_at

_NEAR = 0.02
_LAST_PART = 20


@dataclass(frozen=True)
class TargetRate(Objective):
    r"""A :math:`\beta`-VAE whose :math:`\beta` is moved until the KL is as asked.

    .. math::
        -\log p(x \mid z) + \beta_t \, \mathrm{KL}(q(z \mid x) \,\|\, p(z)), \qquad
        \log \beta_t = g_P \, e_t + g_I \sum_{s \le t} e_s, \quad
        e_t = \log \frac{\overline{\mathrm{KL}}_t}{R}

    a proportional-integral controller on log :math:`\beta`, after ControlVAE (Shao et al.,
    2020, eq. 6), which works on :math:`\beta` itself and through a sigmoid.

    Parameters
    ----------
    rate
        R, nats per cell (one bit is 0.69 nats); a number or a schedule.
    beta
        Weight to start from.
    bounds
        Smallest and largest weight the controller may ask for.
    proportional, integral
        Gains :math:`g_P` and :math:`g_I`, per minibatch; errors beyond a factor e count as one.

    Notes
    -----
    The rate is held on the minibatches of the training, with dropout, as logged in
    ``kl_train``. The realised weight is in the history as ``kl_weight``. The controller is saved
    with the model and stands still outside training.
    """

    rate: Weight = 15.0
    beta: float = 1.0
    bounds: tuple[float, float] = (1e-4, 1e4)
    proportional: float = 0.5
    integral: float = 0.05

    def __post_init__(self) -> None:
        check_weight("rate", self.rate)
        if bounds_of(self.rate)[0] <= 0.0:
            raise ValueError(f"rate is nats per cell above 0, got {self.rate!r}.")
        object.__setattr__(self, "bounds", tuple(self.bounds))
        low, high = self.bounds
        if not 0.0 < low < high < math.inf:
            raise ValueError(f"bounds are two rising weights above 0, got {self.bounds!r}.")
        if not low <= self.beta <= high:
            raise ValueError(f"beta starts within bounds {self.bounds!r}, got {self.beta!r}.")
        check_positive("proportional", self.proportional)
        check_positive("integral", self.integral)

    @property
    @override
    def weights(self) -> Mapping[str, Weight]:
        return {"rate_target": self.rate}

    @override
    def shortfall(self, history: Mapping[str, Any]) -> str | None:
        """Where the rate of the last epochs, a twentieth of them, is more than 2 % off."""
        if not {"kl_train", "kl_weight"} <= set(history) or not len(history["kl_train"]):
            return None
        rates, asked = history["kl_train"].iloc[:, 0], target_of(self.rate)
        moves = bounds_of(self.rate)[0] < bounds_of(self.rate)[1]
        n_last = 1 if moves else max(len(rates) // _LAST_PART, 1)
        rate = float(rates.iloc[-n_last:].mean())
        if abs(rate - asked) <= _NEAR * asked:
            return None
        weight = float(history["kl_weight"].iloc[-1, 0])
        at_bound = weight <= 1.01 * self.bounds[0] or weight >= 0.99 * self.bounds[1]
        why = "is at its bound" if at_bound else "still moves: train longer"
        return (
            f"the rate is {rate:.3g} nats, {asked:.3g} were asked for; the weight of the KL, "
            f"{weight:.3g}, {why}."
        )

    @override
    def make_state(self, n_latent: int) -> nn.Module:
        return RateController(self.beta, self.bounds, (self.proportional, self.integral))

    @override
    def __call__(self, step: Step) -> LossTerms:
        kl = step.kl.sum(-1)
        rate = weight_at(self.rate, step.progress)
        weight: float | Tensor = self.beta
        if isinstance(step.state, RateController):
            if step.state.training:
                step.state.observe(kl.detach().mean(), rate)
            weight = step.state.weight()
        reports = {"rate_target": torch.as_tensor(rate)}
        return LossTerms(Term(step.reconstruction), {"kl": Term(kl, weight)}, reports)


class RateController(nn.Module):
    """Proportional-integral controller of a weight on a log scale."""

    log_weight: Tensor
    integrated: Tensor

    def __init__(
        self, start: float, bounds: tuple[float, float], gains: tuple[float, float]
    ) -> None:
        super().__init__()
        self.low, self.high = math.log(bounds[0]), math.log(bounds[1])
        self.proportional, self.integral = gains
        self.register_buffer("log_weight", torch.tensor(math.log(start)))
        self.register_buffer("integrated", torch.tensor(math.log(start)))

    def weight(self) -> Tensor:
        """Weight as of the last observation."""
        return self.log_weight.exp()

    @torch.no_grad()
    def observe(self, rate: Tensor, target: float) -> None:
        """Take in the rate of a minibatch."""
        error = (rate / target).clamp(min=1e-6).log().clamp(-1.0, 1.0)
        # clamping the integral as well keeps it from winding up at a bound
        self.integrated.add_(self.integral * error).clamp_(self.low, self.high)
        asked = self.integrated + self.proportional * error
        self.log_weight.copy_(asked.clamp(self.low, self.high))
