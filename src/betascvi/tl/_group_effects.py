"""Means of groups of cells before and after, and how sure a fold change is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.stats import norm

_LN2 = float(np.log(2.0))
_AS_GROUPS = 4


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """Ask for means and log-fold changes of groups of cells in place of matrices.

    Parameters
    ----------
    groupby
        Column, or columns, of ``adata.obs``; None is all cells as one group.
    level
        Of the intervals.
    """

    groupby: str | Sequence[str] | None = None
    level: float = 0.9

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level is a share between 0 and 1, got {self.level!r}.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns asked for."""
        if self.groupby is None:
            return ()
        columns = (self.groupby,) if isinstance(self.groupby, str) else self.groupby
        return tuple(dict.fromkeys(columns))


@dataclass(slots=True, eq=False)
class PairedMoments:
    """Sums over the cells of each group of two paired matrices: all a fold change needs."""

    n_groups: int
    n_genes: int
    n_cells: np.ndarray = field(init=False)
    sums: np.ndarray = field(init=False)
    """(5, groups, genes): sums of f, c, f², c² and f·c."""

    def __post_init__(self) -> None:
        self.n_cells = np.zeros(self.n_groups)
        self.sums = np.zeros((5, self.n_groups, self.n_genes))

    def add(self, groups: np.ndarray, factual: np.ndarray, other: np.ndarray) -> None:
        """Cells of one chunk; a group of -1 is left out.

        Products are in the chunk's own precision, which is enough for a thousand positive numbers;
        sums over chunks are in double.
        """
        belongs = (np.arange(self.n_groups)[:, None] == groups).astype(factual.dtype)
        self.n_cells += belongs.sum(1)
        product = np.empty_like(factual)
        self.sums[:2] += belongs @ factual, belongs @ other
        pairs = ((factual, factual), (other, other), (factual, other))
        for k, (one, two) in enumerate(pairs, start=2):
            self.sums[k] += belongs @ np.multiply(one, two, out=product)

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray]:
        """(groups, genes) before and after."""
        n = self.n_cells[:, None]
        return self.sums[0] / n, self.sums[1] / n

    def log_ratio(self) -> np.ndarray:
        """(groups, genes) log2 of the mean after over the mean before."""
        before, after = (np.maximum(m, 1e-12) for m in self.means)
        return np.asarray(np.log2(after / before))

    def variance_over_cells(self) -> np.ndarray:
        r"""Sampling variance of :meth:`log_ratio` over cells, by the delta method.

        .. math:: \frac{1}{n \ln^2 2} \Big(\frac{\mathrm{Var} f}{\bar f^2} + \frac{\mathrm{Var} c}
                  {\bar c^2} - 2 \frac{\mathrm{Cov}(f, c)}{\bar f \bar c}\Big)
        """
        n = self.n_cells[:, None]
        f, c = (np.maximum(m, 1e-12) for m in self.means)
        var_f, var_c = self.sums[2] / n - f * f, self.sums[3] / n - c * c
        cov = self.sums[4] / n - f * c
        of_log = var_f / f**2 + var_c / c**2 - 2.0 * cov / (f * c)
        return np.asarray(np.maximum(of_log, 0.0) / (np.maximum(n - 1.0, 1.0) * _LN2**2))


@dataclass(frozen=True, slots=True, eq=False)
class LogMeans:
    """Mean of a gene over cells as a log2, and how well these cells tell it."""

    n_cells: np.ndarray
    """(groups,)"""
    log2: np.ndarray
    """(groups, genes)"""
    variance: np.ndarray
    """(groups, genes) of ``log2``."""

    @classmethod
    def of(cls, n: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> LogMeans:
        r"""From numbers of cells, sums and sums of squares of size-normalised counts.

        :math:`\mathrm{Var}(x) / (n \bar x^2 \ln^2 2)`, with half a count added where there is none.
        """
        of_cells = np.maximum(n, 1.0)[:, None]
        mean = sums / of_cells
        floor = np.where(mean > 0, mean, 0.5 / of_cells)
        spread = np.maximum(squares / of_cells - mean**2, 0.0)
        spread = np.where(mean > 0, spread, floor)
        return cls(n, np.log2(floor), spread / (of_cells * floor**2 * _LN2**2))


def spread_between(effects: np.ndarray, variance: np.ndarray) -> np.ndarray:
    r"""Variance of a gene's true effect between groups, (genes,), beyond that of measuring it.

    DerSimonian and Laird's estimate,

    .. math::
        \tau^2 = \frac{\sum_h w_h (y_h - \bar y)^2 - (H - 1)}{\sum_h w_h - \sum_h w_h^2 / \sum_h w_h},
        \qquad w_h = 1 / v_h

    drawn towards that of all genes together, as a few groups tell it badly for one: by as much as
    :data:`_AS_GROUPS` further groups would.
    """
    weights = 1.0 / np.maximum(variance, 1e-12)
    total = weights.sum(0)
    mean = (weights * effects).sum(0) / total
    excess = (weights * (effects - mean) ** 2).sum(0) - (len(effects) - 1)
    scale = total - (weights**2).sum(0) / total
    of_all = max(float(excess.sum() / scale.sum()), 0.0)
    own = len(effects) - 1
    each = np.maximum(excess / scale, 0.0)
    return np.asarray((own * each + _AS_GROUPS * of_all) / (own + _AS_GROUPS))


def group_frame(
    names: Sequence[str],
    genes: Sequence[str],
    draws: Sequence[PairedMoments],
    of_data: np.ndarray | float,
    level: float,
) -> pd.DataFrame:
    """One row a group and gene, from the moments of each posterior draw."""
    ratios = np.stack([d.log_ratio() for d in draws])
    variance = np.mean([d.variance_over_cells() for d in draws], axis=0) + of_data
    if len(draws) > 1:
        variance = variance + ratios.var(0, ddof=1)
    ratio, half = ratios.mean(0), norm.ppf(0.5 + level / 2.0) * np.sqrt(variance)
    before, after = (np.mean([d.means[k] for d in draws], axis=0) for k in (0, 1))
    columns: Mapping[str, np.ndarray] = {
        "mean_factual": before, "mean_counterfactual": after, "log2_fold_change": ratio,
        "low": ratio - half, "high": ratio + half,
    }  # fmt: skip
    n_groups, n_genes = ratio.shape
    frame = pd.DataFrame({name: values.ravel() for name, values in columns.items()})
    frame.insert(0, "group", np.repeat(np.asarray(names, dtype=object), n_genes))
    frame.insert(1, "gene", np.tile(np.asarray(genes, dtype=object), n_groups))
    frame.insert(2, "n_cells", np.repeat(draws[0].n_cells.astype(int), n_genes))
    return frame
