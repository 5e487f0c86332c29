"""The ceiling: the best of a few supervised classifiers that see the counts and the labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_TREES: dict[str, Any] = {
    "n_estimators": 150, "max_depth": 4, "num_leaves": 12, "min_child_samples": 10,
    "colsample_bytree": 0.3, "n_jobs": 1, "verbose": -1, "random_state": 0,
}  # fmt: skip


class Said(NamedTuple):
    """What a classifier says of held-out cells."""

    values: np.ndarray
    """Level names, numbers, or angles as points on the unit circle of complex numbers."""
    scores: np.ndarray
    """(cells, levels) log probabilities, (cells, 1) numbers, or (cells, 2) points on the circle."""


def score_of(truth: np.ndarray, said: np.ndarray) -> float:
    """Balanced accuracy of levels, correlation of numbers, circular correlation of angles.

    The last is that of Fisher and Lee (1983), which takes no mean direction: of angles all round
    the circle there is none.
    """
    if truth.dtype.kind == "f":
        return float(np.corrcoef(truth, said)[0, 1])
    if truth.dtype.kind != "c":
        return float(balanced_accuracy_score(truth, said))
    n, together, against = len(truth), (truth * said.conj()).sum(), (truth * said).sum()
    own = [n**2 - np.abs((v**2).sum()) ** 2 for v in (truth, said)]
    return float((np.abs(together) ** 2 - np.abs(against) ** 2) / np.sqrt(own[0] * own[1]))


def supervised(x: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> Said:
    """Fitted to ``x``, chosen among ridge penalties and trees by three folds of it."""
    if labels.dtype.kind in "cf":
        return _number(x, labels, asked)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    choices = [*(_logistic(c) for c in (1e-4, 1e-3, 1e-2, 1e-1)),
               LGBMClassifier(class_weight="balanced", **_TREES)]  # fmt: skip
    found = [score_of(labels, cross_val_predict(m, x, labels, cv=folds)) for m in choices]
    model = choices[int(np.argmax(found))].fit(x, labels)
    p = np.asarray(model.predict_proba(asked))
    return Said(model.classes_[p.argmax(1)], np.log(np.maximum(p, 1e-6)))


def linear(x: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Read from an embedding of a few axes: logistic, or ridge of numbers and points on the circle."""
    if labels.dtype.kind in "cf":
        model = make_pipeline(StandardScaler(), Ridge()).fit(x, _columns(labels))
        return _values(model.predict(asked))
    return np.asarray(_logistic(1.0).fit(x, labels).predict(asked))


def _number(x: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> Said:
    folds = KFold(3, shuffle=True, random_state=0)
    choices = [*(make_pipeline(StandardScaler(), Ridge(a)) for a in (1e2, 1e3, 1e4)),
               MultiOutputRegressor(LGBMRegressor(**_TREES))]  # fmt: skip
    target = _columns(labels)
    found = [score_of(labels, _values(cross_val_predict(m, x, target, cv=folds))) for m in choices]
    points = choices[int(np.argmax(found))].fit(x, target).predict(asked)
    return Said(_values(points), points.reshape(len(asked), -1))


def _logistic(c: float) -> Any:
    model = LogisticRegression(C=c, class_weight="balanced", max_iter=300)
    return make_pipeline(StandardScaler(), model)


def _columns(labels: np.ndarray) -> np.ndarray:
    """(cells, 1) numbers, or (cells, 2) points on the circle."""
    if labels.dtype.kind == "f":
        return labels[:, None]
    return np.stack([labels.real, labels.imag], axis=1)


def _values(columns: np.ndarray) -> np.ndarray:
    """Numbers, or points brought to the circle."""
    columns = columns.reshape(len(columns), -1)
    if columns.shape[1] == 1:
        return np.asarray(columns[:, 0])
    points = columns[:, 0] + 1j * columns[:, 1]
    return np.asarray(points / np.maximum(np.abs(points), 1e-12))
