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
_NUMBERS = ("prop_H2228", "prop_H1975", "mRNA_amount")


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
    apart_by: str | None = None
    """Hold a third of the levels of this column out, in place of a third of the cells."""

    @property
    def anchored(self) -> tuple[str, ...]:
        """Names of the anchored factors."""
        return tuple(a if isinstance(a, str) else a.name for a in self.anchors)


class Split(NamedTuple):
    """Cells that methods learn from, and cells they are asked about."""

    training: AnnData
    held_out: AnnData


def factor_of(name: str) -> str | bs.Factor:
    """A column of obs; angles and numbers are declared."""
    if name.endswith("angle"):
        return bs.Factor(name, "circular")
    return bs.Factor(name, "continuous") if name in _NUMBERS else name


def split_of(asked: DataSet, seed: int) -> Split:
    """A third held out at random; at most 2,000 genes, the most variable of the training cells."""
    adata = asked.load()
    adata.layers["counts"] = adata.X.copy()
    for name in (*asked.anchored, *asked.free):
        if isinstance(factor_of(name), str):
            adata.obs[name] = adata.obs[name].astype(str).astype("category")
    is_held = _third(adata, asked.apart_by, np.random.default_rng(seed))
    held, kept = np.flatnonzero(is_held), np.flatnonzero(~is_held)
    genes = _variable(adata[kept])
    return Split(adata[kept, genes].copy(), adata[held, genes].copy())


def _third(adata: AnnData, apart_by: str | None, rng: np.random.Generator) -> np.ndarray:
    """(cells,) True for cells held out: of all, or those of a third of the levels."""
    if apart_by is None:
        chosen = rng.permutation(adata.n_obs)[: round(_HELD_OUT * adata.n_obs)]
        return np.isin(np.arange(adata.n_obs), chosen)
    levels = np.unique(adata.obs[apart_by].astype(str))
    chosen = rng.permutation(levels)[: round(_HELD_OUT * len(levels))]
    return np.isin(adata.obs[apart_by].astype(str), chosen)


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


def _rnamix() -> AnnData:
    adata = bs.datasets.load("mixology_rnamix")
    adata.obs["mRNA_amount"] = np.log2(adata.obs["mRNA_amount"])
    return adata


def _fucci() -> AnnData:
    adata = bs.datasets.load("fucci_ipsc_101genes")
    adata.obs["cycle_angle"] = adata.obs["theta"].to_numpy()
    return adata


def _jaitin() -> AnnData:
    adata = bs.datasets.load("jaitin_spleen_lps")
    runs = [f"seq{i}" for i in range(18, 22)]
    return adata[adata.obs["batch"].astype(str).isin(runs).to_numpy()].copy()


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
    "kang_pbmc_ifnb_new_donors": DataSet(
        _kang_ifnb, ("condition",), ("cell_type_predicted",), 100, apart_by="donor"
    ),
    "mixology_rnamix": DataSet(
        _rnamix, ("prop_H2228", "prop_H1975", "protocol"), ("mRNA_amount",), 200
    ),
    "fucci_ipsc_101genes": DataSet(_fucci, ("cycle_angle", "donor"), (), 200),
    "jaitin_spleen_lps": DataSet(_jaitin, ("condition", "batch"), (), 100),
    "onek1k_subset": DataSet(
        partial(bs.datasets.load, "onek1k_subset"), ("batch", _DONOR), ("cell_type",), 40
    ),
}  # fmt: skip
QUICK = DataSet(
    partial(_simulated, "independent", 600, 150), ("condition", "batch"), ("cell_type",), 10
)
