"""Training: the plan that hands the clock to the loss."""

from betascvi.train._plan import ObjectivePlan

__all__ = ["ObjectivePlan"]
