import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from betascvi._errors import FactorError
from betascvi.factors import Factor, bin_codes, code_factor, overlap_of


def _coded(kinds=None, **columns):
    kinds = kinds or {}
    return [code_factor(pd.Series(v), Factor(k, kinds.get(k))) for k, v in columns.items()]


def _relation(**columns):
    (pair,) = overlap_of(_coded(**columns)).pairs
    return pair.relation


def test_ceiling_of_independent_factors_is_one():
    crossed = overlap_of(_coded(a=list("xxyy") * 50, b=list("uvuv") * 50))

    assert dict(crossed.ceilings) == pytest.approx({"a": 1.0, "b": 1.0})
    assert crossed.limited_by("a") is None


def test_ceiling_is_one_minus_the_largest_share_that_another_factor_explains():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 3, 500)
    near = np.where(rng.random(500) < 0.8, a, rng.integers(0, 3, 500))
    far = rng.integers(0, 3, 500)

    found = overlap_of(_coded(a=a.astype(str), near=near.astype(str), far=far.astype(str)))

    p = np.bincount(a) / 500
    expected = 1 - found.pair("a", "near").information / -(p * np.log(p)).sum()
    assert found.ceilings["a"] == pytest.approx(expected, abs=1e-12)
    assert found.limited_by("a") == "near"


def test_child_of_a_nested_pair_is_named_and_its_parent_has_ceiling_zero():
    found = overlap_of(_coded(batch=list("aabb") * 9, donor=list("1234") * 9))

    assert found.nested == (("donor", "batch"),)
    assert found.ceilings["batch"] == pytest.approx(0.0)
    assert found.ceilings["donor"] == pytest.approx(0.5)


def test_hole_in_a_connected_table_stays_identifiable():
    relation = _relation(condition=list("csc"), batch=list("112"))

    assert relation.kind == "holes"
    assert relation.is_identifiable
    assert "condition 's' is seen in one batch only ('1')" in relation.words


def test_groups_of_levels_that_nothing_links_cannot_be_told_apart():
    relation = _relation(condition=list("ccddeeff"), batch=list("12123434"))

    assert (relation.kind, relation.n_parts) == ("disconnected", 2)
    assert not relation.is_identifiable
    assert "condition 'c', 'd' only with batch '1', '2'" in relation.words


def test_two_names_for_one_split_are_said_to_be_the_same():
    relation = _relation(pool=list("aabbcc"), run=list("xxyyzz"))

    assert relation.kind == "same"
    assert not relation.is_identifiable


def test_number_that_is_a_property_of_a_level_is_decided_by_it():
    rng = np.random.default_rng(1)
    donor = rng.integers(0, 6, 300)
    age = np.array([30.0, 41, 41, 55, 67, 70])[donor]

    found = overlap_of(_coded(donor=donor.astype(str), age=age))

    assert found.nested == (("donor", "age"),)


def test_number_with_a_value_of_its_own_per_cell_decides_nothing():
    rng = np.random.default_rng(2)

    found = overlap_of(
        _coded(depth=rng.normal(size=300), batch=rng.integers(0, 2, 300).astype(str))
    )

    assert found.pairs[0].relation.kind == "measured"


def test_levels_whose_ranges_of_a_number_do_not_meet_cannot_be_told_apart():
    rng = np.random.default_rng(3)
    batch = rng.integers(0, 2, 300)

    relation = _relation(batch=batch.astype(str), time=rng.random(300) + 2 * batch)

    assert relation.kind == "disconnected"


def test_factors_never_labelled_together_are_said_to_be_so():
    relation = _relation(a=["x", "y", None, None], b=[None, None, "u", "v"])

    assert relation.kind == "unlabelled"
    assert not relation.is_identifiable


def test_missing_labels_leave_the_cell_out_of_the_pairs_that_need_it():
    found = overlap_of(_coded(a=list("xxyy"), b=["u", None, "u", "v"], c=list("pqpq")))

    assert found.pair("a", "b").n_cells == 3
    assert found.pair("a", "c").n_cells == 4
    assert dict(found.n_known) == {"a": 4, "b": 3, "c": 4}


def test_angle_is_cut_over_the_whole_circle():
    codes = bin_codes(np.array([0.1, np.pi, 2 * np.pi - 0.1, np.nan]), 4, circular=True)

    assert codes.tolist() == [0, 2, 3, -1]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_bins_of_a_number_are_those_of_numpy(seed):
    values = np.random.default_rng(seed).normal(size=100)

    counts = np.bincount(bin_codes(values, 7), minlength=7)

    assert counts.tolist() == np.histogram(values, bins=7)[0].tolist()


def test_matrix_of_shares_is_read_by_row():
    found = overlap_of(_coded(batch=list("aabb") * 9, donor=list("1234") * 9))

    assert found.matrix("explained") == pytest.approx(np.array([[1, 1], [0.5, 1]]))
    assert found.matrix() == pytest.approx(np.ones((2, 2)))


def test_frame_has_one_row_a_pair_and_print_says_every_sentence():
    found = overlap_of(_coded(a=list("xxyy"), b=list("uvuv"), c=list("uvvu")))

    assert len(found.to_frame()) == 3
    assert all(pair.words in str(found) for pair in found.pairs)


def test_single_factor_is_refused():
    with pytest.raises(FactorError, match="at least two factors"):
        overlap_of(_coded(a=list("xy")))
