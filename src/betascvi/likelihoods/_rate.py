"""From a decoder's output to the logarithm of the expected counts, and the way back for gradients."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from betascvi.likelihoods._special import softplus

Normalise = Literal["softmax", "softplus", "exp"]

NORMALISE: tuple[str, ...] = get_args(Normalise)


def log_share(logits: torch.Tensor, normalise: Normalise) -> torch.Tensor:
    """Logarithm of the rate per unit of library: softmax over genes, softplus, or the logits."""
    if normalise == "softmax":
        return torch.log_softmax(logits, -1)
    if normalise == "softplus":
        return _log_softplus(logits)
    return logits


def gradient_to_logits(
    gradient: torch.Tensor, logits: torch.Tensor, log_share: torch.Tensor, normalise: Normalise
) -> torch.Tensor:
    """Gradient with respect to the logits from the one with respect to the log rate."""
    if normalise == "softmax":
        return gradient - log_share.exp() * gradient.sum(-1, keepdim=True)
    if normalise == "softplus":
        return gradient * torch.exp(-softplus(-logits) - log_share)
    return gradient


def _log_softplus(logits: torch.Tensor) -> torch.Tensor:
    # For very negative logits softplus(y) = exp(y) (1 - exp(y) / 2 + ...) would underflow.
    small = logits < -15.0
    far = logits - 0.5 * torch.exp(logits.clamp(max=-15.0))
    return torch.where(small, far, torch.log(softplus(logits.clamp(min=-15.0))))
