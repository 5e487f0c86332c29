"""Recent minibatches, encoded again in the way the model will show its cells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scvi import REGISTRY_KEYS
from scvi.module._constants import MODULE_KEYS
from torch import Tensor, nn

from betascvi.module._likelihood import dense

if TYPE_CHECKING:
    from torch.distributions import Normal

    from betascvi.module._vae import BetaVAEModule

EVERY = 4
"""Minibatches from one look to the next, and those that it takes in."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What the encoder says of the last minibatches, without dropout; it can be learnt from."""

    mean: Tensor
    """(cells, axes) posterior means; the cells of the newest minibatch are the last ones."""
    factors: Tensor
    """(cells, factors) codes."""


class Recent:
    """The minibatches since the last look: what they were, not where they were placed then.

    Positions that were kept from steps ago would lag behind the encoder, and a force that lags
    swings; so the counts are kept, and encoded by the encoder of now.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[dict[str, Tensor], Tensor]] = []
        self._n_steps = 0

    def look(
        self, module: BetaVAEModule, tensors: dict[str, Tensor], factors: Tensor
    ) -> Look | None:
        """At the first minibatch and every :data:`EVERY` after; None on those between."""
        self._kept.append((_dense(tensors), factors))
        self._n_steps += 1
        if (self._n_steps - 1) % EVERY:
            return None
        kept, self._kept = self._kept, []
        together = {name: torch.cat([t[name] for t, _ in kept]) for name in kept[0][0]}
        return Look(shown(module, together).loc, torch.cat([f for _, f in kept]))


def shown(module: BetaVAEModule, tensors: dict[str, Tensor]) -> Normal:
    """Posterior as users are shown it: no dropout, and the running statistics of batch norm."""
    inputs = module._get_inference_input(tensors, full_forward_pass=True)  # of minified cells, too
    with as_shown(module):
        qz: Normal = module._regular_inference(**inputs)[MODULE_KEYS.QZ_KEY]
    return qz


@contextmanager
def as_shown(module: nn.Module) -> Iterator[None]:
    """Without dropout, and with the running statistics of batch norm, which stay as they are.

    Each layer is back in its own mode afterwards: query mapping freezes some of them.
    """
    before = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, was_training in before:
            layer.training = was_training


def _dense(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    given = {name: value for name, value in tensors.items() if value is not None}
    return {**given, REGISTRY_KEYS.X_KEY: dense(tensors[REGISTRY_KEYS.X_KEY])}
