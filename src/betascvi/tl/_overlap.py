"""``tl.overlap``: what the factors of a data set can and cannot tell apart."""

from __future__ import annotations

from collections.abc import Sequence

from anndata import AnnData

from betascvi.factors import Factor, Overlap, overlap_of
from betascvi.tl._inputs import factors_of


def overlap(adata: AnnData, factor_keys: Sequence[str | Factor], n_bins: int = 20) -> Overlap:
    """What can and cannot be told apart, before training.

    Parameters
    ----------
    adata
        Cells with the factors in ``obs``.
    factor_keys
        At least two columns of ``obs``, or declared factors.
    n_bins
        Continuous and circular factors are cut into this many bins of equal width.

    Returns
    -------
    A record: ``print`` it for sentences, ``.to_frame()`` has one row a pair, ``.ceilings`` the
    gap score a perfect code can reach, ``.nested`` and ``.unidentifiable`` what to mind.

    Examples
    --------
    >>> import betascvi as bs
    >>> atlas = bs.datasets.simulated_atlas(n_cells=600, n_genes=50, design="nested", seed=0)
    >>> bs.tl.overlap(atlas, ["batch", "donor"]).nested
    (('donor', 'batch'),)
    """
    return overlap_of(factors_of(adata, factor_keys), n_bins)
