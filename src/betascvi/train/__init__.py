"""Training: the plan that hands the clock to the loss."""

from betascvi.train._critic_plan import CriticPlan, plan_for
from betascvi.train._plan import ObjectivePlan
from betascvi.train._plan_arguments import plan_arguments

__all__ = ["CriticPlan", "ObjectivePlan", "plan_arguments", "plan_for"]
