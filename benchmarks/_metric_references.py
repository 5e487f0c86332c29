"""Definitions of disentanglement_lib, written out with scikit-learn, and cases to try them on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.stats import entropy
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.svm import LinearSVC

KINDS = ("perfect", "noisy", "mixed", "copied", "half", "curved", "correlated", "noise")


class Case(NamedTuple):
    """A code, its factors, and whether they are numbers."""

    name: str
    z: np.ndarray
    factors: np.ndarray
    is_continuous: bool


def cases(
    sizes: tuple[int, ...], kinds: tuple[str, ...] = KINDS, n_axes: int = 8
) -> Iterator[Case]:
    """Codes of four factors, good and bad, discrete and continuous."""
    for n in sizes:
        for seed, kind in enumerate(kinds):
            rng = np.random.default_rng([n, seed])
            levels = np.column_stack([rng.integers(k, size=n) for k in (2, 3, 5, 8)])
            if kind == "correlated":
                levels[:, 1] = np.where(rng.random(n) < 0.7, levels[:, 0], levels[:, 1])
            yield Case(f"{kind} {n}", _code(kind, levels, n_axes, rng), levels, False)
            if kind != "correlated":
                numbers = rng.uniform(-1, 1, size=(n, 4))
                z = _code(kind, numbers, n_axes, rng)
                yield Case(f"{kind} {n} continuous", z, numbers, True)


def _code(kind: str, factors: np.ndarray, n_axes: int, rng: np.random.Generator) -> np.ndarray:
    n, k = factors.shape
    own = (factors - factors.mean(axis=0)) / factors.std(axis=0)
    mixing = rng.normal(size=(k, n_axes))

    def noise(*shape: int) -> np.ndarray:
        return rng.normal(size=(n, *shape))

    codes = {
        "perfect": lambda: np.column_stack([own, np.full(n, 0.1)]),
        "noisy": lambda: np.hstack([own + 0.5 * noise(k), noise(n_axes - k)]),
        "mixed": lambda: own @ mixing + 0.3 * noise(n_axes),
        "copied": lambda: np.hstack([own, own + 0.01 * noise(k)]),
        "half": lambda: np.hstack([own[:, : k // 2] + 0.2 * noise(k // 2), noise(n_axes - k // 2)]),
        "curved": lambda: np.tanh(own @ mixing) + 0.1 * noise(n_axes),
        "correlated": lambda: np.hstack([own + 0.3 * noise(k), noise(n_axes - k)]),
        "noise": lambda: noise(n_axes),
    }
    return codes[kind]()


def mutual_information(z: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Axes x factors, twenty bins, nats."""
    codes = [np.digitize(x, np.histogram(x, 20)[1][:-1]) for x in z.T]
    return np.array([[mutual_info_score(c, code) for c in levels.T] for code in codes])


def mig(z: np.ndarray, levels: np.ndarray) -> float:
    """Gap of the two best axes over the entropy of the factor."""
    ranked = np.sort(mutual_information(z, levels), axis=0)
    entropies = np.array([mutual_info_score(c, c) for c in levels.T])
    return float(((ranked[-1] - ranked[-2]) / entropies).mean())


def modularity(z: np.ndarray, levels: np.ndarray) -> float:
    """Mean over the axes that know anything."""
    squared = mutual_information(z, levels) ** 2
    best = squared.max(axis=1)
    live = best > 1e-20
    rest = (squared.sum(axis=1) - best)[live]
    return float((1 - rest / (best[live] * (levels.shape[1] - 1))).mean())


def sap(case: Case) -> float:
    """Gap of accuracies (same cells, fitted and asked) or of squared correlations."""
    z, factors = case.z, case.factors
    matrix = np.zeros((z.shape[1], factors.shape[1]))
    for (i, j), _ in np.ndenumerate(matrix):
        x, c = z[:, i], factors[:, j]
        if case.is_continuous:
            covariance = np.cov(x, c)
            if covariance[0, 0] > 1e-12:
                product = covariance[0, 0] * covariance[1, 1]
                matrix[i, j] = covariance[0, 1] ** 2 / product
        else:
            machine = LinearSVC(C=0.01, class_weight="balanced").fit(x[:, None], c)
            matrix[i, j] = machine.score(x[:, None], c)
    ranked = np.sort(matrix, axis=0)
    return float((ranked[-1] - ranked[-2]).mean())


def explicitness(z: np.ndarray, levels: np.ndarray, n_splits: int = 20) -> float:
    """Mean area on one half of the cells, fitted on the other; over random halves.

    One half of 1,000 cells moves the area of noise by 0.01 from split to split.
    """
    halves = np.array_split(np.arange(len(z)), 2)
    areas = []
    for seed in range(n_splits):
        order = np.random.default_rng(seed).permutation(len(z))
        fitted, held_out = order[halves[0]], order[halves[1]]
        sd = np.where(z[fitted].std(axis=0) > 1e-12, z[fitted].std(axis=0), 1)
        scaled = (z - z[fitted].mean(axis=0)) / sd
        for c in levels.T:
            reader = LogisticRegression(max_iter=500).fit(scaled[fitted], c[fitted])
            p, truth = reader.predict_proba(scaled[held_out]), c[held_out]
            areas.append(np.mean([roc_auc_score(truth == k, p[:, k]) for k in range(c.max() + 1)]))
    return float(np.mean(areas))


def dci(case: Case) -> tuple[float, float]:
    """Disentanglement and completeness by gradient boosting at its defaults, on all cells."""
    learner = GradientBoostingRegressor if case.is_continuous else GradientBoostingClassifier
    importance = np.column_stack(
        [learner(random_state=0).fit(case.z, c).feature_importances_ for c in case.factors.T]
    )
    shares = importance + 1e-11
    per_axis = 1 - entropy(shares, axis=1, base=shares.shape[1])
    per_factor = 1 - entropy(shares, axis=0, base=shares.shape[0])
    total = importance.sum()
    return (
        float(per_axis @ importance.sum(axis=1) / total),
        float(per_factor @ importance.sum(axis=0) / total),
    )
