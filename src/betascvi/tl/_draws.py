"""Subsamples and permutations of labelled cells, and running over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from betascvi._errors import UndefinedScoreError
from betascvi.factors import CodedFactor
from betascvi.tl._figures import Figures

Ask = Callable[[np.ndarray, Sequence[CodedFactor]], Figures]
_WORTH_A_PROCESS = 2_000
SHARE_KEPT = 0.8
# The delete-d jackknife: subsamples of this share spread so much less than fresh samples do.
# Half-samples would need no factor, but a biased score is another score at half the cells.
SPREAD_OF_SUBSAMPLES = float(np.sqrt((1 - SHARE_KEPT) / SHARE_KEPT))


def keep(factors: Sequence[CodedFactor], rows: np.ndarray) -> tuple[CodedFactor, ...]:
    """The same factors on some of the cells."""
    return tuple(CodedFactor(f.name, f.kind, f.values[rows], f.levels) for f in factors)


def thin(factors: Sequence[CodedFactor], max_cells: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many rows, every combination of levels in its share."""
    n_cells = len(factors[0].values)
    if n_cells <= max_cells:
        return np.arange(n_cells)
    codes = [f.values for f in factors if f.kind == "categorical"]
    order = np.lexsort([rng.random(n_cells), *codes[::-1]])
    start = rng.random()
    taken = np.floor((np.arange(max_cells) + start) * n_cells / max_cells).astype(int)
    return np.sort(order[np.minimum(taken, n_cells - 1)])


def subsamples(n_cells: int, n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of ``n`` random subsamples, none of which holds a cell twice; drawn as they are used."""
    n_kept = int(SHARE_KEPT * n_cells)
    for _ in range(n):
        yield np.sort(rng.permutation(n_cells)[:n_kept])


def permutations(
    factors: Sequence[CodedFactor], strata: np.ndarray, n: int, rng: np.random.Generator
) -> Iterator[tuple[CodedFactor, ...]]:
    """Labels dealt anew within strata, ``n`` times; drawn as they are used.

    Factors known for the same cells move together, so that they stay as dependent as they
    are; a label moves among the cells that have one, so that the cells scored stay the same.
    """
    masks = {np.packbits(f.known).tobytes(): f.known for f in factors}
    for _ in range(n):
        source = {key: _shuffled_within(strata, known, rng) for key, known in masks.items()}
        yield tuple(
            keep([factor], source[np.packbits(factor.known).tobytes()])[0] for factor in factors
        )


def ask_alone(ask: Ask, z: np.ndarray, factors: Sequence[CodedFactor]) -> Figures:
    """Ask with one thread: on so few cells more threads wait for each other (12 times slower)."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        return ask(z, factors)


def run_all(
    ask: Ask,
    jobs: Iterable[tuple[np.ndarray, Sequence[CodedFactor]]],
    n_jobs: int,
    n_cells: int,
) -> list[Figures]:
    """Ask for every job (of so many cells), and keep the answers where the figures exist."""
    if n_jobs == 1 or (n_jobs == 0 and n_cells < _WORTH_A_PROCESS):
        found = [_or_none(ask, *job) for job in jobs]
    else:
        from joblib import Parallel, delayed

        found = Parallel(n_jobs=n_jobs or -1)(delayed(_or_none)(ask, *job) for job in jobs)
    return [figures for figures in found if figures is not None]


def _or_none(ask: Ask, z: np.ndarray, factors: Sequence[CodedFactor]) -> Figures | None:
    try:
        return ask_alone(ask, z, factors)
    except UndefinedScoreError:
        return None


def _shuffled_within(strata: np.ndarray, known: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each cell the cell whose label it gets: of its own stratum, and known like itself."""
    stratum = np.where(known, strata, strata.max() + 1)
    shuffled = rng.permutation(len(stratum))
    source = np.empty(len(stratum), dtype=np.int64)
    source[np.argsort(stratum, kind="stable")] = shuffled[
        np.argsort(stratum[shuffled], kind="stable")
    ]
    return source
