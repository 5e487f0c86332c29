"""The cell-cycle angle: right on cells whose angle is known, honest where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad
from scipy import sparse

import betascvi as bs
from betascvi._errors import CountsError, UnknownFactorError
from betascvi.pp._cell_cycle_genes import EARLIER_NAMES, G2M_GENES, S_GENES, mouse


def cycling_cells(n_cells: int = 300, *, organism: str = "human", seed: int = 0) -> AnnData:
    """Half of the cells go round the cycle at a known angle, half rest (missing angle)."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n_cells)
    angle[n_cells // 2 :] = np.nan
    names = [*S_GENES, *G2M_GENES, *(f"OTHER{i}" for i in range(200))]
    names = [mouse(name) for name in names] if organism == "mouse" else names
    along = np.zeros((n_cells, len(names)))
    along[:, : len(S_GENES)] = np.cos(angle)[:, None]
    along[:, len(S_GENES) : len(S_GENES) + len(G2M_GENES)] = np.sin(angle)[:, None]
    rates = np.exp(rng.normal(1.0, 0.5, len(names)) + 1.2 * np.nan_to_num(along, nan=-0.7))
    counts = sparse.csr_matrix(rng.poisson(rates).astype(np.float32))
    obs = pd.DataFrame({"truth": angle}, index=[f"c{i}" for i in range(n_cells)])
    return AnnData(counts, obs=obs, var=pd.DataFrame(index=names))


def mean_resultant(adata: AnnData, column: str = "cell_cycle_angle") -> complex:
    both = adata.obs[["truth", column]].dropna()
    return complex(np.exp(1j * (both[column] - both["truth"]).to_numpy()).mean())


@pytest.mark.parametrize("organism", ["human", "mouse"])
def test_the_angle_of_cycling_cells_is_found_and_the_organism_inferred(organism: str) -> None:
    adata = cycling_cells(organism=organism)

    factor = bs.pp.cell_cycle_angle(adata)

    resultant = mean_resultant(adata)
    assert factor == bs.Factor("cell_cycle_angle", kind="circular")
    assert abs(resultant) > 0.9
    assert abs(np.angle(resultant)) < 0.5


def test_resting_cells_are_less_certain_than_cycling_ones_and_can_be_left_unlabelled() -> None:
    adata = cycling_cells()
    is_cycling = adata.obs["truth"].notna()

    bs.pp.cell_cycle_angle(adata, max_sd=0.5)

    sd = adata.obs["cell_cycle_angle_sd"]
    assert np.isfinite(sd).all()
    assert sd[~is_cycling].median() > sd[is_cycling].median()
    assert ((sd > 0.5) == adata.obs["cell_cycle_angle"].isna()).all()


def test_the_factor_goes_into_a_model_as_it_is() -> None:
    adata = cycling_cells()

    phase = bs.pp.cell_cycle_angle(adata)
    bs.BetaSCVI.setup_anndata(adata, factor_keys=[phase])

    assert adata.obs["cell_cycle_angle"].between(0, 2 * np.pi).all()


def test_logged_expression_and_its_counts_give_the_same_angle() -> None:
    adata = cycling_cells()
    counts = adata.X.toarray()
    adata.layers["logged"] = sparse.csr_matrix(np.log1p(counts / counts.sum(1)[:, None] * 1e4))

    bs.pp.cell_cycle_angle(adata)
    bs.pp.cell_cycle_angle(adata, layer="logged", key_added="again")

    apart = np.exp(1j * (adata.obs["again"] - adata.obs["cell_cycle_angle"]).to_numpy())
    np.testing.assert_allclose(apart, 1.0, atol=1e-3)


def test_the_expression_given_is_left_as_it_was() -> None:
    adata = cycling_cells(100)
    before = adata.X.copy()

    bs.pp.cell_cycle_angle(adata, n_resamples=5)

    assert (before != adata.X).nnz == 0


def test_symbols_may_stand_in_a_column_and_be_those_of_the_paper() -> None:
    adata = cycling_cells(100)
    adata.var["symbol"] = [EARLIER_NAMES.get(name, name) for name in adata.var_names]
    plain = adata.copy()
    adata.var_names = [f"ENSG{i:08d}" for i in range(adata.n_vars)]

    bs.pp.cell_cycle_angle(adata, gene_symbols="symbol")
    bs.pp.cell_cycle_angle(plain)

    np.testing.assert_allclose(adata.obs["S_score"], plain.obs["S_score"], atol=0.05)


def test_the_same_seed_gives_the_same_columns() -> None:
    first, second = cycling_cells(100), cycling_cells(100)

    bs.pp.cell_cycle_angle(first, seed=3)
    bs.pp.cell_cycle_angle(second, seed=3)

    pd.testing.assert_frame_equal(first.obs, second.obs)


def test_too_few_genes_are_refused_with_how_many_there_are() -> None:
    adata = cycling_cells(100)[:, S_GENES[:4]].copy()

    with pytest.raises(UnknownFactorError, match=r"4 of 43 \(S\) and 0 of 54 \(G2/M\)"):
        bs.pp.cell_cycle_angle(adata)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"organism": "worm"}, ValueError, "organism is one of"),
        ({"layer": "nowhere"}, UnknownFactorError, "no layer 'nowhere'"),
        ({"gene_symbols": "symbol"}, UnknownFactorError, "no column of adata.var"),
        ({"n_resamples": 1}, ValueError, "from 2 up"),
        ({"max_sd": float("nan")}, ValueError, "max_sd is above 0"),
        ({"max_sd": -1.0}, ValueError, "max_sd is above 0"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_is_written(
    arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    adata = cycling_cells(50)

    with pytest.raises(error, match=words):
        bs.pp.cell_cycle_angle(adata, **arguments)

    assert list(adata.obs) == ["truth"]


def test_cells_that_are_all_alike_are_refused() -> None:
    adata = cycling_cells(50)
    alike = AnnData(np.ones(adata.shape, dtype=np.float32), var=adata.var)

    with pytest.raises(CountsError, match="same S or G2/M score"):
        bs.pp.cell_cycle_angle(alike)


@pytest.mark.parametrize("n_seen", [0, 1, 2, 4])
def test_a_cell_that_hardly_expresses_the_lists_has_no_angle(n_seen: int) -> None:
    adata = cycling_cells()
    counts = adata.X.toarray()
    n_listed = len(S_GENES) + len(G2M_GENES)
    counts[-100:, :n_listed] = 0.0
    counts[-100:, :n_seen] = 1.0
    sparse_cells = AnnData(sparse.csr_matrix(counts), obs=adata.obs, var=adata.var)

    bs.pp.cell_cycle_angle(sparse_cells, max_sd=0.8)

    found = sparse_cells.obs
    assert found["cell_cycle_angle"].iloc[-100:].isna().all()
    np.testing.assert_allclose(found["cell_cycle_angle_sd"].iloc[-100:], np.sqrt(np.log(50)))
    assert found["cell_cycle_angle"].iloc[:100].notna().mean() > 0.9


def test_a_name_that_two_genes_bear_is_that_of_the_first() -> None:
    adata = cycling_cells(100)
    twice = adata.copy()
    twice.var_names = [*adata.var_names[:-2], S_GENES[0], "OTHER0"]

    bs.pp.cell_cycle_angle(adata)
    bs.pp.cell_cycle_angle(twice)

    np.testing.assert_allclose(twice.obs["S_score"], adata.obs["S_score"], atol=0.1)


def test_counts_on_disk_give_the_same_angle(tmp_path: Path) -> None:
    adata = cycling_cells(100)
    adata.layers["dense"] = adata.X.toarray()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    on_disk = read_h5ad(tmp_path / "cells.h5ad", backed="r")

    bs.pp.cell_cycle_angle(adata)
    for layer in (None, "dense"):
        bs.pp.cell_cycle_angle(on_disk, layer=layer)
        np.testing.assert_array_equal(
            on_disk.obs["cell_cycle_angle"], adata.obs["cell_cycle_angle"]
        )
    on_disk.file.close()


def test_without_expression_or_cells_there_is_no_angle() -> None:
    adata = cycling_cells(50)

    with pytest.raises(CountsError, match=r"X is None; name the layer="):
        bs.pp.cell_cycle_angle(AnnData(obs=adata.obs, var=adata.var))
    with pytest.raises(CountsError, match="no cells"):
        bs.pp.cell_cycle_angle(adata[:0].copy())


def test_the_lists_are_those_of_the_paper() -> None:
    assert (len(set(S_GENES)), len(set(G2M_GENES))) == (43, 54)
    assert not set(S_GENES) & set(G2M_GENES)


@pytest.mark.real
@pytest.mark.filterwarnings("ignore")
def test_the_angle_follows_the_one_measured_by_fluorescent_reporters() -> None:
    cells = bs.datasets.load("fucci_ipsc_101genes")

    bs.pp.cell_cycle_angle(cells, gene_symbols="gene_symbol")

    ours, measured = cells.obs["cell_cycle_angle"], cells.obs["theta"]
    shuffled = np.random.default_rng(0).permutation(measured.to_numpy())
    found, chance = (
        max(abs(np.exp(1j * (ours + sign * theta)).mean()) for sign in (-1, 1))
        for theta in (measured, shuffled)
    )
    assert found > 0.3
    assert found > 3 * chance


def test_numpy_s_generator_is_left_as_it_was() -> None:
    adata = cycling_cells(60)
    np.random.seed(123)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(123)  # noqa: NPY002

    bs.pp.cell_cycle_angle(adata)

    assert np.random.random() == expected  # noqa: NPY002
