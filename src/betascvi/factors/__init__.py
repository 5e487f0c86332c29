"""What a factor is: coding of ``obs`` columns, and the arithmetic of their overlap."""

from betascvi.factors._factor import (
    KINDS,
    CodedFactor,
    Factor,
    Kind,
    as_factors,
    code_factor,
    infer_kind,
)

__all__ = ["KINDS", "CodedFactor", "Factor", "Kind", "as_factors", "code_factor", "infer_kind"]
