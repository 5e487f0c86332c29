"""The networks: encoder, decoders, likelihood, and the loss that asks an objective."""

from betascvi.module._additive import AdditiveDecoder, Profiles
from betascvi.module._additive_settings import AdditiveSettings
from betascvi.module._block_prior import BlockPrior
from betascvi.module._blocks import Blocks, Layout
from betascvi.module._decoded import DECODED_KEY, Decoded
from betascvi.module._decoder_choice import check_decoder
from betascvi.module._decoders import JointDecoder
from betascvi.module._direct_pass import DirectPass, MinibatchFigures, direct_pass
from betascvi.module._dispersion import start_dispersion
from betascvi.module._history import REPORT_SUFFIX
from betascvi.module._inference_gaps import Bounds, inference_gaps
from betascvi.module._likelihood import LIKELIHOODS, Likelihood
from betascvi.module._query_columns import put_new_levels_in_place
from betascvi.module._vae import BetaVAEModule

__all__ = [
    "DECODED_KEY",
    "LIKELIHOODS",
    "REPORT_SUFFIX",
    "AdditiveDecoder",
    "AdditiveSettings",
    "BetaVAEModule",
    "BlockPrior",
    "Blocks",
    "Bounds",
    "Decoded",
    "DirectPass",
    "JointDecoder",
    "Layout",
    "Likelihood",
    "MinibatchFigures",
    "Profiles",
    "check_decoder",
    "direct_pass",
    "inference_gaps",
    "put_new_levels_in_place",
    "start_dispersion",
]
