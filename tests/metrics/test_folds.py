"""Splits: levels spread evenly, groups never divided."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betascvi.metrics._folds import as_groups, at_most, deal_folds


@given(seed=st.integers(0, 2**32 - 1), n_folds=st.integers(2, 6))
def test_every_level_is_spread_over_the_folds_to_within_one_cell(seed: int, n_folds: int) -> None:
    rng = np.random.default_rng(seed)
    levels = np.unique(rng.integers(6, size=97), return_inverse=True)[1]

    folds = deal_folds(levels, n_folds, rng)

    table = np.zeros((levels.max() + 1, n_folds), int)
    np.add.at(table, (levels, folds), 1)
    assert np.ptp(table, axis=1).max() <= 1
    assert np.ptp(table.sum(axis=0)) <= 1


@given(seed=st.integers(0, 2**32 - 1))
def test_a_group_stays_in_one_fold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    copies = rng.integers(30, size=120)
    levels = (copies % 3).astype(int)

    folds = deal_folds(levels, 4, rng, copies)

    assert all(np.unique(folds[copies == cell]).size == 1 for cell in np.unique(copies))


def test_the_same_seed_deals_the_same_folds() -> None:
    levels = np.arange(50) % 3
    one, other = (deal_folds(levels, 5, np.random.default_rng(4)) for _ in range(2))

    np.testing.assert_array_equal(one, other)


def test_groups_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(5,\) expected, got \(4,\)"):
        as_groups(np.arange(4), 5)


@pytest.mark.parametrize("seed", range(20))
def test_groups_that_share_a_rare_level_are_not_all_in_one_fold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    donors = np.repeat(np.arange(50), 6)
    levels = np.where((donors < 3) & (np.arange(300) % 6 > 2), 1, 0)  # mixed, in three donors

    folds = deal_folds(levels, 5, rng, donors)

    assert np.unique(folds[levels == 1]).size == 3
    assert all(np.unique(folds[donors == donor]).size == 1 for donor in range(50))


def test_no_more_rows_are_taken_than_asked_for_and_from_everywhere() -> None:
    rows = np.arange(19_999) * 2

    some = at_most(rows, 10_000)

    assert len(some) == 10_000
    assert (some[0], some[-1]) == (0, rows[-1])
    assert np.isin(some, rows).all()
    assert len(np.unique(some)) == 10_000
    assert at_most(rows, 20_000) is rows
