"""Data sets of ``benchmarks.blocks``: which factors are anchored, and which cells are held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import scanpy as sc
from anndata import AnnData

import betascvi as bs

MOST_GENES = 2000
_HELD_OUT = 1 / 3


@dataclass(frozen=True)
class DataSet:
    """How to read one, and what its blocks are."""

    load: Callable[[], AnnData]
    anchors: tuple[str | bs.Anchor, ...]
    free: tuple[str, ...]
    """Factors without a block, which the free one is to keep."""
    epochs: int
    chosen_on: bool = False
    """Weights were chosen on it: its figures are no independent evidence."""

    @property
    def anchored(self) -> tuple[str, ...]:
        """Names of the anchored factors."""
        return tuple(a if isinstance(a, str) else a.name for a in self.anchors)


class Split(NamedTuple):
    """Cells that methods learn from, and cells they are asked about."""

    training: AnnData
    held_out: AnnData


def factor_of(name: str) -> str | bs.Factor:
    """A column of obs; angles are declared."""
    return bs.Factor(name, "circular") if name.endswith("angle") else name


def split_of(asked: DataSet, seed: int) -> Split:
    """A random third held out; at most 2,000 genes, the most variable of the training cells."""
    adata = asked.load()
    adata.layers["counts"] = adata.X.copy()
    for name in (*asked.anchored, *asked.free):
        if isinstance(factor_of(name), str):
            adata.obs[name] = adata.obs[name].astype(str).astype("category")
    order = np.random.default_rng(seed).permutation(adata.n_obs)
    n_held = round(_HELD_OUT * adata.n_obs)
    held, kept = np.sort(order[:n_held]), np.sort(order[n_held:])
    genes = _variable(adata[kept])
    return Split(adata[kept, genes].copy(), adata[held, genes].copy())


def _variable(training: AnnData) -> np.ndarray:
    seen = np.asarray((training.X > 0).sum(0)).ravel() >= 3
    if seen.sum() <= MOST_GENES:
        return np.asarray(seen)
    logged = training[:, seen].copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    sc.pp.highly_variable_genes(logged, n_top_genes=MOST_GENES)
    seen[seen] = logged.var["highly_variable"].to_numpy()
    return np.asarray(seen)


def _simulated(design: str, n_cells: int = 2400, n_genes: int = 300) -> AnnData:
    depth = bs.datasets.Sequencing(counts_per_gene=1.0)
    return bs.datasets.simulated_atlas(n_cells, n_genes, design, seed=0, sequencing=depth)


def _kang_ifnb() -> AnnData:
    adata = bs.datasets.load("kang_pbmc_ifnb")
    return adata[(adata.obs["cell_type_predicted"] != "uncertain").to_numpy()].copy()


_DONOR = bs.Anchor("donor", within="batch")
_BIOLOGY = ("cell_type", "donor", "phase_angle")
DATA_SETS = {
    "simulated": DataSet(
        partial(_simulated, "independent"), ("condition", "batch"), _BIOLOGY, 80, chosen_on=True
    ),
    "kang_pbmc_annotated": DataSet(
        partial(bs.datasets.load, "kang_pbmc_annotated"),
        ("condition", "donor"), ("cell_type",), 150, chosen_on=True,
    ),
    "simulated_correlated": DataSet(
        partial(_simulated, "correlated"), ("condition", "batch"), _BIOLOGY, 80
    ),
    "simulated_nested": DataSet(
        partial(_simulated, "nested"),
        ("condition", "batch", _DONOR), ("cell_type", "phase_angle"), 80,
    ),
    "simulated_phase": DataSet(
        partial(_simulated, "independent"),
        ("condition", "phase_angle"), ("cell_type", "batch", "donor"), 80,
    ),
    "kang_pbmc_ifnb": DataSet(_kang_ifnb, ("condition", "donor"), ("cell_type_predicted",), 100),
    "mixology_5cl_plates": DataSet(
        partial(bs.datasets.load, "mixology_5cl_plates"), ("plate",), ("cell_line",), 150
    ),
}  # fmt: skip
QUICK = DataSet(
    partial(_simulated, "independent", 600, 150), ("condition", "batch"), ("cell_type",), 10
)
