"""``tl.stability``: do other seeds find the same axes?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData

from betascvi._errors import UndefinedScoreError
from betascvi.metrics import udr
from betascvi.metrics._diagnosis import DEAD_NATS
from betascvi.metrics._programs import living, match_axes, mean_matched
from betascvi.model import BetaSCVI
from betascvi.model._dead_axes import kl_of_axes

if TYPE_CHECKING:
    import pandas as pd

_MOST_CELLS = 10_000
"""Cells on which an axis' KL to its prior is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Stability:
    """How far runs agree; ``to_frame()`` has a row for each axis of each run."""

    value: float
    """Mean over pairs of runs of the correlation of matched axes."""
    pairwise: np.ndarray
    """(runs, runs): the same for each pair; 1 on the diagonal."""
    per_axis: tuple[np.ndarray, ...]
    """For each run, (axes,): mean over the others of the correlation with the axis' match."""
    names: tuple[tuple[str, ...], ...]
    n_living: tuple[int, ...]
    udr: float
    """Unsupervised disentanglement ranking (:func:`betascvi.metrics.udr`, rank correlations)."""

    def __float__(self) -> float:
        return self.value

    def to_frame(self) -> pd.DataFrame:
        """One row for each living axis of each run, the stablest of a run first."""
        import pandas as pd

        parts = [
            pd.DataFrame({"run": run, "axis": names, "stability": found})
            for run, (names, found) in enumerate(zip(self.names, self.per_axis, strict=True))
        ]
        frame = pd.concat(parts, ignore_index=True)
        return frame.sort_values(["run", "stability"], ascending=[True, False], ignore_index=True)

    def __str__(self) -> str:
        axes = ", ".join(map(str, self.n_living))
        return (
            f"{len(self.names)} runs with {axes} living axes: matched correlation "
            f"{self.value:.2f}, UDR {self.udr:.2f}"
        )


def stability(models: Sequence[BetaSCVI | np.ndarray], adata: AnnData | None = None) -> Stability:
    r"""How far runs that differ in the seed find the same axes.

    Axes of two runs are matched one to one so that the sum of their absolute correlations over
    cells is largest; the figure of a pair is that sum over the larger number of living axes, so
    that an axis only one of the runs has counts zero:

    .. math:: \frac{1}{\max(d_a, d_b)} \max_\pi \sum_i |\mathrm{corr}(z^a_i, z^b_{\pi(i)})|

    Parameters
    ----------
    models
        Two or more trained models of the same genes, or (cells, axes) embeddings of the same
        cells in the same order (of any method).
    adata
        The cells to compare on; ``None`` takes those of the first model.

    Returns
    -------
    The record: ``float()`` is the mean over pairs; ``.udr``; ``.to_frame()`` says for each axis
    of each run how well the others have it.

    Notes
    -----
    Axes whose mean KL to the prior is below 0.01 nat are left out (of an array: constant ones).
    Agreement is not truth: PCA agrees with itself on every seed.

    Examples
    --------
    >>> float(bs.tl.stability([model, same_model_with_another_seed]))
    """
    if not isinstance(models, Sequence) or isinstance(models, str):
        raise TypeError(f"stability takes a list of models or arrays, got {type(models).__name__}.")
    if len(models) < 2:
        raise UndefinedScoreError(
            f"stability compares runs and needs 2 or more; got {len(models)}."
        )
    cells = adata
    if cells is None:
        cells = next((m.adata for m in models if isinstance(m, BetaSCVI)), None)
    read = [_read(model, cells) for model in models]
    sizes = sorted({len(z) for z, _, _ in read})
    if len(sizes) > 1:
        raise ValueError(f"stability needs the same cells in every run; got {sizes} cells.")
    runs = living([z for z, _, _ in read], [mask for _, mask, _ in read])
    names = tuple(
        tuple(name for name, lives in zip(every, mask, strict=True) if lives)
        for _, mask, every in read
    )
    pairwise = np.eye(len(runs))
    for i, j in zip(*np.triu_indices(len(runs), k=1), strict=True):
        pairwise[i, j] = pairwise[j, i] = mean_matched(runs[i], runs[j])
    others = pairwise[np.triu_indices(len(runs), k=1)]
    is_active = [mask for _, mask, _ in read]
    agreement = udr([z for z, _, _ in read], method="spearman", is_active=is_active)
    return Stability(
        float(others.mean()), pairwise, tuple(_of_axes(runs, i) for i in range(len(runs))), names,
        tuple(z.shape[1] for z in runs), float(agreement),
    )  # fmt: skip


def _read(
    model: BetaSCVI | np.ndarray, adata: AnnData | None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Positions, which axes live, and their names."""
    if not isinstance(model, BetaSCVI):
        z = _array(model)
        return z, z.std(0) > 0, tuple(f"axis_{i + 1}" for i in range(z.shape[1]))
    mean, variance = model.get_latent_representation(adata, return_dist=True)
    some = np.arange(0, len(mean), -(-len(mean) // _MOST_CELLS))
    kl = kl_of_axes(model, (mean[some], variance[some]), some, adata)
    mean = mean.astype(np.float64)
    return mean, (kl >= DEAD_NATS) & (mean.std(0) > 0), tuple(model.axis_names)


def _array(z: np.ndarray) -> np.ndarray:
    if not hasattr(z, "__array__"):
        raise TypeError(
            f"stability compares BetaSCVI models and (cells, axes) arrays, got {type(z).__name__}; "
            "of another model give its latent, model.get_latent_representation()."
        )
    z = np.asarray(z, dtype=np.float64)
    if z.ndim != 2:
        raise ValueError(f"an embedding is (cells, axes), got an array of shape {z.shape}.")
    return z


def _of_axes(runs: Sequence[np.ndarray], i: int) -> np.ndarray:
    """Mean over the other runs of each axis' correlation with its match; 0 without one."""
    found = np.zeros((len(runs) - 1, runs[i].shape[1]))
    for row, other in enumerate(z for j, z in enumerate(runs) if j != i):
        if runs[i].shape[1] and other.shape[1]:
            axes, _, correlation = match_axes(runs[i], other)
            found[row, axes] = correlation
    return found.mean(0)
