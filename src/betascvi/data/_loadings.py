"""The way from a PCA back to genes."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from scipy import sparse

from betascvi._keys import PCA, PCA_LOADINGS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Loadings:
    """``genes = components @ matrix.T + mean``: a linear map stored with the model."""

    matrix: np.ndarray
    """(genes, components)"""
    mean: np.ndarray
    """(genes,)"""

    def to_genes(self, components: np.ndarray) -> np.ndarray:
        """(cells, components) to (cells, genes), in the units the PCA was made of."""
        return np.asarray(components @ self.matrix.T + self.mean, dtype=np.float32)


def find_loadings(adata: AnnData, obsm_key: str) -> Loadings | None:
    """Loadings of ``obsm["X_pca"]`` as scanpy writes them, or None for other embeddings.

    scanpy does not store the gene means; they are taken from ``adata.X`` where that still
    reproduces the stored components, and from zero (said in the log) where it does not.
    """
    if obsm_key != PCA or PCA_LOADINGS not in adata.varm:
        logger.info(
            "obsm[%r] has no loadings in varm[%r]: decoding stays in its axes.",
            obsm_key,
            PCA_LOADINGS,
        )
        return None
    matrix = np.asarray(adata.varm[PCA_LOADINGS], dtype=np.float32)
    mean = np.asarray(adata.X.mean(0), dtype=np.float32).ravel()
    rows = adata.X[: min(200, adata.n_obs)]
    rows = rows.toarray() if sparse.issparse(rows) else np.asarray(rows)
    stored = np.asarray(adata.obsm[obsm_key])[: rows.shape[0]]
    gap = np.abs((rows - mean) @ matrix - stored).max()
    if gap > 1e-2 * np.abs(stored).max():
        logger.warning(
            "adata.X is no longer what obsm[%r] was made of; decoded genes are relative to "
            "their (unknown) means.",
            obsm_key,
        )
        mean = np.zeros_like(mean)
    used = np.abs(matrix).sum(1) > 0
    return Loadings(matrix, np.where(used, mean, 0.0).astype(np.float32))
