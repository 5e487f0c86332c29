"""Gradient-boosted trees as the probe of DCI and of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from betascvi.metrics._inputs import Column

_N_TREES = 100
_SETTINGS: dict[str, Any] = {
    # disentanglement_lib's learner (100 trees of depth 3, step 0.1), in LightGBM's words.
    "learning_rate": 0.1,
    "max_depth": 3,
    "num_leaves": 8,
    "min_data_in_leaf": 1,
    "feature_pre_filter": False,
    "deterministic": True,
    "force_col_wise": True,
    "verbosity": -1,
}


class BoostedProbe:
    """Boosted trees on one embedding, asked about one target after another.

    The embedding is binned once, which is most of the work for a single target.
    """

    def __init__(self, z: Float[np.ndarray, "cells axes"], seed: int) -> None:
        from lightgbm import Dataset

        self._settings = {**_SETTINGS, "seed": seed}
        self._z = z
        self._data = Dataset(z, params=self._settings, free_raw_data=False).construct()

    def gains(self, column: Column) -> Float[np.ndarray, " axes"]:
        """Total gain of each axis for a factor, summed over the targets that stand for it."""
        gains = np.zeros(self._z.shape[1])
        for target, n_levels in targets(column):
            booster = self._fit(self._data, target, n_levels)
            gains += booster.feature_importance("gain")
        return gains

    def predict(
        self, column: Column, fitted: Int[np.ndarray, " fitted"], asked: Int[np.ndarray, " asked"]
    ) -> np.ndarray:
        """(asked, targets) levels or numbers guessed for the cells asked about."""
        data = self._data.subset(np.sort(fitted)).construct()
        guesses = []
        for target, n_levels in targets(column):
            booster = self._fit(data, target[np.sort(fitted)], n_levels)
            guess = np.asarray(booster.predict(self._z[asked]))
            guesses.append(guess.argmax(axis=1) if n_levels > 2 else guess)
        stacked = np.column_stack(guesses)
        return (stacked > 0.5).astype(np.intp) if targets(column)[0][1] == 2 else stacked

    def _fit(self, data: Any, target: np.ndarray, n_levels: int) -> Any:
        from lightgbm import train

        aims: dict[str, Any] = {"objective": "regression"}
        if n_levels == 2:
            aims = {"objective": "binary"}
        elif n_levels > 2:
            aims = {"objective": "multiclass", "num_class": n_levels}
        data.set_label(target)
        return train({**self._settings, **aims}, data, num_boost_round=_N_TREES)


def targets(column: Column) -> Sequence[tuple[np.ndarray, int]]:
    """What the trees are trained on and its number of levels (0 for numbers)."""
    if column.kind == "categorical":
        return [(column.values, int(column.values.max()) + 1)]
    if column.kind == "circular":
        return [(np.cos(column.values), 0), (np.sin(column.values), 0)]
    return [((column.values - column.values.mean()) / column.values.std(), 0)]
