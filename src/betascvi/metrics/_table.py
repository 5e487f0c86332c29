"""The visible table of metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from betascvi._results import Score

Needs = Literal["factors", "embedding", "embeddings", "blocks"]


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """What a caller has to know of a metric before calling it."""

    fn: Callable[..., Score]
    range: tuple[float, float]
    higher_is_better: bool | None
    """None: neither direction is better."""
    needs: Needs
    """``"factors"``: fn(z, factors, discrete); ``"embedding"``: fn(z); ``"embeddings"``:
    fn([z, z, ...]); ``"blocks"``: fn(z, factors, blocks, own)."""
    reference: str
    """Key in ``docs/references.bib``; empty where the definition is ours."""
    min_axes: int = 1
    min_factors: int = 1
    is_scale_free: bool = True
    """Whether rescaling an axis leaves the figure as it was."""
    noise: float | None = 0.0
    """What a random code scores with many cells; None where it depends on the factors."""
