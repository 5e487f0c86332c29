"""How many genes a plot names."""

from __future__ import annotations

from numbers import Integral


def refuse_count(n_genes: int) -> None:
    """A plot names one gene at least."""
    if not isinstance(n_genes, Integral) or isinstance(n_genes, bool) or n_genes < 1:
        raise ValueError(f"n_genes is 1 at least, got {n_genes!r}.")
