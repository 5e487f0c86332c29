"""Training: the plan that hands the clock to the loss."""

from betascvi.train._critic_plan import CriticPlan, plan_for
from betascvi.train._plan import ObjectivePlan
from betascvi.train._plan_arguments import plan_arguments
from betascvi.train._runner import Runner

__all__ = ["CriticPlan", "ObjectivePlan", "Runner", "plan_arguments", "plan_for"]
