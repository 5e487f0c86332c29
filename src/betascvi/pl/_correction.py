"""``pl.correction``: cells before and after their batch is taken out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from anndata import AnnData
from matplotlib.axes import Axes
from sklearn.decomposition import PCA

from betascvi import _keys
from betascvi._errors import UnknownFactorError
from betascvi.pl._latent import draw_levels
from betascvi.pl._series import panels_for

_MOST_CELLS = 3000
_FEWEST_CELLS = 3


class CorrectionRecord(Protocol):
    """What ``bs.tl.correct_batch`` gives."""

    factor: str
    to: str
    shares: tuple[float, float] | None

    def to_anndata(self) -> AnnData:
        """The corrected cells."""


def correction(
    record: CorrectionRecord,
    color: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> list[Axes]:
    """Draw cells on two principal components of expression, before and after correction.

    Components are those of the reconstruction, and the corrected cells are laid on the same, so
    that what moved is what was corrected. Counts are drawn as log1p per 10,000; the values of a
    model of an embedding (``obsm_key=``) as they are.

    Parameters
    ----------
    record
        What ``bs.tl.correct_batch`` gave, with the reconstruction.
    color
        A second column of ``obs``, which should be left as it was (the cell type).
    ax
        One axes for each panel, two for every colour; ``None`` makes a figure.

    Returns
    -------
    The axes: before and after by batch, then by ``color``.
    """
    cells = record.to_anndata()
    if _keys.FACTUAL not in cells.layers:
        raise ValueError("this correction was stored without the reconstruction to compare with.")
    names = [record.factor, *([] if color is None else [color])]
    for name in names:
        if name not in cells.obs:
            raise UnknownFactorError(f"{name!r} is no column of obs; there are {list(cells.obs)}.")
    _refuse_too_few(cells)
    order = np.random.default_rng(0).permutation(cells.n_obs)[:_MOST_CELLS]
    before, after = (_values(cells, m, order) for m in (cells.layers[_keys.FACTUAL], cells.X))
    maps = PCA(2, random_state=0).fit(before)
    places = {"before": maps.transform(before), "after": maps.transform(after)}
    panels = panels_for(ax, 2 * len(names), (3.4, 3.2))
    both = np.concatenate(list(places.values()))
    margin = 0.05 * np.ptp(both, axis=0)
    limits = np.stack([both.min(0) - margin, both.max(0) + margin], axis=1)
    for k, panel in enumerate(panels):
        name, when = names[k // 2], ("before", "after")[k % 2]
        size = float(np.clip(6000 / len(order), 2.0, 16.0))
        draw_levels(panel, places[when], cells.obs[name].astype("category").iloc[order], size)
        legend = panel.get_legend()
        if k % 2 == 0 and legend is not None:
            legend.remove()  # the same stands beside it
        panel.set(xlim=limits[0], ylim=limits[1], xticks=[], yticks=[])
        panel.set(xlabel="PC 1 before", ylabel="PC 2 before" if k == 0 else "")
        said = f"{name}, {when}" if k % 2 == 0 else f"after, at {record.to}"
        panel.set_title(said, loc="left", size=9)
        panel.spines[["top", "right"]].set_visible(False)
    return panels


def _refuse_too_few(cells: AnnData) -> None:
    if cells.n_obs < _FEWEST_CELLS or cells.n_vars < 2:
        raise ValueError(
            f"two principal components take at least {_FEWEST_CELLS} cells and 2 genes; this "
            f"correction has {cells.n_obs} and {cells.n_vars}. Correct more cells at once."
        )


def _values(cells: AnnData, matrix: Any, rows: np.ndarray) -> np.ndarray:
    chosen = np.asarray(matrix[rows], dtype=np.float64)
    written = cells.uns.get(_keys.UNS, {}).get("corrected", {})
    if not written.get("of_counts", True):
        return chosen
    return np.log1p(1e4 * chosen / chosen.sum(1, keepdims=True))
