"""How many cells, permutations and resamples a score table may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """Cells, nulls and resamples behind the figures of a score table.

    Information-based scores (MIG, modularity) are counts and cheap; the others fit something
    for every figure, null and resample, so they are asked on fewer cells, fewer times. Value,
    null and interval of a figure always come from the same number of cells.

    Parameters
    ----------
    n_null, n_resamples
        Permutations and resamples of information-based scores; 0 leaves them out.
    n_null_fitted, n_resamples_fitted
        The same for scores that fit something.
    max_cells
        Cells of information-based scores; more are drawn down, level by level.
    max_cells_fitted
        Cells of scores that fit something.
    n_bins
        Equal-width bins of axes, and of continuous and circular factors.
    n_jobs
        Processes for scores that fit something; 0 takes every core where that pays.
    """

    n_null: int = 100
    n_resamples: int = 100
    n_null_fitted: int = 20
    n_resamples_fitted: int = 20
    max_cells: int = 50_000
    max_cells_fitted: int = 5_000
    n_bins: int = 20
    n_jobs: int = 0

    def __post_init__(self) -> None:
        for name in ("n_null", "n_resamples", "n_null_fitted", "n_resamples_fitted", "n_jobs"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is 0 or more, got {getattr(self, name)}.")
        for name, least in (("max_cells", 20), ("max_cells_fitted", 20), ("n_bins", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {least} or more, got {getattr(self, name)}.")
