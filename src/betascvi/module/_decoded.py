"""What a decoder says of a minibatch, before anybody turns it into a distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

DECODED_KEY = "decoded"
"""Where ``generative`` hands a :class:`Decoded` to the loss."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Raw outputs of a decoder: cheap to keep, dense distributions are made from it on demand."""

    logits: Tensor
    """(..., cells, genes): before the softmax over genes (or softplus, or as they are)."""
    log_size: Tensor
    """(..., cells, 1): log library size, or log size factor."""
    log_dispersion: Tensor | None = None
    """(genes,) or (..., cells, genes)."""
    dropout_logits: Tensor | None = None
    """(..., cells, genes): zero inflation."""
    normalise: Literal["softmax", "softplus"] = "softmax"
    """How logits become relative expression: "softmax" (sums to one) or "softplus"."""

    @property
    def dispersion(self) -> Tensor:
        """``log_dispersion`` of likelihoods that have one."""
        return _there(self.log_dispersion, "dispersion")

    @property
    def dropout(self) -> Tensor:
        """``dropout_logits`` of likelihoods that have them."""
        return _there(self.dropout_logits, "zero inflation")


def _there(value: Tensor | None, what: str) -> Tensor:
    if value is None:
        raise ValueError(f"the likelihood asks for {what}, which this decoder does not give.")
    return value
