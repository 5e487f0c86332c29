"""Simulated counts with known factors: for tests, tutorials and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from betascvi._errors import CountsError
from betascvi._keys import COUNTS_LAYER, TRUTH
from betascvi._whole_numbers import refuse_count
from betascvi.datasets._designs import draw_codes, independent
from betascvi.datasets._negative_binomial import draw_negative_binomial
from betascvi.datasets._programs import draw_baseline, draw_dispersion, draw_programs
from betascvi.datasets._settings import Effects, Levels, Sequencing
from betascvi.datasets._truth import Truth

MAX_REDRAWS = 100


def simulated_atlas(
    n_cells: int = 3000,
    n_genes: int = 800,
    design: str = "independent",
    seed: int = 0,
    *,
    levels: Levels | None = None,
    effects: Effects | None = None,
    sequencing: Sequencing | None = None,
) -> AnnData:
    """Negative binomial counts of cells whose factors, programs and counterfactuals are known.

    Parameters
    ----------
    n_cells, n_genes
        Size of the atlas.
    design
        ``"independent"``; ``"correlated"`` (factors depend on each other, every combination is
        possible); ``"nested"`` (each donor in one batch only); ``"confounded"`` (one condition
        is all of one batch and seen in no other: not identifiable).
    seed
        The same seed gives the same atlas.
    levels
        Numbers of cell types, conditions, batches and donors.
    effects
        Strengths of the factors.
    sequencing
        Depth, spread of the library size and dispersion.

    Returns
    -------
    Counts in ``X`` and in ``layers["counts"]`` (CSR, float32). ``obs``: ``cell_type``,
    ``condition``, ``batch``, ``donor`` (categorical) and ``phase_angle`` (radians).
    The truth in ``uns["betascvi_truth"]``; read it with :class:`Truth` and
    :func:`counterfactual_truth`.

    Notes
    -----
    A cell without a single count is drawn again, as a real atlas drops empty droplets.

    Examples
    --------
    >>> import betascvi as bs
    >>> adata = bs.datasets.simulated_atlas(n_cells=200, n_genes=100, seed=1)
    >>> sorted(adata.obs.columns)
    ['batch', 'cell_type', 'condition', 'donor', 'phase_angle']
    """
    names = (levels or Levels()).names()
    effects, sequencing = effects or Effects(), sequencing or Sequencing()
    refuse_count("n_cells", n_cells, least=max(map(len, names.values())))
    refuse_count("n_genes", n_genes, least=2)
    rng = _generator(seed)
    codes = draw_codes(design, names, n_cells, rng)
    spread = sequencing.library_spread * rng.standard_normal(n_cells)
    codes["library_size"] = sequencing.counts_per_gene * n_genes * np.exp(spread)
    truth = Truth(
        design=design,
        levels=names,
        codes=codes,
        programs=draw_programs(names, n_genes, effects, rng),
        baseline=draw_baseline(n_genes, rng),
        dispersion=draw_dispersion(n_genes, sequencing.dispersion, rng),
        cells=_names("cell", n_cells),
        genes=_names("gene", n_genes),
        kept=np.arange(n_genes),
    )
    return _atlas(truth, rng)


def draw_cells(
    source: AnnData | Truth, n_cells: int, fixed: Mapping[str, Any] | None = None, *, seed: int = 0
) -> AnnData:
    """New cells of a simulated atlas, with some factors held where they are asked to be.

    The factors that are not fixed are balanced and independent, whatever the design of the
    source: this is the simulator with settable factors that the beta-VAE and FactorVAE scores
    need. Library sizes are drawn from those of the source.

    Parameters
    ----------
    source
        A simulated atlas or its :class:`Truth`.
    n_cells
        Number of cells.
    fixed
        Factor to a level (an angle for ``phase_angle``, a number for ``library_size``), or to an
        array with one of them for every new cell.
    seed
        The same seed gives the same cells.

    Examples
    --------
    >>> import betascvi as bs
    >>> atlas = bs.datasets.simulated_atlas(n_cells=100, n_genes=50)
    >>> bs.datasets.draw_cells(atlas, 8, {"condition": "stim"}).obs["condition"].unique().tolist()
    ['stim']
    """
    truth = Truth.of(source) if isinstance(source, AnnData) else source
    refuse_count("n_cells", n_cells)
    rng = _generator(seed)
    sizes = {name: len(names) for name, names in truth.levels.items()}
    codes = independent(sizes, n_cells, rng)
    codes["library_size"] = rng.choice(truth.codes["library_size"], n_cells)
    fresh = Truth(
        design="independent",
        levels=truth.levels,
        codes=codes,
        programs=truth.programs,
        baseline=truth.baseline,
        dispersion=truth.dispersion,
        cells=_names("cell", n_cells),
        genes=truth.genes,
        kept=truth.kept,
    )
    return _atlas(fresh.changed(fixed or {}), rng)


def _atlas(truth: Truth, rng: np.random.Generator) -> AnnData:
    obs = pd.DataFrame(index=truth.cells.astype(object))
    for factor, levels in truth.levels.items():
        obs[factor] = pd.Categorical.from_codes(truth.codes[factor], pd.Index(levels))
    obs["phase_angle"] = truth.codes["phase_angle"]
    counts = _draw_counts(truth, rng)
    var = pd.DataFrame(index=truth.genes[truth.kept].astype(object))
    # two matrices: normalising X in place must not touch the counts
    return AnnData(
        counts, obs, var, layers={COUNTS_LAYER: counts.copy()}, uns={TRUTH: truth.to_uns()}
    )


def _draw_counts(truth: Truth, rng: np.random.Generator) -> sparse.csr_matrix:
    theta = truth.dispersion[truth.kept]
    chunks = []
    for _, rates in truth.stream():
        expected = rates.take(truth.kept, axis=1)
        counts = draw_negative_binomial(expected, theta, rng)
        for _ in range(MAX_REDRAWS):
            empty = np.flatnonzero(np.diff(counts.indptr) == 0)
            if not len(empty):
                break
            redrawn = draw_negative_binomial(expected[empty], theta, rng)
            counts = counts + _rows_at(empty, counts.shape[0]) @ redrawn
        else:
            raise CountsError(
                f"{len(empty)} cells stay without a count at a median library size of "
                f"{np.median(truth.codes['library_size']):.3g}; raise counts_per_gene or n_genes."
            )
        chunks.append(counts)
    drawn = sparse.csr_matrix(sparse.vstack(chunks, format="csr"))
    drawn.sort_indices()
    return drawn


def _rows_at(rows: np.ndarray, n_rows: int) -> sparse.csr_matrix:
    """(n_rows, rows) matrix that puts row k of what it multiplies at ``rows[k]``."""
    ones = np.ones(len(rows), dtype=np.float32)
    return sparse.csr_matrix((ones, (rows, np.arange(len(rows)))), shape=(n_rows, len(rows)))


def _names(what: str, count: int) -> np.ndarray:
    width = len(str(count - 1))
    return np.array([f"{what}_{i:0{width}d}" for i in range(count)])


def _generator(seed: int) -> np.random.Generator:
    refuse_count("seed", seed, least=0)
    return np.random.default_rng(seed)
