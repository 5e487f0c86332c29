"""Decoders: from a latent position and covariates to logits over genes."""

from __future__ import annotations

from typing import Any, NamedTuple

from scvi.nn import FCLayers
from torch import Tensor, nn

from betascvi.module._layers import run_layers


class Heads(NamedTuple):
    """What a decoder's network gives out."""

    logits: Tensor
    log_dispersion: Tensor | None = None
    dropout_logits: Tensor | None = None


class JointDecoder(nn.Module):
    """scVI's decoder without the heads nobody reads.

    Under ``nb`` with a dispersion per gene, scVI's own decoder computes a zero-inflation head at
    each step and keeps a dispersion head, neither of which receives a gradient. Names of the
    layers are scVI's, so that its weights fit and query mapping knows what to train.
    """

    def __init__(
        self,
        n_input: int,
        n_output: int,
        *,
        has_dispersion: bool,
        has_dropout: bool,
        n_hidden: int,
        **network_kwargs: Any,
    ) -> None:
        super().__init__()
        self.px_decoder = FCLayers(
            n_in=n_input, n_out=n_hidden, n_hidden=n_hidden, dropout_rate=0, **network_kwargs
        )
        self.px_scale_decoder = nn.Sequential(nn.Linear(n_hidden, n_output))
        self.px_r_decoder = nn.Linear(n_hidden, n_output) if has_dispersion else None
        self.px_dropout_decoder = nn.Linear(n_hidden, n_output) if has_dropout else None

    def forward(self, z: Tensor, *covariates: Tensor) -> Heads:
        """Logits (and other heads the likelihood asked for) of latent positions."""
        hidden = run_layers(self.px_decoder, z, *covariates)
        return Heads(
            self.px_scale_decoder(hidden),
            self.px_r_decoder(hidden) if self.px_r_decoder is not None else None,
            self.px_dropout_decoder(hidden) if self.px_dropout_decoder is not None else None,
        )
