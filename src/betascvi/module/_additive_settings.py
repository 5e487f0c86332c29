"""What the additive decoder can be told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from numbers import Real
from typing import Any, Literal, get_args

from betascvi._whole_numbers import refuse_count

Pooling = Literal["rate", "logit", "logsumexp"]
Gate = Literal["softplus", "sigmoid"]

_ONLY_OF = {
    "gate": ("rate", "logit"),
    "n_profiles": ("rate", "logit"),
    "spread": ("rate", "logit"),
    "floor": ("rate",),
    "genes_at_once": ("logsumexp",),
}
"""Option -> poolings it says something to."""


@dataclass(frozen=True, slots=True)
class AdditiveSettings:
    """What ``extra_decoder_kwargs`` may hold where ``decoder="additive"``."""

    pooling: Pooling = "rate"
    """What adds up over axes: rates, logits, or rates of a network an axis (``"logsumexp"``)."""
    gate: Gate = "softplus"
    """How a profile comes on along its axis: ever further, or from off to fully on."""
    n_profiles: int = 2
    """Gene profiles of an axis; odd ones act as it rises, even ones as it falls."""
    spread: float = 0.5
    """Standard deviation of the profiles' logarithms at the start."""
    learning_rate: float = 1e-2
    """Of the profiles, of the log mean profile and what covariates add to it; networks keep the
    training plan's."""
    floor: float = 1e-6
    """Rate of a gene that no axis expresses."""
    genes_at_once: int = 512
    """Genes whose (cells, axes, genes) tensor stands in memory, under ``"logsumexp"``."""

    def __post_init__(self) -> None:
        if self.pooling not in get_args(Pooling):
            raise ValueError(f"pooling is one of {list(get_args(Pooling))}, got {self.pooling!r}.")
        if self.gate not in get_args(Gate):
            raise ValueError(f"gate is one of {list(get_args(Gate))}, got {self.gate!r}.")
        for name in ("n_profiles", "genes_at_once"):
            refuse_count(name, getattr(self, name))
        for name in ("spread", "learning_rate", "floor"):
            value = getattr(self, name)
            if not isinstance(value, Real) or not 0.0 < float(value) < math.inf:
                raise ValueError(f"{name} is a positive number, got {value!r}.")
        self._refuse_idle()

    def _refuse_idle(self) -> None:
        """Refuse an option that says nothing to the pooling."""
        for field in fields(self):
            poolings = _ONLY_OF.get(field.name, (self.pooling,))
            if getattr(self, field.name) != field.default and self.pooling not in poolings:
                raise ValueError(
                    f"{field.name}={getattr(self, field.name)!r} does nothing with "
                    f"pooling={self.pooling!r}: it is an option of {' and '.join(poolings)}. "
                    "Leave it out."
                )

    @classmethod
    def of(cls, options: Mapping[str, Any] | None) -> AdditiveSettings:
        """From ``extra_decoder_kwargs``; what it does not know is refused by name."""
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(
                f"extra_decoder_kwargs is a dict of options, got {type(options).__name__}."
            )
        known = [field.name for field in fields(cls)]
        for name in options or {}:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else f"; it takes {known}."
                raise ValueError(f"the additive decoder has no option {name!r}{hint}")
        return cls(**(options or {}))


@dataclass(frozen=True, slots=True)
class Shape:
    """What the model gives a decoder to fill: sizes, the kind of output, which axes are whose."""

    n_axes: int
    n_genes: int
    n_levels: Sequence[int]
    n_numbers: int
    has_dispersion: bool
    has_dropout: bool
    n_hidden: int
    is_softplus: bool = False
    """Expression is a softplus of logits (size factors), not a softmax."""
    is_embedding: bool = False
    """The data are real numbers: values add up, and there is no logarithm."""
    added: Sequence[int] = ()
    """Axes of blocks that shift the logits, past the network."""
    linear: Sequence[int] = ()
    """Those of them whose shift is in proportion to the free axes, too."""
    free: Sequence[int] = ()
    """Axes without a factor."""
