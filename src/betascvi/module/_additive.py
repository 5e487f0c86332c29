"""The additive decoder: rates of axes add, in one matrix product."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from betascvi.module._additive_settings import AdditiveSettings, Shape
from betascvi.module._axis_networks import AxisNetworks
from betascvi.module._covariate_shift import CovariateShift
from betascvi.module._decoders import Heads, inverse_softplus, log_profile

_OFFSET_STEP = 2.0
_GATES: dict[str, Callable[[Tensor], Tensor]] = {
    "softplus": functional.softplus,
    "sigmoid": torch.sigmoid,
}
_STARTS = {"softplus": (0.0, 1.0), "sigmoid": (-2.5, 2.0)}
"""Offset and slope of a gate: a sigmoid is off at the origin and half on at 1.25 deviations."""


class AdditiveDecoder(nn.Module):
    r"""Each axis adds its own profile of genes to a cell's rates.

    .. math::
        \lambda_g \propto e^{b_g} \Bigl(\epsilon + \sum_k \sum_p
        s(\pm a_{kp} z_k + t_{kp})\, e^{W_{kpg}}\Bigr)

    with a softplus or a sigmoid for s: DRVI's log-sum-exp of logits (:cite:p:`Moinfar24`) with
    profiles in place of networks, one product of (cells, axes x profiles) with (axes x profiles,
    genes). Covariates shift :math:`b_g`.
    """

    def __init__(self, shape: Shape, settings: AdditiveSettings) -> None:
        super().__init__()
        self.shape = shape
        self.settings = settings
        self.shift = CovariateShift(shape.n_levels, shape.n_numbers, shape.n_genes)
        has_networks = settings.pooling == "logsumexp"
        if has_networks and shape.is_embedding:
            raise ValueError(
                "pooling='logsumexp' adds rates, and the data are real numbers (obsm_key=); "
                "leave it out: values of the axes add."
            )
        self.pool = AxisNetworks(shape, settings) if has_networks else Profiles(shape, settings)
        # heads of the likelihood that are not rates are linear in the axes
        self.px_r_decoder = _linear(shape) if shape.has_dispersion else None
        self.px_dropout_decoder = _linear(shape) if shape.has_dropout else None

    def forward(self, inputs: Tensor, *codes: Tensor) -> Heads:
        """Logits (and other heads the likelihood asked for) of latent positions."""
        z, numbers = inputs.split([self.shape.n_axes, self.shape.n_numbers], dim=-1)
        logits = self.shift(numbers, *codes) + self.pool(z)
        return Heads(
            inverse_softplus(logits) if self.shape.is_softplus else logits,
            self.px_r_decoder(z) if self.px_r_decoder is not None else None,
            self.px_dropout_decoder(z) if self.px_dropout_decoder is not None else None,
        )

    @property
    def needs_start(self) -> bool:
        """Whether nobody has set the log mean profile yet."""
        return not bool(self.shift.log_profile.any())

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Let a cell at the origin express the mean profile, (genes,)."""
        profile = self.shift.log_profile
        mean = mean.to(profile)
        if not self.shape.is_embedding:
            mean = log_profile(mean)
        start = mean - self.pool(profile.new_zeros(1, self.shape.n_axes))[0]
        # a softplus takes rates as they are; a softmax does not see their level
        keeps_level = self.shape.is_softplus or self.shape.is_embedding
        profile.copy_(start if keeps_level else start - start.mean())

    def own_rates(self) -> tuple[list[nn.Parameter], float]:
        """Parameters with a learning rate of their own, and that rate."""
        own = list(self.shift.parameters())
        if isinstance(self.pool, Profiles):
            own.append(self.pool.profiles)
        return own, self.settings.learning_rate


class Profiles(nn.Module):
    """Profiles of genes under scalar gates of one axis each."""

    sign: Tensor
    """+1 for profiles that act as an axis rises, -1 for those that act as it falls."""

    def __init__(self, shape: Shape, settings: AdditiveSettings) -> None:
        super().__init__()
        self.adds_rates = settings.pooling == "rate" and not shape.is_embedding
        self.floor = settings.floor
        self.gate = _GATES[settings.gate]
        start, slope = _STARTS[settings.gate]
        size = (shape.n_axes, settings.n_profiles)
        self.profiles = nn.Parameter(settings.spread * torch.randn(*size, shape.n_genes))
        # further pairs of an axis wait until it is farther out
        offset = start - _OFFSET_STEP * torch.div(torch.arange(size[1]), 2, rounding_mode="floor")
        self.offset = nn.Parameter(offset.float().repeat(size[0], 1))
        self.log_slope = nn.Parameter(torch.full(size, math.log(slope)))
        self.register_buffer("sign", 1.0 - 2.0 * (torch.arange(size[1]) % 2), persistent=False)

    def gates(self, z: Tensor) -> Tensor:
        """(..., cells, axes, profiles): how far each profile is on."""
        return self.gate(z[..., None] * (self.sign * self.log_slope.exp()) + self.offset)

    def forward(self, z: Tensor) -> Tensor:
        """Sum over axes, (..., cells, genes): a log rate, or a logit."""
        gates = self.gates(z)
        if self.adds_rates:
            rates = gates.flatten(-2) @ self.profiles.flatten(0, 1).exp()
            return (rates + self.floor).log()
        gates = gates - self.gate(self.offset)  # the origin is the mean profile
        return gates.flatten(-2) @ self.profiles.flatten(0, 1)


def _linear(shape: Shape) -> nn.Linear:
    return nn.Linear(shape.n_axes, shape.n_genes)
