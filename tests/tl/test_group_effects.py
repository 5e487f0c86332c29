"""How sure a fold change is, of groups that were seen and of one that was not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scvi
from scipy import sparse

import betascvi as bs
from betascvi import BetaSCVI
from betascvi.datasets import Levels, Sequencing, simulated_atlas
from betascvi.tl import _data_error
from betascvi.tl._group_effects import LogMeans, spread_between

QUICK: dict[str, Any] = {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False}


def test_the_spread_between_groups_is_told_from_that_of_measuring() -> None:
    rng = np.random.default_rng(0)
    variance = rng.uniform(0.05, 0.4, (6, 3000))
    true = rng.normal(size=3000) + 0.5 * rng.normal(size=(6, 3000))
    measured = true + np.sqrt(variance) * rng.normal(size=(6, 3000))
    alike = true[0] + np.sqrt(variance) * rng.normal(size=(6, 3000))

    assert np.mean(spread_between(measured, variance)) == pytest.approx(0.25, rel=0.15)
    assert np.mean(spread_between(alike, variance)) < 0.05
    # a plain variance takes the noise for a difference
    assert np.mean(alike.var(0, ddof=1)) > 0.2


def test_a_gene_whose_response_differs_has_the_larger_spread() -> None:
    rng = np.random.default_rng(0)
    variance = np.full((6, 400), 0.02)
    differs = np.arange(400) < 40
    measured = np.where(differs, 1.0, 0.05) * rng.normal(size=(6, 400))

    found = spread_between(measured, variance)

    assert np.median(found[differs]) > 3.0 * np.median(found[~differs])


def test_a_log_mean_is_as_sure_as_its_cells_are_many() -> None:
    rng = np.random.default_rng(0)
    x = rng.poisson(2.0, (500, 200, 30)).astype(float)  # repeats, cells, genes

    each = np.log2(x.mean(1))
    found = LogMeans.of(np.full(500, 200.0), x.sum(1), (x**2).sum(1))

    np.testing.assert_allclose(found.log2, each)
    np.testing.assert_allclose(found.variance.mean(0), each.var(0), rtol=0.3)


def test_an_interval_is_wider_for_a_group_whose_response_was_not_seen() -> None:
    atlas = simulated_atlas(
        n_cells=900, n_genes=60, seed=0, levels=Levels(n_cell_types=5, n_donors=2),
        sequencing=Sequencing(counts_per_gene=3.0),
    )  # fmt: skip
    is_new = ((atlas.obs["cell_type"] == "type_0") & (atlas.obs["condition"] == "stim")).to_numpy()
    widths = {}
    for name, cells in (("seen", atlas.copy()), ("unseen", atlas[~is_new].copy())):
        scvi.settings.seed = 0
        BetaSCVI.setup_anndata(cells, layer="counts", categorical_covariate_keys=["condition"])
        model = BetaSCVI(cells, n_hidden=8, n_latent=3)
        model.train(**QUICK)
        start = np.flatnonzero((cells.obs["condition"] == "ctrl").to_numpy())
        table = bs.tl.counterfactual(
            model, cells, {"condition": "stim"}, start,
            output=bs.tl.GroupStatistics("cell_type"),
        ).to_frame()  # fmt: skip
        width = (table["high"] - table["low"]).groupby(table["group"]).median()
        widths[name] = width["type_0"] / width.drop("type_0").mean()

    assert 0.7 < widths["seen"] < 1.4
    assert widths["unseen"] > 1.15 * widths["seen"]


def test_a_cell_counts_the_same_whatever_chunk_it_is_read_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    adata = simulated_atlas(n_cells=300, n_genes=30, seed=0)
    deep = np.arange(300) >= 150
    counts = sparse.csr_matrix(adata.layers["counts"], dtype=np.float32)
    adata.layers["counts"] = sparse.diags_array(np.where(deep, 5.0, 1.0)).dot(counts).tocsr()
    BetaSCVI.setup_anndata(adata, layer="counts")
    model = BetaSCVI(adata, n_hidden=8, n_latent=2)
    groups = np.stack([np.arange(300) % 2 == 0, np.arange(300) % 2 == 1])

    whole = _data_error._log_means(model, np.arange(300), groups)
    monkeypatch.setattr(_data_error, "_CHUNK", 60)
    pieces = _data_error._log_means(model, np.arange(300), groups)

    for name in ("log2", "variance"):
        np.testing.assert_allclose(getattr(pieces, name), getattr(whole, name), rtol=1e-9)
