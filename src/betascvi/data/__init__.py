"""From AnnData to minibatches: the fields a model registers and the checks before them."""

from betascvi.data._fields import (
    FACTORS_KEY,
    CountsField,
    EmbeddingField,
    FactorsField,
    code_columns,
    prepare,
    unchanged_on_error,
)
from betascvi.data._loadings import Loadings

__all__ = [
    "FACTORS_KEY",
    "CountsField",
    "EmbeddingField",
    "FactorsField",
    "Loadings",
    "code_columns",
    "prepare",
    "unchanged_on_error",
]
