"""Tools: an embedding or a fitted model in, a record out.

What asks a model loads torch and scvi-tools when it is first used; scoring an embedding does not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from betascvi.metrics._diagnosis import Diagnosis
from betascvi.metrics._programs import Duplicate, GenePrograms
from betascvi.metrics._rate_distortion import RateDistortion, rate_distortion
from betascvi.tl._budget import Budget
from betascvi.tl._leak import Probing
from betascvi.tl._leakage import Leak, Leakage, leakage
from betascvi.tl._overlap import overlap
from betascvi.tl._rotate import Rotation, rotate
from betascvi.tl._score_table import ScoreRow, ScoreTable
from betascvi.tl._scores import METRICS, score_disentanglement

if TYPE_CHECKING:
    from betascvi.tl._attribution import attribute_genes
    from betascvi.tl._correction import Correction, correct_batch
    from betascvi.tl._counterfactual import counterfactual
    from betascvi.tl._counterfactual_record import Counterfactual
    from betascvi.tl._diagnose import diagnose
    from betascvi.tl._embed import embed
    from betascvi.tl._group_effects import GroupStatistics
    from betascvi.tl._inference_gaps import InferenceGaps, inference_gaps
    from betascvi.tl._stability import Stability, stability
    from betascvi.tl._store import Store
    from betascvi.tl._traversal import Traversal, traverse

_OF_MODELS = {
    "Correction": "_correction",
    "Counterfactual": "_counterfactual_record",
    "GroupStatistics": "_group_effects",
    "InferenceGaps": "_inference_gaps",
    "Store": "_store",
    "Traversal": "_traversal",
    "correct_batch": "_correction",
    "counterfactual": "_counterfactual",
    "traverse": "_traversal",
    "Stability": "_stability",
    "attribute_genes": "_attribution",
    "diagnose": "_diagnose",
    "embed": "_embed",
    "inference_gaps": "_inference_gaps",
    "stability": "_stability",
}

__all__ = [
    "METRICS",
    "Budget",
    "Correction",
    "Counterfactual",
    "Diagnosis",
    "Duplicate",
    "GenePrograms",
    "GroupStatistics",
    "InferenceGaps",
    "Leak",
    "Leakage",
    "Probing",
    "RateDistortion",
    "Rotation",
    "ScoreRow",
    "ScoreTable",
    "Stability",
    "Store",
    "Traversal",
    "attribute_genes",
    "correct_batch",
    "counterfactual",
    "diagnose",
    "embed",
    "inference_gaps",
    "leakage",
    "overlap",
    "rate_distortion",
    "rotate",
    "score_disentanglement",
    "stability",
    "traverse",
]


def __getattr__(name: str) -> Any:
    if name in _OF_MODELS:
        return getattr(import_module(f"betascvi.tl.{_OF_MODELS[name]}"), name)
    raise AttributeError(f"module 'betascvi.tl' has no attribute {name!r}; it has {__all__}")


def __dir__() -> list[str]:
    return list(__all__)
