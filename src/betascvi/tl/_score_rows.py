"""How a figure gets its null, its interval and its ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.stats import t as student

from betascvi._errors import UndefinedScoreError
from betascvi.factors import CodedFactor, Overlap
from betascvi.tl._budget import Budget
from betascvi.tl._draws import (
    SHARE_KEPT,
    SPREAD_OF_SUBSAMPLES,
    Ask,
    ask_alone,
    keep,
    permutations,
    run_all,
    subsamples,
    thin,
)
from betascvi.tl._figures import (
    ALL,
    FITTED,
    BinnedEmbedding,
    FigureKey,
    Figures,
    conditional_figures,
    information_figures,
)
from betascvi.tl._score_table import ScoreRow

_LOWEST = {"informativeness": -np.inf}
"""What a part of a score is at least; 0 otherwise. At most 1, all of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What is scored, and how hard."""

    z: np.ndarray
    factors: tuple[CodedFactor, ...]
    strata: np.ndarray
    overlap: Overlap | None
    budget: Budget
    seed: int

    def thinned(self, max_cells: int) -> Scene:
        """The same on at most so many cells, levels in their shares."""
        rows = thin(self.factors, max_cells, np.random.default_rng([self.seed, 1]))
        return replace(
            self, z=self.z[rows], factors=keep(self.factors, rows), strata=self.strata[rows]
        )

    def permuted(self, n: int) -> Iterator[tuple[CodedFactor, ...]]:
        """Labels dealt anew, ``n`` times."""
        return permutations(self.factors, self.strata, n, np.random.default_rng([self.seed, 2]))

    def subsampled(self, n: int) -> Iterator[np.ndarray]:
        """Rows of ``n`` subsamples."""
        return subsamples(len(self.z), n, np.random.default_rng([self.seed, 3]))


def information_rows(scene: Scene, metrics: Sequence[str]) -> list[ScoreRow]:
    """Figures that are counts."""
    if not metrics:
        return []
    scene = scene.thinned(scene.budget.max_cells)
    n_bins, budget = scene.budget.n_bins, scene.budget
    rows: list[ScoreRow] = []
    defined = [m for m in metrics if not (reason := _why_not(m, scene)) or _note(rows, m, reason)]
    if not defined:
        return rows
    binned = BinnedEmbedding(scene.z, n_bins)
    ask = partial(_ask_information, n_bins=n_bins, wanted=defined)
    values = information_figures(binned, scene.factors, n_bins, defined)
    null = [
        information_figures(binned, permuted, n_bins, defined)
        for permuted in scene.permuted(budget.n_null)
    ]
    resampled = _on_subsamples(scene, ask, budget.n_resamples, n_jobs=1)
    return rows + _rows(scene, values, null, resampled, _perfect(scene, ask))


def fitted_rows(scene: Scene, metrics: Sequence[str]) -> list[ScoreRow]:
    """Figures that fit something: on a subsample, in parallel."""
    scene = scene.thinned(scene.budget.max_cells_fitted)
    rows: list[ScoreRow] = []
    for metric in metrics:
        ask = partial(_ask_fitted, metric=metric, n_bins=scene.budget.n_bins, seed=scene.seed)
        try:
            values = ask_alone(ask, scene.z, scene.factors)
        except UndefinedScoreError as undefined:
            _note(rows, metric, str(undefined))
            continue
        jobs = ((scene.z, permuted) for permuted in scene.permuted(scene.budget.n_null_fitted))
        n_jobs = scene.budget.n_jobs
        null = run_all(ask, jobs, n_jobs, len(scene.z))
        resampled = _on_subsamples(scene, ask, scene.budget.n_resamples_fitted, n_jobs)
        rows += _rows(scene, values, null, resampled, _perfect(scene, ask))
    return rows


def nested_rows(scene: Scene, nested: Sequence[tuple[CodedFactor, CodedFactor]]) -> list[ScoreRow]:
    """MIG of a child within the levels of its parent, labels permuted within them."""
    rows: list[ScoreRow] = []
    for child, parent in nested:
        one = replace(scene, factors=(child, parent), strata=parent.values)
        one = one.thinned(scene.budget.max_cells)
        if _why_not("mig", one) or not _varies_within(*one.factors):
            continue
        n_bins = scene.budget.n_bins
        binned = BinnedEmbedding(one.z, n_bins)
        values = conditional_figures(binned, *one.factors)
        null = [conditional_figures(binned, *p) for p in one.permuted(scene.budget.n_null)]
        ask = partial(_ask_conditional, n_bins=n_bins)
        resampled = _on_subsamples(one, ask, scene.budget.n_resamples, n_jobs=1)
        rows += _rows(one, values, null, resampled, {})
    return rows


def _ask_information(
    z: np.ndarray, factors: Sequence[CodedFactor], *, n_bins: int, wanted: Sequence[str]
) -> Figures:
    return information_figures(BinnedEmbedding(z, n_bins), factors, n_bins, wanted)


def _ask_conditional(z: np.ndarray, factors: Sequence[CodedFactor], *, n_bins: int) -> Figures:
    return conditional_figures(BinnedEmbedding(z, n_bins), factors[0], factors[1])


def _ask_fitted(
    z: np.ndarray, factors: Sequence[CodedFactor], *, metric: str, n_bins: int, seed: int
) -> Figures:
    return FITTED[metric](z, factors, n_bins, seed)


def _why_not(metric: str, scene: Scene) -> str:
    if metric == "mig" and scene.z.shape[1] < 2:
        return f"mig compares axes with each other; the embedding has {scene.z.shape[1]}."
    if metric == "modularity" and len(scene.factors) < 2:
        return "modularity compares factors with each other; one was given."
    return ""


def _note(rows: list[ScoreRow], metric: str, reason: str) -> bool:
    """Add the row of a figure that does not exist; False, so that it can be filtered on."""
    rows.append(ScoreRow(metric, "headline", ALL, "", None, reason=reason))
    return False


def _varies_within(child: CodedFactor, parent: CodedFactor) -> bool:
    known = child.known & parent.known
    pairs = np.unique(np.column_stack([child.values[known], parent.values[known]]), axis=0)
    return len(pairs) > len(np.unique(pairs[:, 1]))


def _on_subsamples(scene: Scene, ask: Ask, n: int, n_jobs: int) -> list[Figures]:
    jobs = ((scene.z[rows], keep(scene.factors, rows)) for rows in scene.subsampled(n))
    return run_all(ask, jobs, n_jobs, int(SHARE_KEPT * len(scene.z)))


def _perfect(scene: Scene, ask: Ask) -> Figures:
    """Figures of the code that has one axis a factor (two for an angle).

    That of one factor alone has a second axis, which says nothing.
    """
    known = np.all([factor.known for factor in scene.factors], axis=0)
    rows = np.flatnonzero(known)
    if len(rows) < 2:
        return {}
    factors = keep(scene.factors, rows)
    axes = np.column_stack([_axes_of(f) for f in factors])
    if axes.shape[1] == 1:
        axes = np.pad(axes, [(0, 0), (0, 1)])
    try:
        return ask_alone(ask, axes, factors)
    except UndefinedScoreError:
        return {}


def _axes_of(factor: CodedFactor) -> np.ndarray:
    if factor.kind == "circular":
        return np.column_stack([np.cos(factor.values), np.sin(factor.values)])
    return np.asarray(factor.values[:, None], dtype=float)


def _rows(
    scene: Scene,
    values: Figures,
    null: Sequence[Figures],
    resampled: Sequence[Figures],
    perfect: Figures,
) -> list[ScoreRow]:
    known = {factor.name: int(factor.known.sum()) for factor in scene.factors}
    n_any = int(np.any([factor.known for factor in scene.factors], axis=0).sum())
    ceilings = _with_contract(values, perfect, scene.overlap)
    rows = []
    for key, value in values.items():
        by_chance = np.array([figures[key] for figures in null if key in figures])
        found = np.array([figures[key] for figures in resampled if key in figures])
        low, high = _interval(value, found, _LOWEST.get(key.part, 0.0))
        n_cells = known.get(key.factor, n_any)
        row = ScoreRow(
            *key,
            value=value,
            low=low,
            high=high,
            ceiling=ceilings.get(key),
            n_cells=n_cells,
            n_left_out=len(scene.z) - n_cells,
            n_null=len(by_chance),
            n_resamples=len(found),
        )
        rows.append(_against(row, value, by_chance))
    return rows


def _against(row: ScoreRow, value: float, null: np.ndarray) -> ScoreRow:
    if null.size == 0:
        return row
    return replace(
        row,
        null_mean=float(null.mean()),
        null_high=float(np.quantile(null, 0.95)),
        p_value=float((1 + (null >= value).sum()) / (1 + null.size)),
    )


def _interval(value: float, found: np.ndarray, lowest: float) -> tuple[float | None, float | None]:
    """As far either side as fresh samples would spread, judged by subsamples of this one.

    Not beyond what a score can be.
    """
    if found.size < 2:
        return None, None
    spread = found.std(ddof=1) / SPREAD_OF_SUBSAMPLES
    reach = float(student.ppf(0.975, found.size - 1) * spread)
    return min(value, max(value - reach, lowest)), max(value, min(value + reach, 1.0))


def _with_contract(
    values: Figures, perfect: Figures, overlap: Overlap | None
) -> dict[FigureKey, float]:
    """Ceilings: of MIG by formula, of the others as the perfect code scores."""
    ceilings = dict(perfect)
    of_factor = {} if overlap is None else dict(overlap.ceilings)
    for key in values:
        if key.metric == "mig" and not key.given and of_factor:
            mean = float(np.mean(list(of_factor.values())))
            ceilings[key] = of_factor.get(key.factor, mean)
    return ceilings
