"""What a set of axes knows of one factor: a figure, its null, its interval. Arrays only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from betascvi._errors import UndefinedScoreError
from betascvi.metrics._folds import deal_folds
from betascvi.tl._probes import PROBES, Target, cross_fit

SMALL = 1500
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Probing:
    """How hard a leak is looked for.

    Parameters
    ----------
    n_folds
        Every cell is read by probes that were fitted without it, in so many folds.
    n_permutations
        Label permutations behind the null; 20 or more.
    null
        Which probes the permutations run: ``"all"`` four, the ``"logistic"`` one alone, or
        ``"auto"``: all up to 1500 cells, logistic above.
    probes
        Names of the probes the best is taken of.
    n_resamples
        Resamples of the cells (of the groups, where given) behind the interval.
    max_cells
        More cells than this are drawn down, level by level.
    """

    n_folds: int = 5
    n_permutations: int = 20
    null: Literal["auto", "all", "logistic"] = "auto"
    probes: tuple[str, ...] = tuple(PROBES)
    n_resamples: int = 200
    max_cells: int = 10_000

    def __post_init__(self) -> None:
        unknown = sorted(set(self.probes) - set(PROBES))
        if unknown or not self.probes:
            raise ValueError(f"probes are among {list(PROBES)}, got {list(self.probes)}.")
        if self.null not in ("auto", "all", "logistic"):
            raise ValueError(f"null is 'auto', 'all' or 'logistic', got {self.null!r}.")
        if self.n_folds < 3 or self.n_permutations < 20 or self.n_resamples < 20:
            raise ValueError(
                "probing needs at least 3 folds, 20 permutations and 20 resamples, got "
                f"{self.n_folds}, {self.n_permutations} and {self.n_resamples}."
            )

    def null_probes(self, n_cells: int) -> tuple[str, ...]:
        """Probes that the permutations run on so many cells."""
        if self.null == "all" or (self.null == "auto" and n_cells <= SMALL):
            return self.probes
        return ("logistic",)


@dataclass(frozen=True, slots=True)
class Reading:
    """The leak of some axes about a factor, between chance 0 and perfect 1, null subtracted."""

    leak: float
    low: float
    high: float
    p_value: float
    score: float
    """Before the null was subtracted."""
    null_mean: float
    null_probes: str
    probe: str
    """The probe that was the best for most folds."""


def read_leak(z: np.ndarray, target: Target, probing: Probing, rng: np.random.Generator) -> Reading:
    """Figure, null and interval of what axes ``z`` know of ``target``."""
    folds = folds_of(target, probing.n_folds, rng)
    seed = int(rng.integers(2**31 - 1))
    stats, chosen = cross_read(z, target, folds, probing.probes, seed)
    null_probes = probing.null_probes(len(z))
    null = np.array(
        [
            figure_of(cross_read(z, permuted, folds, null_probes, seed)[0], target)
            for permuted in (permute(target, rng) for _ in range(probing.n_permutations))
        ]
    )
    score = figure_of(stats, target)
    of_cells = _resampled_variance(stats, target, probing.n_resamples, rng)
    spread = np.sqrt(of_cells * _refits(int(folds.max()) + 1) + null.var(ddof=1) / null.size)
    leak = score - float(null.mean())
    return Reading(
        leak=leak,
        low=leak - _Z95 * spread,
        high=leak + _Z95 * spread,
        p_value=float((1 + (null >= score).sum()) / (1 + null.size)),
        score=score,
        null_mean=float(null.mean()),
        null_probes="all" if null_probes == probing.probes else "+".join(null_probes),
        probe=Counter(chosen).most_common(1)[0][0],
    )


def folds_of(target: Target, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each cell; a group is held out whole, levels are spread evenly."""
    n_groups = len(np.unique(target.groups))
    if n_groups < 3:
        raise UndefinedScoreError(
            f"only {n_groups} groups have this factor; probes need 3 or more to hold one out "
            "and to choose among themselves."
        )
    levels = target.values if target.n_levels else np.zeros(len(target.values), dtype=int)
    return deal_folds(levels, min(n_folds, n_groups), rng, target.groups)


def permute(target: Target, rng: np.random.Generator) -> Target:
    """Labels dealt anew: among groups where each has one label, else among cells of a group.

    Cells that stand alone are groups of one, so without groups all labels are dealt anew.
    """
    _, first, group_of = np.unique(target.groups, return_index=True, return_inverse=True)
    of_group = target.values[first]
    if np.array_equal(of_group[group_of], target.values):
        return Target(target.kind, rng.permutation(of_group)[group_of], target.groups)
    shuffled = rng.permutation(len(target.values))
    by_group = shuffled[np.argsort(group_of[shuffled], kind="stable")]
    values = np.empty_like(target.values)
    values[np.argsort(group_of, kind="stable")] = target.values[by_group]
    return Target(target.kind, values, target.groups)


def cross_read(
    z: np.ndarray, target: Target, folds: np.ndarray, probes: Sequence[str], seed: int
) -> tuple[np.ndarray, list[str]]:
    """What the best probe says of every held-out cell, as sums that make the figure.

    The best probe for a fold is the one that reads the *other* folds best, and the first probe
    (the logistic one) where no other leads it by a standard error there. Taking the best on the
    cells it is then scored on would read 0.03 to 0.06 out of noise.

    Returns
    -------
    (cells, sums) and the name of the probe used for each fold.
    """
    stats = {
        name: _sums(cross_fit(z, target, folds, PROBES[name], seed), target, folds)
        for name in probes
    }
    names = np.unique(folds)
    best = [_best_without(folds == fold, stats, target) for fold in names]
    read = np.empty_like(stats[probes[0]])
    for fold, name in zip(names, best, strict=True):
        read[folds == fold] = stats[name][folds == fold]
    return read, best


def _best_without(held: np.ndarray, stats: Mapping[str, np.ndarray], target: Target) -> str:
    """The first probe, unless another reads the cells not held better by its standard error."""
    figures = {name: figure_of(s[~held], target) for name, s in stats.items()}
    first = next(iter(stats))
    best = max(figures, key=lambda name: figures[name])
    margin = _standard_error(stats[first][~held].sum(0), target)
    return best if figures[best] > figures[first] + margin else first


def _standard_error(sums: np.ndarray, target: Target) -> float:
    """Of a balanced accuracy between chance and 1 by counting; of a correlation at its null."""
    k = target.n_levels
    if not k:
        return float(1 / np.sqrt(len(target.values)))
    cells = np.maximum(sums[k:], 1)
    recall = sums[:k] / cells
    return float(np.sqrt((recall * (1 - recall) / cells).sum()) / (k - 1))


def _sums(said: np.ndarray, target: Target, folds: np.ndarray) -> np.ndarray:
    """(cells, sums): hits and cells of each level, or the three sums of a correlation."""
    truth = target.as_columns()
    if target.n_levels:
        hit = said.argmax(1) == target.values
        return np.column_stack([truth * hit[:, None], truth])
    base = np.empty_like(truth)
    for fold in np.unique(folds):
        base[folds == fold] = truth[folds != fold].mean(0)
    off = truth - base
    return np.column_stack([(off * said).sum(1), (off**2).sum(1), (said**2).sum(1)])


def figure_of(stats: np.ndarray, target: Target) -> float:
    """The figure of what was read of some cells: (cells, sums) to a number."""
    return float(_from_sums(stats.sum(0), target))


def _from_sums(sums: np.ndarray, target: Target) -> np.ndarray:
    """(..., sums) to (...,): balanced accuracy between chance and 1, or a correlation."""
    k = target.n_levels
    if not k:
        size = np.sqrt(sums[..., 1] * sums[..., 2])
        return np.divide(sums[..., 0], size, out=np.zeros_like(size), where=size > 0)
    cells = sums[..., k:]
    recall = np.divide(sums[..., :k], cells, out=np.zeros_like(cells), where=cells > 0)
    n_seen = np.maximum((cells > 0).sum(-1), 1)
    return np.asarray((recall.sum(-1) / n_seen - 1 / k) / (1 - 1 / k))


def _resampled_variance(
    stats: np.ndarray, target: Target, n_resamples: int, rng: np.random.Generator
) -> float:
    """Variance of the figure when cells (or groups) are drawn anew; probes stay as fitted."""
    group_of = np.unique(target.groups, return_inverse=True)[1]
    n_groups = int(group_of.max()) + 1
    per_group = np.zeros((n_groups, stats.shape[1]))
    np.add.at(per_group, group_of, stats)
    weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_resamples)
    return float(np.var(_from_sums(weights @ per_group, target), ddof=1))


def _refits(n_folds: int) -> float:
    """How much wider for probes that other cells would have fitted otherwise.

    Cells held out vary the figure by 1/K of what one fold does, cells fitted by as much as they
    are more: 1 + K n_held_out / n_fitted (:cite:p:`Nadeau03`).
    """
    return 1 + n_folds / (n_folds - 1)


def thin(target: Target, max_cells: int, rng: np.random.Generator) -> np.ndarray:
    """Rows kept so that at most ``max_cells`` remain, each level in its share."""
    n_cells = len(target.values)
    if n_cells <= max_cells:
        return np.arange(n_cells)
    levels = target.values if target.n_levels else np.zeros(n_cells, dtype=int)
    folds = deal_folds(levels, n_cells, rng)  # a rank that runs through the levels in turn
    return np.sort(np.argsort(folds, kind="stable")[_evenly(n_cells, max_cells)])


def _evenly(n_cells: int, n_kept: int) -> np.ndarray:
    return np.floor(np.arange(n_kept) * n_cells / n_kept).astype(int)
