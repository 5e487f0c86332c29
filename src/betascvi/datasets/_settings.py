"""What a simulated atlas is asked for: numbers of levels, strengths of effects, depth."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite

from betascvi._whole_numbers import is_whole


@dataclass(frozen=True, slots=True)
class Levels:
    """How many levels each categorical factor has."""

    n_cell_types: int = 5
    n_conditions: int = 2
    n_batches: int = 3
    n_donors: int = 6

    def __post_init__(self) -> None:
        for field in fields(self):
            count = getattr(self, field.name)
            if not is_whole(count) or count < 2:
                raise ValueError(
                    f"{field.name} is a whole number of at least 2, got {count!r}; "
                    "a factor with one level tells no cells apart."
                )

    def names(self) -> dict[str, tuple[str, ...]]:
        """Factor name to level names, in the order of their codes."""
        responses = [f"stim_{i}" for i in range(2, self.n_conditions)]
        return {
            "cell_type": tuple(f"type_{i}" for i in range(self.n_cell_types)),
            "condition": ("ctrl", "stim", *responses),
            "batch": tuple(f"b{i}" for i in range(self.n_batches)),
            "donor": tuple(f"d{i}" for i in range(self.n_donors)),
        }


@dataclass(frozen=True, slots=True)
class Effects:
    """How strongly each factor moves the genes of its programs.

    A strength is the root mean square log-fold change over the genes that a program touches
    (natural logarithm); 0 switches a factor off. The defaults were chosen by measurement
    (``docs/decisions/0006-simulated-atlas.md``).
    """

    cell_type: float = 1.2
    condition: float = 1.2
    response: float = 0.5
    """The part of the response to a condition that differs between cell types."""
    batch: float = 1.0
    donor: float = 0.9
    phase: float = 1.0
    share: float = 0.15
    """Share of the genes that one program touches."""

    def __post_init__(self) -> None:
        _check_numbers(self)
        if not 0 < self.share <= 1:
            raise ValueError(f"share is a part of the genes, in (0, 1], got {self.share!r}.")


@dataclass(frozen=True, slots=True)
class Sequencing:
    """Depth and noise of the counts."""

    counts_per_gene: float = 0.2
    """Median library size divided by the number of genes; sets the sparsity."""
    library_spread: float = 0.35
    """Standard deviation of the log library size over cells."""
    dispersion: float = 3.0
    """Median over genes of the negative binomial's inverse dispersion (variance mu + mu^2/it)."""

    def __post_init__(self) -> None:
        _check_numbers(self)
        if self.counts_per_gene == 0 or self.dispersion == 0:
            raise ValueError(f"counts_per_gene and dispersion are positive, got {self!r}.")


def _check_numbers(settings: Effects | Sequencing) -> None:
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{field.name} is a number, got {value!r}.")
        if not isfinite(value) or value < 0:
            raise ValueError(f"{field.name} is finite and not negative, got {value!r}.")
