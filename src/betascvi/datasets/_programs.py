"""The gene programs of a simulated atlas: log-fold changes of every level of every factor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from betascvi.datasets._settings import Effects

RESPONSE = "cell_type:condition"
"""Name of the part of the response that differs between cell types."""


def draw_programs(
    levels: Mapping[str, tuple[str, ...]],
    n_genes: int,
    effects: Effects,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Log-fold changes: (levels, genes) by factor, (2, genes) for cosine and sine of the phase.

    Control cells are the reference of the conditions, so their row is zero. Markers of a cell
    type and genes of a response mostly go up; batch and donor effects go either way.
    """
    types, conditions = len(levels["cell_type"]), len(levels["condition"])

    def sparse(n_programs: int, strength: float, up: float) -> np.ndarray:
        return _sparse_programs((n_programs, n_genes), strength, effects.share, up, rng)

    programs = {
        "cell_type": sparse(types, effects.cell_type, 0.8),
        "condition": sparse(conditions, effects.condition, 0.7),
        "batch": sparse(len(levels["batch"]), effects.batch, 0.5),
        "donor": sparse(len(levels["donor"]), effects.donor, 0.5),
    }
    response = sparse(types * conditions, effects.response, 0.7)
    programs[RESPONSE] = response.reshape(types, conditions, n_genes)
    programs["condition"][0] = 0.0
    programs[RESPONSE][:, 0] = 0.0
    peak = rng.uniform(0, 2 * np.pi, n_genes)
    amplitude = np.sqrt(2) * np.abs(sparse(1, effects.phase, 1.0)[0])
    programs["phase_angle"] = amplitude * np.stack([np.cos(peak), np.sin(peak)])
    return programs


def draw_baseline(n_genes: int, rng: np.random.Generator) -> np.ndarray:
    """Log expression of the genes before any program.

    Normal with a standard deviation of 1.5, cut at -1.2 and 2 of them: genes that hardly any
    cell shows are filtered out of real data before a model sees them.
    """
    return 1.5 * np.clip(rng.standard_normal(n_genes), -1.2, 2)


def draw_dispersion(n_genes: int, median: float, rng: np.random.Generator) -> np.ndarray:
    """Inverse dispersion of each gene: log-normal around ``median``."""
    return median * np.exp(0.5 * np.clip(rng.standard_normal(n_genes), -2, 2))


def _sparse_programs(
    shape: tuple[int, int], strength: float, share: float, up: float, rng: np.random.Generator
) -> np.ndarray:
    n_genes = shape[1]
    n_touched = max(1, round(share * n_genes))
    programs = np.zeros(shape)
    for program in programs:
        genes = rng.choice(n_genes, n_touched, replace=False)
        size = rng.gamma(4.0, 1.0, n_touched)
        size *= strength / np.sqrt(20.0)  # E[gamma(4)^2] = 20: the root mean square is `strength`
        program[genes] = np.where(rng.random(n_touched) < up, size, -size)
    return programs
