"""Definitions of the field, written out with scikit-learn: what our metrics are checked against."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score


def binned(x: np.ndarray, n_bins: int = 20) -> np.ndarray:
    return np.digitize(x, np.histogram(x, n_bins)[1][:-1])


def mi_matrix(z: np.ndarray, levels: np.ndarray, n_bins: int = 20) -> np.ndarray:
    codes = [binned(column, n_bins) for column in z.T]
    return np.array([[mutual_info_score(level, code) for level in levels.T] for code in codes])


def mig(z: np.ndarray, levels: np.ndarray, n_bins: int = 20) -> float:
    ranked = np.sort(mi_matrix(z, levels, n_bins), axis=0)
    entropies = np.array([mutual_info_score(level, level) for level in levels.T])
    return float(np.mean((ranked[-1] - ranked[-2]) / entropies))


def modularity_of_axes(z: np.ndarray, levels: np.ndarray) -> np.ndarray:
    squared = mi_matrix(z, levels) ** 2
    best = squared.max(axis=1)
    with np.errstate(invalid="ignore"):
        return 1 - (squared.sum(axis=1) - best) / (best * (levels.shape[1] - 1))


def disentanglement_and_completeness(importance: np.ndarray) -> tuple[float, float]:
    from scipy.stats import entropy

    shares = importance + 1e-11
    per_axis = 1 - entropy(shares, axis=1, base=importance.shape[1])
    per_factor = 1 - entropy(shares, axis=0, base=importance.shape[0])
    total = importance.sum()
    return (
        float(per_axis @ importance.sum(axis=1) / total),
        float(per_factor @ importance.sum(axis=0) / total),
    )


@pytest.fixture(scope="session")
def reference() -> SimpleNamespace:
    return SimpleNamespace(
        binned=binned,
        mi_matrix=mi_matrix,
        mig=mig,
        modularity_of_axes=modularity_of_axes,
        disentanglement_and_completeness=disentanglement_and_completeness,
    )
