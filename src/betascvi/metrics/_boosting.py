"""Gradient-boosted trees as the probe of DCI and of blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from betascvi.metrics._inputs import Column, live_axes

_N_TREES = 100
_N_BINS = 255
_STEP = 0.1
_SETTINGS: dict[str, Any] = {
    # scikit-learn's defaults (100 trees of depth 3, step 0.1), in LightGBM's words.
    "learning_rate": _STEP,
    "max_depth": 3,
    "num_leaves": 8,
    "min_data_in_leaf": 1,
    "max_bin": _N_BINS,
    "min_data_in_bin": 1,
    "boost_from_average": False,
    "feature_pre_filter": False,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
# Far below any difference between two splits, far above the rounding of a gain.
_TIE_BREAK = 1e-7


class BoostedProbe:
    """Boosted trees on one embedding, asked about one target after another.

    The embedding is binned once, which is most of the work for a single target.
    """

    def __init__(self, z: Float[np.ndarray, "cells axes"], seed: int) -> None:
        from lightgbm import Dataset

        self._settings = {**_SETTINGS, "seed": seed}
        self._seed = seed
        self._z = np.column_stack([bins_at_gaps(x) for x in z.T])
        self._data = Dataset(self._z, params=self._settings, free_raw_data=False).construct()

    def gains(self, column: Column) -> Float[np.ndarray, " axes"]:
        """Squared residual that splits on each axis remove, summed over trees and targets.

        LightGBM's own gain divides by the Hessian, which vanishes as cells become certain, so
        that late splits on noise weigh most; scikit-learn counts squared residuals, and so do we.
        """
        n_axes = self._z.shape[1]
        rng = np.random.default_rng(self._seed)
        gains = np.zeros(n_axes)
        if not live_axes(self._z).any():
            return gains  # LightGBM fails where no axis can be split
        for target, n_levels in targets(column):
            booster, _ = self._start(np.arange(len(self._z)), target, n_levels)
            for favour in _favours(n_axes, rng):
                booster.reset_parameter({"feature_contri": favour.tolist()})
                if booster.update():
                    break
            gains += residual_gains(booster.model_to_string(), n_axes)
        return gains

    def predict(
        self, column: Column, fitted: Int[np.ndarray, " fitted"], asked: Int[np.ndarray, " asked"]
    ) -> np.ndarray:
        """(asked, targets) levels or numbers guessed for the cells asked about."""
        guesses = []
        for target, n_levels in targets(column):
            booster, prior = self._start(np.sort(fitted), target, n_levels)
            for _ in range(_N_TREES):
                if booster.update():
                    break
            raw = np.asarray(booster.predict(self._z[asked], raw_score=True)) + prior
            if n_levels == 2:
                raw = raw > 0
            guesses.append(raw.argmax(axis=1) if n_levels > 2 else raw)
        return np.column_stack(guesses)

    def _start(
        self, fitted: Int[np.ndarray, " fitted"], target: np.ndarray, n_levels: int
    ) -> tuple[Any, Any]:
        """A booster without trees, and the raw score it starts from."""
        from lightgbm import Booster

        # A copy of the bins for every target: LightGBM writes past its memory when a data set
        # that was trained on is given start values for another number of levels.
        data = self._data.subset(fitted).construct()
        target = target[fitted]
        counts = np.bincount(target.astype(np.intp), minlength=n_levels) if n_levels else None
        aims: dict[str, Any] = {"objective": "regression"}
        prior: Any = target.mean()
        if counts is not None:
            # A level that these cells lack starts (and stays) far below the others.
            logs = np.log(np.maximum(counts, 1e-9) / target.size)
            prior = logs[1] - logs[0] if n_levels == 2 else logs
            aims = {"objective": "binary"}
            if n_levels > 2:
                aims = {"objective": "multiclass", "num_class": n_levels}
        data.set_label(target)
        data.set_init_score(np.repeat(prior, target.size))
        return Booster({**self._settings, **aims}, data), prior


def bins_at_gaps(x: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " cells"]:
    """Numbers of up to 255 bins of about as many cells, each cut where values lie farthest apart.

    LightGBM cuts at quantiles, which may fall amid the cells of a level: of two axes that tell
    the levels apart equally well, the one with the luckier cut would then win every split.
    """
    values = np.sort(x)
    gaps = np.diff(values)
    stretches = np.array_split(np.arange(gaps.size), min(_N_BINS - 1, max(gaps.size, 1)))
    cuts = np.array([s[0] + gaps[s].argmax() for s in stretches if s.size], dtype=np.intp)
    cuts = cuts[gaps[cuts] > 0]
    return np.searchsorted(values[cuts], x, side="left").astype(np.float32)


def _favours(n_axes: int, rng: np.random.Generator) -> Float[np.ndarray, "trees axes"]:
    """Weights of the axes for each tree, equal but for the order in which ties go.

    LightGBM gives every tie to the first axis, and a copy of an axis would look unused. Each
    order is followed by its reverse, so that two copies share evenly.
    """
    orders = rng.random((_N_TREES // 2, 1, n_axes))
    both = np.concatenate([orders, 1 - orders], axis=1).reshape(_N_TREES, n_axes)
    return np.asarray(1 - _TIE_BREAK * both)


def targets(column: Column) -> list[tuple[np.ndarray, int]]:
    """What the trees are trained on and its number of levels (0 for numbers)."""
    if column.kind == "categorical":
        return [(column.values, int(column.values.max()) + 1)]
    if column.kind == "circular":
        return [(np.cos(column.values), 0), (np.sin(column.values), 0)]
    return [((column.values - column.values.mean()) / column.values.std(), 0)]


def residual_gains(model: str, n_axes: int) -> Float[np.ndarray, " axes"]:
    """Fall of the squared residuals by the splits on each axis, from a model's own text.

    A node's value is -step * (sum of gradients) / (sum of Hessians), so value * weight / step
    is the sum of its residuals S, and a split of n cells lowers their squared deviation by
    S_left^2 / n_left + S_right^2 / n_right - S^2 / n.
    """
    gains = np.zeros(n_axes)
    for tree in model.split("\nTree=")[1:]:
        fields = dict(line.split("=", 1) for line in tree.splitlines() if "=" in line)
        if int(fields["num_leaves"]) < 2:
            continue
        nodes = [_numbers(fields, f"internal_{what}") for what in ("value", "weight", "count")]
        leaves = [_numbers(fields, f"leaf_{what}") for what in ("value", "weight", "count")]
        sides = []
        for side in ("left_child", "right_child"):
            # Children below zero are leaves, numbered -1, -2, ...: the end of the joined arrays.
            child = np.array(fields[side].split(), dtype=np.intp)
            joined = (np.concatenate([n, le[::-1]]) for n, le in zip(nodes, leaves, strict=True))
            value, weight, count = (both[child] for both in joined)
            sides.append((value * weight / _STEP, count))
        (left, n_left), (right, n_right) = sides
        fall = left**2 / n_left + right**2 / n_right - (left + right) ** 2 / (n_left + n_right)
        axes = np.array(fields["split_feature"].split(), dtype=np.intp)
        gains += np.bincount(axes, fall, minlength=n_axes)
    return gains


def _numbers(fields: dict[str, str], name: str) -> np.ndarray:
    return np.array(fields[name].split(), dtype=np.float64)
