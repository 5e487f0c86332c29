"""Every AnnData key that betascvi reads or writes, and every registry key it adds."""

from __future__ import annotations

from typing import Final

LATENT: Final = "X_betascvi"
"""``obsm``: latent positions written by ``tl.embed``."""
UNS: Final = "betascvi"
"""``uns``: names of axes and blocks, and score tables."""
TRUTH: Final = "betascvi_truth"
"""``uns``: what a simulated atlas knows about itself."""
COUNTS_LAYER: Final = "counts"
"""``layers``: raw counts of data sets made or loaded here."""
FACTOR_PREFIX: Final = "betascvi_factor_"
"""Registry keys of the factor columns: prefix + name of the column."""
PCA: Final = "X_pca"
"""``obsm``: principal components as scanpy writes them."""
PCA_LOADINGS: Final = "PCs"
"""``varm``: their loadings."""
FACTORS: Final = "betascvi_factors"
"""Registry key of the coded factors, (cells, factors) with NaN where a label is missing."""
FACTUAL: Final = "factual"
"""``layers``: cells as they are, beside what they would be in ``X``."""
