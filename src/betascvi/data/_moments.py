"""Mean and dispersion of each gene, read off the counts in one pass."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_ROWS_AT_ONCE = 1024
_MOST_CELLS = 20_000
_LOG_DISPERSIONS = (-5.0, 5.0)


class GeneMoments(NamedTuple):
    """What a decoder can start at."""

    mean: np.ndarray
    """(genes,) per cell, or per unit of the size factor where there is one."""
    log_dispersion: np.ndarray
    """(genes,) log theta by the method of moments, each cell's mean in proportion to its size."""
    log_sd: np.ndarray
    """(genes,) log standard deviation around those means, for a Gaussian."""


def gene_moments(
    x: Any, size_factor: np.ndarray | None = None, n_cells: int | None = None
) -> GeneMoments:
    r"""Moments of at most 20,000 evenly spaced cells.

    With :math:`\mu_{ig} = s_i p_g`, :math:`p_g = \sum_i x_{ig} / \sum_i s_i` and :math:`s_i` the
    size factor (the cell's total without one), :math:`\theta_g = \sum_i \mu_{ig}^2 /
    \sum_i ((x_{ig} - \mu_{ig})^2 - \mu_{ig})`: what cell types add to the spread counts as
    dispersion, so it starts too low rather than too high. ``n_cells`` is for collections of
    files, which have rows but no shape.
    """
    n_cells = x.shape[0] if n_cells is None else n_cells
    step = -(-n_cells // _MOST_CELLS)
    total, squares, with_size = np.zeros((3, 1))
    all_sizes, n_read = [], 0
    for start in range(0, n_cells, _ROWS_AT_ONCE * step):
        rows = slice(start, min(start + _ROWS_AT_ONCE * step, n_cells), step)
        part = x[rows]
        part = part.to_memory() if hasattr(part, "to_memory") else part
        part = (part if hasattr(part, "multiply") else np.asarray(part)).astype(np.float64)
        sums = np.asarray(part.sum(axis=1), dtype=np.float64).ravel()
        size = sums if size_factor is None else np.asarray(size_factor)[rows].ravel()
        total = total + np.asarray(part.sum(axis=0), dtype=np.float64).ravel()
        squares = squares + _sum_of_squares(part)
        with_size = with_size + np.asarray(part.T @ size).ravel()
        all_sizes.append(size)
        n_read += part.shape[0]
    sizes = np.concatenate(all_sizes)
    share = total / max(float(sizes.sum()), 1e-300)
    of_means = share**2 * float((sizes**2).sum())
    around = squares - 2 * share * with_size + of_means
    excess = around - total
    low, high = np.exp(_LOG_DISPERSIONS)
    # a gene no more spread than Poisson, or never seen, has no estimate
    theta = np.divide(of_means, excess, out=np.full(total.size, high), where=excess > 0)
    theta = np.where(total > 0, np.clip(theta, low, high), 1.0)
    mean = total / n_read if size_factor is None else share
    sd = np.sqrt(np.maximum(around, 0.0) / n_read)
    # a column that never varies is as wide as rounding allows
    least = 1e-3 * max(float(sd.max()), 1e-3)
    return GeneMoments(mean, np.log(theta), np.log(np.maximum(sd, least)))


def _sum_of_squares(part: Any) -> np.ndarray:
    squared = part.multiply(part) if hasattr(part, "multiply") else part * part
    return np.asarray(squared.sum(axis=0), dtype=np.float64).ravel()
