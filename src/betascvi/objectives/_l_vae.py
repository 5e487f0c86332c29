from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from betascvi.objectives._contract import LossTerms, Objective, Step, Term
from betascvi.objectives._settings import check_positive

_FOR_ALL, _BY_AXIS = 30.0, 100.0


@dataclass(frozen=True)
class LVAE(Objective):
    r"""L-VAE (arXiv 2507.02619): the weights of reconstruction and KL are learned.

    .. math::
        \frac{a}{\sigma_0^2} L_R + \frac{1}{\sigma_1^2} (\mathrm{KL} + \varepsilon)
        + \sigma_0^2 + \sigma_1^2

    with :math:`L_R = -\log p(x \mid z)`, or with one :math:`\sigma_j` for the KL of every axis.
    At the stationary point :math:`\sigma_0^2 = \sqrt{a L_R}` and
    :math:`\sigma_1^2 = \sqrt{\mathrm{KL} + \varepsilon}`, so

    .. math::
        \hat\beta = \frac{\sigma_0^2}{\sigma_1^2} = \sqrt{\frac{a L_R}{\mathrm{KL} + \varepsilon}},
        \qquad \beta = \frac{\hat\beta}{a}

    where :math:`\beta` is the weight of the KL once that of the reconstruction is made one.

    Parameters
    ----------
    scale
        a, weight of the reconstruction. Larger values keep axes alive: see Notes. None is 30, or
        100 with one :math:`\sigma` an axis ; it is a number once made.
    per_axis
        Learn one :math:`\sigma_j` for every axis, which prunes axes that earn little.
    sigma_init
        Value every :math:`\sigma` starts from.
    bounds
        Smallest and largest :math:`\sigma`, or None. A bound is a cap on a weight:
        :math:`1/\sigma^2` stays below one over the smaller bound squared.
    sum_of_squares
        Keep :math:`\sum \sigma^2`. Without it and without bounds a positive loss is made small
        by letting every :math:`\sigma` grow for ever (an ablation, not a way to train).
    epsilon
        :math:`\varepsilon`, nats. Caps the weight of a KL at :math:`1/\sqrt\varepsilon`; the
        paper has none, and a KL that touches zero then never comes back.

    Notes
    -----
    **The optimum on counts is a dead latent.** At stationary sigmas the loss is
    :math:`2 (\sqrt{a L_R} + \sqrt{\mathrm{KL}})`. With counts summed over genes
    :math:`\sqrt{L_R}` is flat where :math:`\sqrt{\mathrm{KL}}` is steep: on ``kang_pbmc_annotated``
    a trained scVI (1039.7 and 15.1 nats) costs 72.3 at a = 1, the mean profile with no latent at
    all (1134.7 and 0) 67.4. The paper's a = 1 collapses; the default a was chosen by measurement
    (``docs/concepts/objectives.md``).

    **Departures.** In training the loss is multiplied by :math:`\sigma_0^2 / a`, taken as a
    constant, so that the network sees a reconstruction of weight one: the stationary points are the
    same, and Adam, whose eps of 0.01 in scvi-tools is not small beside the gradients of a loss
    weighed by 0.3, is not slowed down by what is learned (on Kang that cost 22 nats of held-out
    ELBO). Sigmas are learned as :math:`\log \sigma^2`, so they stay positive; :math:`a` and :math:`\varepsilon` are ours, a = 1 and :math:`\varepsilon` = 0 the paper's.
    The learning rate of the sigmas is ``plan_kwargs={"state_lr": ...}``. ``sigma0``, ``sigma1``,
    ``beta_hat`` and ``realised_beta`` are in the history; per axis, ``sigma1`` is the one sigma
    that weighs the whole KL alike and ``kl_axis_j_weight`` holds :math:`1/\sigma_j^2`.
    """

    scale: float | None = None
    per_axis: bool = False
    sigma_init: float = 1.0
    bounds: tuple[float, float] | None = None
    sum_of_squares: bool = True
    epsilon: float = 0.01

    def __post_init__(self) -> None:
        if self.scale is None:
            object.__setattr__(self, "scale", _BY_AXIS if self.per_axis else _FOR_ALL)
        check_positive("scale", self.a)
        check_positive("sigma_init", self.sigma_init)
        if not 0.0 <= self.epsilon < math.inf:
            raise ValueError(f"epsilon is nats from 0 up, got {self.epsilon!r}.")
        if self.bounds is None:
            return
        object.__setattr__(self, "bounds", tuple(self.bounds))
        low, high = self.bounds
        if not 0.0 < low < high < math.inf:
            raise ValueError(f"bounds are two rising sigmas above 0, got {self.bounds!r}.")
        if not low <= self.sigma_init <= high:
            raise ValueError(f"sigma_init lies within {self.bounds!r}, got {self.sigma_init!r}.")

    @property
    def a(self) -> float:
        """:attr:`scale`, a number by now."""
        assert self.scale is not None
        return self.scale

    @override
    def make_state(self, n_latent: int) -> nn.Module:
        return Sigmas(n_latent if self.per_axis else 1, self.sigma_init, self.bounds)

    @override
    def __call__(self, step: Step) -> LossTerms:
        if not isinstance(step.state, Sigmas):
            raise ValueError(
                "LVAE needs what it learns: a step with state=objective.make_state(n)."
            )
        variance_0, variances_1 = step.state()
        kl = step.kl
        charges = self._charges(kl, variances_1)
        penalties = dict(charges)
        if self.epsilon:
            penalties["sigma_floor"] = Term((1.0 / variances_1).sum(), self.epsilon)
        if self.sum_of_squares:
            penalties["sigma_squares"] = Term(variance_0 + variances_1.sum())
        return LossTerms(
            Term(step.reconstruction, self.a / variance_0),
            penalties,
            self._reports(variance_0, variances_1, kl),
            pace=(variance_0 / self.a).detach(),
        )

    def _charges(self, kl: Tensor, variances_1: Tensor) -> Mapping[str, Term]:
        if not self.per_axis:
            return {"kl": Term(kl.sum(-1), 1.0 / variances_1[0])}
        weights = (1.0 / variances_1).unbind()
        return {
            f"kl_axis_{axis}": Term(value, weight)
            for axis, (value, weight) in enumerate(zip(kl.unbind(-1), weights, strict=True), 1)
        }

    @torch.no_grad()
    def _reports(self, variance_0: Tensor, variances_1: Tensor, kl: Tensor) -> dict[str, Tensor]:
        rates = kl.mean(0)
        # the one weight under which the whole KL would cost the same
        mean_weight = ((rates / variances_1).sum() / rates.sum().clamp(min=1e-12)).clamp(min=1e-12)
        beta_hat = variance_0 * mean_weight
        return {
            "sigma0": variance_0.sqrt(),
            "sigma1": mean_weight.rsqrt(),
            "beta_hat": beta_hat,
            "realised_beta": beta_hat / self.a,
        }


class Sigmas(nn.Module):
    """Learned variances: one of the reconstruction, one or several of the KL."""

    def __init__(self, n_axes: int, sigma_init: float, bounds: tuple[float, float] | None) -> None:
        super().__init__()
        start = 2.0 * math.log(sigma_init)
        self.log_variance_0 = nn.Parameter(torch.tensor(start))
        self.log_variances_1 = nn.Parameter(torch.full((n_axes,), start))
        self.log_bounds = None if bounds is None else tuple(2.0 * math.log(b) for b in bounds)

    @torch.no_grad()
    def settle(self) -> None:
        """Back within bounds after a step; projected, so that a sigma at its bound may come back."""
        if self.log_bounds is not None:
            for parameter in self.parameters():
                parameter.clamp_(*self.log_bounds)

    def forward(self) -> tuple[Tensor, Tensor]:
        """sigma_0 squared, and sigma_1 squared by axis (or one for all)."""
        if self.training:
            self.settle()
        return self.log_variance_0.exp(), self.log_variances_1.exp()
