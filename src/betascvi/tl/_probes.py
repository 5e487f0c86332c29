"""Four probes that read a factor off some axes: what the axes know, not what one line can see."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from betascvi.factors import Kind

N_NEIGHBORS = 15
_TREES: Mapping[str, Any] = MappingProxyType(
    {
        "n_estimators": 100,
        "learning_rate": 0.1,
        "max_depth": 3,
        "num_leaves": 8,
        "min_child_samples": 10,
        "n_jobs": 1,
        "verbose": -1,
    }
)
_NETWORK: Mapping[str, Any] = MappingProxyType(
    {"hidden_layer_sizes": (32,), "solver": "lbfgs", "alpha": 3.0, "max_iter": 60}
)


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What a probe is asked to read, on the cells whose label is known."""

    kind: Kind
    values: np.ndarray
    """(cells,) level codes 0 ... K-1, each of which occurs; or floats."""
    groups: np.ndarray
    """(cells,) codes of what is held out and resampled whole: a donor, or the cell itself."""

    @property
    def n_levels(self) -> int:
        """Levels of a categorical target; 0 for a number."""
        return int(self.values.max()) + 1 if self.kind == "categorical" else 0

    def take(self, rows: np.ndarray) -> Target:
        """The same target on some of the cells."""
        return Target(self.kind, self.values[rows], self.groups[rows])

    def as_columns(self) -> np.ndarray:
        """(cells, outputs): one-hot levels, the number, or the point on the circle."""
        if self.kind == "categorical":
            return np.eye(self.n_levels)[self.values]
        if self.kind == "circular":
            return np.column_stack([np.cos(self.values), np.sin(self.values)])
        return np.asarray(self.values[:, None], dtype=float)


Probe = Callable[[np.ndarray, Target, np.ndarray, int], np.ndarray]


def logistic(z: np.ndarray, target: Target, asked: np.ndarray, seed: int) -> np.ndarray:
    """Multinomial logistic regression; ridge regression for a number or an angle."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if target.kind == "categorical":
        return _probabilities(LogisticRegression(max_iter=300, random_state=seed), z, target, asked)
    return _outputs(Ridge(alpha=1.0), z, target, asked)


def neighbors(z: np.ndarray, target: Target, asked: np.ndarray, seed: int) -> np.ndarray:  # noqa: ARG001  # one signature for all probes
    """Nearest neighbours (15, Euclidean on standardised axes)."""
    from sklearn.neighbors import KNeighborsRegressor

    k = min(N_NEIGHBORS, len(z))
    return np.asarray(KNeighborsRegressor(k).fit(z, target.as_columns()).predict(asked))


def trees(z: np.ndarray, target: Target, asked: np.ndarray, seed: int) -> np.ndarray:
    """Gradient-boosted trees (LightGBM, 100 of depth 3)."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    if target.kind == "categorical":
        return _probabilities(LGBMClassifier(**_TREES, random_state=seed), z, target, asked)
    columns = target.as_columns()
    models = [LGBMRegressor(**_TREES, random_state=seed).fit(z, column) for column in columns.T]
    return np.column_stack([model.booster_.predict(asked) for model in models])


def network(z: np.ndarray, target: Target, asked: np.ndarray, seed: int) -> np.ndarray:
    """A small network: one hidden layer of 32 units, weight decay, 60 steps of L-BFGS."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    if target.kind == "categorical":
        return _probabilities(MLPClassifier(**_NETWORK, random_state=seed), z, target, asked)
    return _outputs(MLPRegressor(**_NETWORK, random_state=seed), z, target, asked)


PROBES: Mapping[str, Probe] = MappingProxyType(
    {"logistic": logistic, "neighbors": neighbors, "trees": trees, "network": network}
)


def cross_fit(
    z: np.ndarray, target: Target, folds: np.ndarray, probe: Probe, seed: int
) -> np.ndarray:
    """What the probe says of each cell when fitted on the other folds.

    Returns
    -------
    (cells, outputs). Categorical: probabilities over the share of the level in training, so
    that the largest is the best guess where every level weighs the same. Numbers and angles:
    the prediction minus the training mean.
    """
    columns = target.as_columns()
    said = np.empty(columns.shape)
    for fold in np.unique(folds):
        held = folds == fold
        centre, spread = z[~held].mean(0), z[~held].std(0)
        spread = np.where(spread > 1e-9 * (1 + np.abs(centre)), spread, 1.0)
        train, asked = (z[~held] - centre) / spread, (z[held] - centre) / spread
        base = columns[~held].mean(0)
        found = probe(train, target.take(~held), asked, seed)
        said[held] = found / np.maximum(base, 1e-12) if target.n_levels else found - base
    return said


def _probabilities(model: Any, z: np.ndarray, target: Target, asked: np.ndarray) -> np.ndarray:
    levels, codes = np.unique(target.values, return_inverse=True)
    out = np.zeros((len(asked), target.n_levels))
    if len(levels) == 1:  # nothing to learn: no model takes a single class
        out[:, levels] = 1.0
        return out
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # stopped before convergence
        model.fit(z, codes)
        out[:, levels] = _as_scores(model, asked)
    return out


def _as_scores(model: Any, asked: np.ndarray) -> np.ndarray:
    booster = getattr(model, "booster_", None)
    found = np.asarray(model.predict_proba(asked) if booster is None else booster.predict(asked))
    return np.column_stack([1 - found, found]) if found.ndim == 1 else found


def _outputs(model: Any, z: np.ndarray, target: Target, asked: np.ndarray) -> np.ndarray:
    columns = target.as_columns()
    centre, spread = columns.mean(0), np.maximum(columns.std(0), 1e-12)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # stopped before convergence
        scaled = (columns - centre) / spread
        model.fit(z, scaled[:, 0] if scaled.shape[1] == 1 else scaled)
        found = np.asarray(model.predict(asked)).reshape(len(asked), -1)
    return found * spread + centre
