"""Data sets of ``benchmarks.counterfactual`` and what is held out of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import scanpy as sc
from anndata import AnnData

import betascvi as bs

MOST_GENES = 2000
_NOTHING = "non-targeting"
_OF_INTERFERON = ("IFNGR1", "IFNGR2", "JAK2", "STAT1", "IRF1")
"""Knock-outs of one pathway, which the authors report to change expression (Papalexi et al., 2021)."""


@dataclass(frozen=True, eq=False)
class Split:
    """Cells of one group in the target condition, which no method sees."""

    name: str
    adata: AnnData
    """All cells, most variable genes of the training cells; obs: group, condition."""
    held_out: np.ndarray
    """(cells,) True for what is to be predicted."""
    start: np.ndarray
    """(cells,) True for the control cells of the same group, from which it is predicted."""
    control: str
    target: str

    @property
    def training(self) -> AnnData:
        """What methods are fitted to."""
        return self.adata[~self.held_out].copy()


@dataclass(frozen=True)
class DataSet:
    """How to read one, and what to leave out."""

    load: Callable[[], AnnData]
    control: str
    targets: tuple[str, ...]
    groups: tuple[str, ...]
    """Columns whose levels are left out, one at a time, at each of the targets."""
    fewest: int = 15
    effects: tuple[str, ...] = ("linear", "added")
    """Rows of ours in the full command, by how the block moves expression, the main one first."""


def splits_of(name: str, *, quick: bool = False) -> list[Split]:
    """Every split of a data set; the first of them with ``quick``."""
    asked = DATA_SETS[name]
    adata = asked.load()
    adata.obs["condition"] = adata.obs["condition"].astype(str).astype("category")
    found = []
    for target, column in product(asked.targets, asked.groups):
        for level in sorted(map(str, adata.obs[column].unique())):
            of_level = (adata.obs[column].astype(str) == level).to_numpy()
            held = of_level & (adata.obs["condition"] == target).to_numpy()
            start = of_level & (adata.obs["condition"] == asked.control).to_numpy()
            if min(held.sum(), start.sum()) < asked.fewest:
                continue
            of_target = f"{target}, " if len(asked.targets) > 1 else ""
            genes = _variable(adata[~held])
            cells = adata[:, genes].copy()
            cells.obs["group"] = cells.obs[column].astype(str).astype("category")
            name = f"{of_target}{column}={level}"
            found.append(Split(name, cells, held, start, asked.control, target))
            if quick:
                return found
    return found


def _variable(training: AnnData) -> np.ndarray:
    """The most variable genes of the training cells."""
    if training.n_vars <= MOST_GENES:
        return np.ones(training.n_vars, dtype=bool)
    logged = training.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    sc.pp.highly_variable_genes(logged, n_top_genes=MOST_GENES)
    return logged.var["highly_variable"].to_numpy()


def _kang_ifnb() -> AnnData:
    adata = bs.datasets.load("kang_pbmc_ifnb")
    return adata[(adata.obs["cell_type_predicted"] != "uncertain").to_numpy()].copy()


def _jaitin() -> AnnData:
    adata = bs.datasets.load("jaitin_spleen_lps")
    runs = adata.obs["batch"].astype(str).isin([f"seq{i}" for i in range(18, 22)])
    return adata[runs.to_numpy()].copy()


def _papalexi() -> AnnData:
    adata = bs.datasets.load("papalexi_thp1_crispr")
    adata.obs["condition"] = adata.obs["perturbation"].astype(str)
    asked = adata.obs["condition"].isin([*_OF_INTERFERON, _NOTHING])
    return adata[asked.to_numpy()].copy()


def simulated(n_cells: int = 4000, n_genes: int = 500) -> AnnData:
    """The atlas whose counterfactuals are known."""
    return bs.datasets.simulated_atlas(n_cells=n_cells, n_genes=n_genes, seed=0)


DATA_SETS: dict[str, DataSet] = {
    "simulated_atlas": DataSet(simulated, "ctrl", ("stim",), ("cell_type",), effects=("added",)),
    "kang_pbmc_annotated": DataSet(
        partial(bs.datasets.load, "kang_pbmc_annotated"),
        "ctrl",
        ("stim",),
        ("cell_type",),
        effects=("linear", "anchored", "added"),
    ),
    "kang_pbmc_ifnb": DataSet(_kang_ifnb, "ctrl", ("stim",), ("cell_type_predicted", "donor")),
    "jaitin_spleen_lps": DataSet(_jaitin, "control", ("lps_2h",), ("batch",)),
    # after one split, on which "linear" was behind
    "papalexi_thp1_crispr": DataSet(
        _papalexi, _NOTHING, _OF_INTERFERON, ("batch",), effects=("added",)
    ),
}
