from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from betascvi.datasets import Effects, Levels, Sequencing, Truth, simulated_atlas

DESIGNS = ["independent", "correlated", "nested", "confounded"]
CATEGORICAL = ["cell_type", "condition", "batch", "donor"]


def same_atlas(one: AnnData, other: AnnData) -> bool:
    return (
        abs(one.X - other.X).nnz == 0
        and one.obs.equals(other.obs)
        and np.array_equal(Truth.of(one).rates(), Truth.of(other).rates())
    )


@pytest.fixture(scope="module")
def default_atlas() -> AnnData:
    return simulated_atlas(seed=3)


@pytest.fixture(scope="module")
def expression(default_atlas) -> tuple[np.ndarray, pd.DataFrame]:
    """Normalised log counts of the default atlas, and its factors."""
    counts = default_atlas.X.toarray()
    return np.log1p(counts / counts.sum(1, keepdims=True) * 100), default_atlas.obs


@pytest.fixture(scope="module", params=DESIGNS)
def any_design(request: pytest.FixtureRequest) -> AnnData:
    return simulated_atlas(n_cells=1000, n_genes=100, design=request.param, seed=1)


def test_atlas_has_the_columns_layers_and_levels_that_are_promised(any_design):
    obs = any_design.obs

    assert list(obs.columns) == [*CATEGORICAL, "phase_angle"]
    assert all(isinstance(obs[name].dtype, pd.CategoricalDtype) for name in CATEGORICAL)
    assert {"ctrl", "stim"} == set(obs["condition"])
    assert {"b0", "b1", "b2"} == set(obs["batch"])
    assert obs["phase_angle"].between(0, 2 * np.pi).all()
    assert "betascvi_truth" in any_design.uns


def test_counts_are_whole_csr_and_the_layer_is_a_matrix_of_its_own(any_design):
    adata = any_design.copy()
    counts = adata.layers["counts"]

    adata.X.data[:] = -1.0

    assert sparse.isspmatrix_csr(counts)
    assert counts.dtype == np.float32
    assert np.all(counts.data > 0)
    assert np.all(counts.data == np.round(counts.data))


def test_no_cell_is_empty_however_shallow_the_sequencing():
    shallow = simulated_atlas(500, 30, sequencing=Sequencing(counts_per_gene=0.05))

    assert np.diff(shallow.X.indptr).min() >= 1


@given(seed=st.integers(0, 2**32 - 1), design=st.sampled_from(DESIGNS))
def test_a_seed_names_one_atlas_whatever_the_global_generator_does(seed, design):
    np.random.seed(0)  # noqa: NPY002 - shown to have no influence
    first = simulated_atlas(40, 20, design, seed)
    np.random.seed(1)  # noqa: NPY002
    second = simulated_atlas(40, 20, design, seed)

    assert same_atlas(first, second)


def test_seeds_differ():
    assert not same_atlas(simulated_atlas(40, 20, seed=0), simulated_atlas(40, 20, seed=1))


@pytest.mark.parametrize("shape", [(300, 100), (3000, 800), (1000, 2000)], ids=str)
def test_between_5_and_15_percent_of_the_entries_are_not_zero(shape):
    atlas = simulated_atlas(*shape, seed=2)

    assert 0.05 <= atlas.X.nnz / np.prod(shape) <= 0.15


def test_depth_is_what_was_asked_for():
    atlas = simulated_atlas(1000, 200, sequencing=Sequencing(counts_per_gene=3.0))
    depth = np.asarray(atlas.X.sum(1)).ravel()

    assert np.median(depth) == pytest.approx(600, rel=0.05)
    assert np.std(np.log(depth)) == pytest.approx(0.35, abs=0.05)


def test_gene_totals_are_those_of_the_noise_free_expression(default_atlas):
    truth = Truth.of(default_atlas)
    rates = truth.rates().astype(float)
    variance = (rates + rates**2 / truth.dispersion).sum(0)

    z = (np.asarray(default_atlas.X.sum(0)).ravel() - rates.sum(0)) / np.sqrt(variance)

    assert np.abs(z).max() < 6
    assert z.std() == pytest.approx(1, abs=0.15)


def test_counts_scatter_around_the_noise_free_expression_as_negative_binomials(default_atlas):
    truth = Truth.of(default_atlas)
    rates = truth.rates().astype(float)
    often = rates.mean(0) > 0.5

    squares = (default_atlas.X.toarray() - rates) ** 2 / (rates + rates**2 / truth.dispersion)

    assert squares[:, often].mean() == pytest.approx(1, abs=0.03)


def test_independent_factors_are_balanced():
    obs = simulated_atlas(1000, 20, "independent", seed=4).obs

    sizes = [obs[name].value_counts() for name in CATEGORICAL]

    assert max(size.max() - size.min() for size in sizes) <= 1


@pytest.mark.parametrize(
    ("one", "other"), [(a, b) for i, a in enumerate(CATEGORICAL) for b in CATEGORICAL[:i]]
)
def test_independent_factors_pass_a_test_of_independence(one, other):
    obs = simulated_atlas(6000, 20, "independent", seed=4).obs

    assert stats.chi2_contingency(pd.crosstab(obs[one], obs[other])).pvalue > 1e-4


def test_correlated_factors_depend_on_each_other_and_every_combination_is_seen():
    obs = simulated_atlas(6000, 20, "correlated", seed=4).obs
    tables = [
        pd.crosstab(obs[a], obs[b])
        for a, b in [("cell_type", "condition"), ("condition", "batch"), ("batch", "donor")]
    ]

    assert min(stats.contingency.association(table) for table in tables) > 0.2
    assert min(table.to_numpy().min() for table in tables) > 0


def test_correlated_phase_depends_on_the_cell_type():
    obs = simulated_atlas(3000, 20, "correlated", seed=4).obs
    vectors = np.exp(1j * obs["phase_angle"])
    means = vectors.groupby(obs["cell_type"], observed=True).mean()

    assert np.abs(means).min() > 0.3
    assert np.abs(vectors.mean()) < 0.1


def test_nested_donors_are_in_one_batch_and_every_batch_has_several():
    obs = simulated_atlas(600, 20, "nested", seed=4).obs
    table = pd.crosstab(obs["donor"], obs["batch"]).to_numpy() > 0

    assert np.all(table.sum(1) == 1)
    assert np.all(table.sum(0) == 2)


def test_confounded_condition_is_one_batch_and_that_batch_is_this_condition():
    obs = simulated_atlas(600, 20, "confounded", seed=4).obs
    table = pd.crosstab(obs["condition"], obs["batch"])

    assert table.loc["stim", ["b0", "b2"]].sum() == 0
    assert table.loc["ctrl", "b1"] == 0
    assert table.to_numpy().max(axis=1).min() > 0


def test_every_level_is_seen_in_a_small_atlas(any_design):
    small = simulated_atlas(30, 20, Truth.of(any_design).design, seed=5)

    assert all(small.obs[name].cat.categories.isin(small.obs[name]).all() for name in CATEGORICAL)


@pytest.mark.parametrize("factor", CATEGORICAL)
def test_supervised_classifier_reads_each_factor_from_the_counts(expression, factor):
    floors = {"cell_type": 0.95, "condition": 0.95, "batch": 0.95, "donor": 0.75}
    matrix, obs = expression
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3))

    predicted = probe.fit(matrix[:2000], obs[factor][:2000]).predict(matrix[2000:])

    assert balanced_accuracy_score(obs[factor][2000:], predicted) > floors[factor]


def test_supervised_regression_reads_the_phase_from_the_counts(expression):
    matrix, obs = expression
    angle = obs["phase_angle"].to_numpy()
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)

    probe = make_pipeline(StandardScaler(), Ridge(3000))

    predicted = probe.fit(matrix[:2000], circle[:2000]).predict(matrix[2000:])

    error = np.arctan2(predicted[:, 1], predicted[:, 0]) - angle[2000:]
    assert np.cos(error).mean() > 0.8


def test_a_factor_without_strength_leaves_no_trace():
    atlas = simulated_atlas(60, 40, effects=Effects(batch=0.0))
    truth = Truth.of(atlas)

    np.testing.assert_array_equal(truth.rates({"batch": "b0"}), truth.rates({"batch": "b1"}))
    assert not np.array_equal(truth.rates({"donor": "d0"}), truth.rates({"donor": "d1"}))


def test_numbers_of_levels_are_as_asked():
    levels = Levels(n_cell_types=7, n_conditions=4, n_batches=2, n_donors=9)
    obs = simulated_atlas(200, 20, levels=levels).obs

    assert [obs[name].nunique() for name in CATEGORICAL] == [7, 4, 2, 9]
    assert set(obs["condition"]) == {"ctrl", "stim", "stim_2", "stim_3"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        pytest.param({"design": "crossed"}, "independent", id="unknown_design"),
        pytest.param({"n_cells": 3}, "from 6 up", id="fewer_cells_than_levels"),
        pytest.param({"n_cells": 10.5}, "whole number", id="fractional_cells"),
        pytest.param({"n_cells": True}, "whole number", id="boolean_cells"),
        pytest.param({"n_genes": 0}, "n_genes", id="no_genes"),
        pytest.param({"seed": -1}, "seed", id="negative_seed"),
        pytest.param({"seed": None}, "seed", id="no_seed"),
        pytest.param(
            {"design": "nested", "levels": Levels(n_batches=4, n_donors=3)},
            "as many donors as batches",
            id="too_few_donors_to_nest",
        ),
        pytest.param(
            {"sequencing": Sequencing(counts_per_gene=1e-6)}, "counts_per_gene", id="no_depth"
        ),
    ],
)
def test_impossible_wishes_are_refused_with_the_way_out(wrong, says):
    with pytest.raises(ValueError, match=says):
        simulated_atlas(**{"n_cells": 50, "n_genes": 20} | wrong)


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        pytest.param(Levels, {"n_batches": 1}, id="one_level"),
        pytest.param(Levels, {"n_donors": 2.0}, id="fractional_levels"),
        pytest.param(Effects, {"batch": -0.1}, id="negative_strength"),
        pytest.param(Effects, {"phase": float("nan")}, id="nan_strength"),
        pytest.param(Effects, {"share": 0.0}, id="no_gene_touched"),
        pytest.param(Effects, {"share": 1.1}, id="more_than_all_genes"),
        pytest.param(Sequencing, {"counts_per_gene": 0}, id="no_counts"),
        pytest.param(Sequencing, {"dispersion": "high"}, id="text_for_a_number"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(record, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        record(**wrong)


@pytest.mark.slow
def test_fifty_thousand_cells_take_seconds_and_less_than_2_gb(tmp_path):
    script = (
        "import resource, time, betascvi as bs\n"
        "start = time.process_time()\n"
        "bs.datasets.simulated_atlas(50_000, 2_000)\n"
        "print(time.process_time() - start,"
        " resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    seconds, gigabytes = map(float, out.stdout.split())

    assert seconds < 60
    assert gigabytes < 2
