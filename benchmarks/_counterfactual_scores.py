"""How near predicted cells are to those held out; each score is one definition."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.stats import ttest_ind, wasserstein_distance
from sklearn.metrics import r2_score

_MOST_CELLS = 400


def log_per_10k(counts: Any) -> np.ndarray:
    """(cells, genes) log1p of counts per 10,000 of each cell."""
    dense = np.asarray(counts.toarray() if sparse.issparse(counts) else counts, dtype=np.float64)
    return np.log1p(1e4 * dense / np.maximum(dense.sum(1, keepdims=True), 1e-12))


def de_genes(control: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Genes by size of Welch's t between the real cells of both conditions, largest first."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = ttest_ind(target, control, equal_var=False).statistic
    return np.argsort(-np.abs(np.nan_to_num(t)), kind="stable")


def mean_scores(
    predicted: np.ndarray, control: np.ndarray, target: np.ndarray, order: np.ndarray
) -> dict[str, float]:
    """Scores of gene means (genes,) against those of the held-out cells.

    ``r2``: squared Pearson correlation of gene means. ``r2_sklearn``: coefficient of determination.
    ``delta``: Pearson correlation of changes against the control cells of the same type.
    ``sign``: share of the top-100 genes that go the right way.
    """
    top100, top20 = order[:100], order[:20]
    change, true_change = predicted - control, target - control
    return {
        "r2_all": _pearson(predicted, target) ** 2,
        "r2_top100": _pearson(predicted[top100], target[top100]) ** 2,
        "r2_sklearn_all": float(r2_score(target, predicted)),
        "r2_sklearn_top100": float(r2_score(target[top100], predicted[top100])),
        "delta_all": _pearson(change, true_change),
        "delta_top20": _pearson(change[top20], true_change[top20]),
        "sign_top100": float((np.sign(change[top100]) == np.sign(true_change[top100])).mean()),
    }


def distribution_scores(
    predicted: np.ndarray, target: np.ndarray, order: np.ndarray, seed: int
) -> dict[str, float]:
    """Scores of cells (cells, genes) against the held-out cells.

    ``e_distance``: energy distance of cells, Euclidean over all genes, without the pairs of a cell
    and itself, so that fewer cells do not look farther apart. ``wasserstein_top100``:
    mean over genes of the one-dimensional distance. ``variance_r2``: coefficient of
    determination of gene variances.
    """
    rng = np.random.default_rng(seed)
    some, other = (_some(cells, rng) for cells in (predicted, target))
    return {
        "e_distance": float(2 * _apart(some, other) - _within(some) - _within(other)),
        "wasserstein_top100": float(
            np.mean([wasserstein_distance(some[:, g], other[:, g]) for g in order[:100]])
        ),
        "variance_r2": float(r2_score(target.var(0), predicted.var(0))),
    }


def all_scores(
    drawn: np.ndarray, expected: np.ndarray, control: np.ndarray, target: np.ndarray, seed: int
) -> dict[str, float]:
    """Scores of drawn cells; those of expectations under ``expected_...``."""
    order = de_genes(control, target)
    means = control.mean(0), target.mean(0), order
    of_expected = mean_scores(expected, *means)
    return {
        **mean_scores(drawn.mean(0), *means),
        **distribution_scores(drawn, target, order, seed),
        **{f"expected_{name}": value for name, value in of_expected.items()},
    }


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0  # no change has no direction; the table shows a dash
    return float(np.corrcoef(x, y)[0, 1])


def _some(cells: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if len(cells) <= _MOST_CELLS:
        return cells
    return cells[rng.choice(len(cells), _MOST_CELLS, replace=False)]


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    square = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2.0 * one @ other.T
    return float(np.sqrt(np.maximum(square, 0.0)).mean())


def _within(cells: np.ndarray) -> float:
    """Mean distance of two different cells."""
    return _apart(cells, cells) * len(cells) / max(len(cells) - 1, 1)
