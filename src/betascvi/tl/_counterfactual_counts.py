"""Counts of a counterfactual, drawn from the likelihood or carried over from the cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from betascvi import _keys
from betascvi.model._predictive import Predictive, carry, draw_pair
from betascvi.tl._encoded import Encoded
from betascvi.tl._targets import Targets

Pair = tuple[np.ndarray, np.ndarray]
"""Counts before and after."""


def drawn_counts(
    encoded: Encoded, targets: Targets, rows: slice, n_draws: int | None, seed: int, factual: bool
) -> dict[str, np.ndarray]:
    """Drawn counts of one chunk, before and after with the same randomness."""
    return _drawn(draw_pair, encoded, targets, rows, (n_draws, seed), factual=factual)


def carried_counts(
    encoded: Encoded, targets: Targets, rows: slice, n_draws: int | None, seed: int, factual: bool
) -> dict[str, np.ndarray]:
    """The counts of one chunk of cells, and what they become."""
    observed = encoded.observed(rows)

    def pair(one: Predictive, other: Predictive, rng: np.random.Generator) -> Pair:
        return observed.astype(np.float32), carry(observed, one, other, rng)

    return _drawn(pair, encoded, targets, rows, (n_draws, seed), factual=factual)


def _drawn(
    pair: Callable[[Predictive, Predictive, np.random.Generator], Pair],
    encoded: Encoded,
    targets: Targets,
    rows: slice,
    draws: tuple[int | None, int],
    *,
    factual: bool,
) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    n_draws, seed = draws
    for sample in range(n_draws or 1):
        z = encoded.positions(sample, seed)
        rng = np.random.default_rng([seed, sample, rows.start, 1])
        before = encoded.factual(z, rows)
        shares = [arm.weight for arm in targets.arms]
        of_cell = rng.choice(len(shares), rows.stop - rows.start, p=shares)
        drawn = np.empty_like(before.mean)
        state = rng.bit_generator.state
        for k, arm in enumerate(targets.arms):
            rng.bit_generator.state = state  # the same counts before, whichever arm
            was, becomes = pair(before, encoded.moved(z, targets, arm, rows), rng)
            drawn[of_cell == k] = becomes[of_cell == k]
        suffix = "" if sample == 0 else f"_{sample + 1}"
        out["X" if sample == 0 else f"sample{suffix}"] = drawn
        if factual:
            out[f"{_keys.FACTUAL}{suffix}"] = was
    return out
