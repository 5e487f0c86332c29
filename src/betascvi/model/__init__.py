"""The model a user holds: from counts to axes and back."""

from betascvi.model._beta_scvi import BetaSCVI
from betascvi.model._summary import TrainingSummary

__all__ = ["BetaSCVI", "TrainingSummary"]
