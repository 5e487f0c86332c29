"""Tools: an embedding or a fitted model in, a record out."""

from betascvi.tl._budget import Budget
from betascvi.tl._embed import embed
from betascvi.tl._leak import Probing
from betascvi.tl._leakage import Leak, Leakage, leakage
from betascvi.tl._overlap import overlap
from betascvi.tl._rotate import Rotation, rotate
from betascvi.tl._score_table import ScoreRow, ScoreTable
from betascvi.tl._scores import score_disentanglement

__all__ = [
    "Budget",
    "Leak",
    "Leakage",
    "Probing",
    "Rotation",
    "ScoreRow",
    "ScoreTable",
    "embed",
    "leakage",
    "overlap",
    "rotate",
    "score_disentanglement",
]
