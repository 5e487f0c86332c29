"""Disentanglement metrics: arithmetic on arrays, ``metric(z, factors, ...) -> Score``."""

from betascvi.metrics._condition_prediction import condition_prediction
from betascvi.metrics._dci import dci
from betascvi.metrics._explicitness import explicitness
from betascvi.metrics._information import mutual_information_matrix
from betascvi.metrics._mig import mig
from betascvi.metrics._modularity import modularity
from betascvi.metrics._sap import sap

__all__ = [
    "condition_prediction",
    "dci",
    "explicitness",
    "mig",
    "modularity",
    "mutual_information_matrix",
    "sap",
]
