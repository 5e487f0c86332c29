"""From AnnData to minibatches: the fields a model registers and the checks before them."""

from betascvi.data._columns import (
    LEVELS_SEEN,
    LevelField,
    LevelsField,
    NumbersField,
    SizeFactorField,
    refuse_unknown_columns,
)
from betascvi.data._counts import refuse_reordered_genes
from betascvi.data._fields import (
    FACTORS_KEY,
    CountsField,
    EmbeddingField,
    FactorsField,
    code_columns,
    prepare,
    unchanged_on_error,
)
from betascvi.data._loader import CellSplitter, Chunk, ResidentLoader
from betascvi.data._loadings import Loadings
from betascvi.data._moments import GeneMoments, gene_moments
from betascvi.data._resident import (
    Minibatch,
    ResidentCells,
    registered_columns,
    why_not_resident,
)

__all__ = [
    "FACTORS_KEY",
    "LEVELS_SEEN",
    "CellSplitter",
    "Chunk",
    "CountsField",
    "EmbeddingField",
    "FactorsField",
    "GeneMoments",
    "LevelField",
    "LevelsField",
    "Loadings",
    "Minibatch",
    "NumbersField",
    "ResidentCells",
    "ResidentLoader",
    "SizeFactorField",
    "code_columns",
    "gene_moments",
    "prepare",
    "refuse_reordered_genes",
    "refuse_unknown_columns",
    "registered_columns",
    "unchanged_on_error",
    "why_not_resident",
]
