"""Frozen records handed to users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """One metric on one embedding: ``float(score)`` is the published headline figure."""

    name: str
    value: float
    per_factor: np.ndarray | None = None
    """(factors,) the same figure for each factor alone, where the metric has one."""
    evidence: np.ndarray | None = None
    """(axes, factors) matrix behind the value."""
    parts: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Named companions of the headline figure."""
    details: Mapping[str, np.ndarray] = field(default_factory=lambda: MappingProxyType({}))
    """Named arrays behind the value: per axis, per factor of a part, per pair of models."""

    def __float__(self) -> float:
        return float(self.value)

    def to_frame(self) -> pd.DataFrame:
        """One row for the headline, one for each part and each factor."""
        import pandas as pd

        rows = [{"metric": self.name, "part": "headline", "value": float(self.value)}]
        rows += [{"metric": self.name, "part": k, "value": float(v)} for k, v in self.parts.items()]
        if self.per_factor is not None:
            rows += [
                {"metric": self.name, "part": f"factor {i}", "value": float(v)}
                for i, v in enumerate(self.per_factor)
            ]
        return pd.DataFrame(rows)
