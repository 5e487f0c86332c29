"""Disentanglement metrics: arithmetic on arrays, ``metric(z, factors, ...) -> Score``.

``METRICS`` lists every metric that gives a :class:`Score`, with its range and direction.
"""

from types import MappingProxyType

from betascvi._results import Score
from betascvi.metrics._active_units import active_units
from betascvi.metrics._beta_vae_score import beta_vae_score
from betascvi.metrics._block_mig import block_mig
from betascvi.metrics._condition_prediction import condition_prediction
from betascvi.metrics._dci import dci
from betascvi.metrics._explicitness import explicitness
from betascvi.metrics._factor_vae_score import factor_vae_score
from betascvi.metrics._information import mutual_information_matrix
from betascvi.metrics._matching import latent_matching, most_similar_averaging, most_similar_gap
from betascvi.metrics._mig import mig
from betascvi.metrics._modularity import modularity
from betascvi.metrics._pairwise import pairwise_mutual_information, pairwise_neighbours
from betascvi.metrics._sampling import FactorSampler
from betascvi.metrics._sap import sap
from betascvi.metrics._table import MetricInfo
from betascvi.metrics._total_correlation import total_correlation
from betascvi.metrics._udr import udr

_UNIT = (0.0, 1.0)
_ANY = (0.0, float("inf"))

METRICS = MappingProxyType(
    {
        "dci": MetricInfo(dci, _UNIT, True, "factors", "Eastwood18", 2, 2),
        "mig": MetricInfo(mig, _UNIT, True, "factors", "Chen18", 2),
        "sap": MetricInfo(sap, _UNIT, True, "factors", "Kumar18", 2, is_scale_free=False),
        "modularity": MetricInfo(
            modularity, _UNIT, True, "factors", "Ridgeway18", min_factors=2, noise=None
        ),
        "explicitness": MetricInfo(
            explicitness, _UNIT, True, "factors", "Ridgeway18", noise=0.5
        ),
        "condition_prediction": MetricInfo(
            condition_prediction, _UNIT, True, "factors", "", noise=None
        ),
        "beta_vae_score": MetricInfo(
            beta_vae_score, _UNIT, True, "factors", "Higgins17",
            min_factors=2, is_scale_free=False, noise=None,
        ),
        "factor_vae_score": MetricInfo(
            factor_vae_score, _UNIT, True, "factors", "Kim18", min_factors=2, noise=None
        ),
        "latent_matching": MetricInfo(latent_matching, _UNIT, True, "factors", "Moinfar24"),
        "most_similar_averaging": MetricInfo(
            most_similar_averaging, _UNIT, True, "factors", "Moinfar24"
        ),
        "most_similar_gap": MetricInfo(
            most_similar_gap, _UNIT, True, "factors", "Moinfar24", 2
        ),
        "block_mig": MetricInfo(block_mig, (-1.0, 1.0), True, "blocks", "", 2),
        "total_correlation": MetricInfo(
            total_correlation, _ANY, False, "embedding", "Locatello19", 2
        ),
        "active_units": MetricInfo(
            active_units, _ANY, None, "embedding", "Burda16", is_scale_free=False, noise=None
        ),
        "udr": MetricInfo(udr, _UNIT, True, "embeddings", "Duan20"),
    }
)  # fmt: skip

__all__ = [
    "METRICS",
    "FactorSampler",
    "MetricInfo",
    "Score",
    "active_units",
    "beta_vae_score",
    "block_mig",
    "condition_prediction",
    "dci",
    "explicitness",
    "factor_vae_score",
    "latent_matching",
    "mig",
    "modularity",
    "most_similar_averaging",
    "most_similar_gap",
    "mutual_information_matrix",
    "pairwise_mutual_information",
    "pairwise_neighbours",
    "sap",
    "total_correlation",
    "udr",
]
