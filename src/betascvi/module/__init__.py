"""The networks: encoder, decoders, likelihood, and the loss that asks an objective."""

from betascvi.module._decoded import Decoded
from betascvi.module._likelihood import LIKELIHOODS, Likelihood
from betascvi.module._vae import DECODED_KEY, REPORT_SUFFIX, BetaVAEModule

__all__ = ["DECODED_KEY", "LIKELIHOODS", "REPORT_SUFFIX", "BetaVAEModule", "Decoded", "Likelihood"]
