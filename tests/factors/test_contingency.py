import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from scipy.stats import entropy as scipy_entropy
from scipy.stats.contingency import association
from sklearn.metrics import mutual_info_score

from betascvi.factors import (
    chance_information,
    connected_parts,
    contingency,
    cramers_v,
    decides,
    entropy,
    mutual_information,
)


def _codes(seed, n_cells=200, n_levels=4, missing=0.1):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n_levels, n_cells)
    return np.where(rng.random(n_cells) < missing, -1, codes)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_information_of_a_table_is_that_of_scikit_learn(seed):
    a, b = _codes(seed), _codes(seed + 1)
    both = (a >= 0) & (b >= 0)

    assert mutual_information(contingency(a, b)) == pytest.approx(
        mutual_info_score(a[both], b[both]), abs=1e-12
    )


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_cramers_v_is_that_of_scipy(seed):
    table = contingency(_codes(seed, missing=0), _codes(seed + 1, missing=0))

    assert cramers_v(table) == pytest.approx(association(table, method="cramer"), abs=1e-12)


def test_entropy_is_that_of_scipy():
    counts = np.array([3, 0, 5, 9])

    assert entropy(counts) == pytest.approx(scipy_entropy(counts), abs=1e-12)


def test_a_factor_shares_its_whole_entropy_with_itself():
    codes = _codes(3)

    table = contingency(codes, codes)

    assert mutual_information(table) == pytest.approx(entropy(table.sum(0)), abs=1e-12)
    assert cramers_v(table) == pytest.approx(1.0)


def test_independent_factors_share_on_average_what_chance_predicts():
    tables = [contingency(_codes(s, 400, 5, 0), _codes(s + 999, 400, 3, 0)) for s in range(300)]

    shared = np.mean([mutual_information(table) for table in tables])

    assert shared == pytest.approx(chance_information(tables[0]), rel=0.1)


def test_levels_that_no_cell_has_change_nothing():
    a, b = _codes(0), _codes(1)

    plain, padded = contingency(a, b), contingency(a, b, (9, 8))

    assert padded.shape == (9, 8)
    assert cramers_v(padded) == pytest.approx(cramers_v(plain), abs=1e-12)
    assert chance_information(padded) == chance_information(plain)


@given(seed=st.integers(0, 10_000), density=st.floats(0.05, 0.6))
@settings(max_examples=40, deadline=None)
def test_parts_of_the_level_graph_are_those_of_scipy(seed, density):
    rng = np.random.default_rng(seed)
    table = (rng.random((7, 5)) < density).astype(int)
    graph = np.block([[np.zeros((7, 7)), table], [table.T, np.zeros((5, 5))]])
    seen = np.concatenate([table.any(1), table.any(0)])

    ours = np.concatenate(connected_parts(table))
    theirs = connected_components(graph)[1]

    assert np.array_equal(ours >= 0, seen)
    assert np.array_equal(
        ours[seen][:, None] == ours[seen][None], theirs[seen][:, None] == theirs[seen][None]
    )


def test_a_long_chain_of_levels_is_one_part():
    chain = np.eye(30, dtype=int) + np.eye(30, k=1, dtype=int)

    rows, columns = connected_parts(chain)

    assert set(rows) == set(columns) == {0}


def test_parts_are_numbered_from_zero_without_gaps():
    rows, columns = connected_parts(np.diag([0, 2, 3]))

    assert rows.tolist() == columns.tolist() == [-1, 0, 1]


def test_child_decides_parent_but_not_the_other_way_round():
    donor = np.array([0, 0, 1, 1, 2, 2])
    batch = np.array([0, 0, 0, 0, 1, 1])

    table = contingency(donor, batch)

    assert decides(table)
    assert not decides(table.T)
