"""Data with known factors: a simulated atlas, and real data sets from ``BETASCVI_DATA``."""

from betascvi.datasets._catalogue import DataSet
from betascvi.datasets._load import available, load
from betascvi.datasets._settings import Effects, Levels, Sequencing
from betascvi.datasets._simulated_atlas import draw_cells, simulated_atlas
from betascvi.datasets._truth import Truth, counterfactual_truth

__all__ = [
    "DataSet",
    "Effects",
    "Levels",
    "Sequencing",
    "Truth",
    "available",
    "counterfactual_truth",
    "draw_cells",
    "load",
    "simulated_atlas",
]
