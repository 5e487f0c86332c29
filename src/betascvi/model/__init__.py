"""The model a user holds: from counts to axes and back."""

from betascvi.model._beta_scvi import BetaSCVI
from betascvi.model._prior_draws import prior_draws
from betascvi.model._programs import additive_log_rates
from betascvi.model._summary import TrainingSummary

__all__ = ["BetaSCVI", "TrainingSummary", "additive_log_rates", "prior_draws"]
