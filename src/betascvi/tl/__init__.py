"""Tools: an embedding or a fitted model in, a record out."""

from betascvi.metrics._diagnosis import Diagnosis
from betascvi.metrics._rate_distortion import RateDistortion, rate_distortion
from betascvi.tl._budget import Budget
from betascvi.tl._diagnose import diagnose
from betascvi.tl._embed import embed
from betascvi.tl._leak import Probing
from betascvi.tl._leakage import Leak, Leakage, leakage
from betascvi.tl._overlap import overlap
from betascvi.tl._rotate import Rotation, rotate
from betascvi.tl._score_table import ScoreRow, ScoreTable
from betascvi.tl._scores import METRICS, score_disentanglement

__all__ = [
    "METRICS",
    "Budget",
    "Diagnosis",
    "Leak",
    "Leakage",
    "Probing",
    "RateDistortion",
    "Rotation",
    "ScoreRow",
    "ScoreTable",
    "diagnose",
    "embed",
    "leakage",
    "overlap",
    "rate_distortion",
    "rotate",
    "score_disentanglement",
]
