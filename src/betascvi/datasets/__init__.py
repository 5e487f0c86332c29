"""Data with known factors: a simulated atlas, and real data sets from ``BETASCVI_DATA``."""

from betascvi.datasets._settings import Effects, Levels, Sequencing
from betascvi.datasets._simulated_atlas import draw_cells, simulated_atlas
from betascvi.datasets._truth import Truth, counterfactual_truth

__all__ = [
    "Effects",
    "Levels",
    "Sequencing",
    "Truth",
    "counterfactual_truth",
    "draw_cells",
    "simulated_atlas",
]
