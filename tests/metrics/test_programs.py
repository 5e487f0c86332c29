"""Order, sign, vanished axes and duplicates of gene programs; matching of axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from betascvi.metrics._programs import GenePrograms, marker_effects, match_axes, mean_matched

GENES = tuple(f"g{i}" for i in range(50))


def record_of(effects: np.ndarray, explained: np.ndarray) -> GenePrograms:
    names = tuple(f"free_{i + 1}" for i in range(len(effects)))
    return GenePrograms(names, GENES, effects, explained, np.ones(len(names)), 2.0, is_exact=True)


@pytest.fixture
def record() -> GenePrograms:
    """Axis 1 rises, axis 2 falls to the same program, axis 3 is another, axis 4 is dead."""
    rng = np.random.default_rng(0)
    program, other = rng.exponential(size=(2, 50))
    effects = np.zeros((4, 2, 50))
    effects[0, 1], effects[1, 0], effects[2, 1] = program, 2.0 * program, other
    return record_of(effects, np.array([0.2, 0.5, 0.3, 0.0]))


def test_axes_are_ordered_by_what_they_explain(record: GenePrograms) -> None:
    assert list(record.to_frame(1)["axis"].unique()) == ["free_2", "free_3", "free_1", "free_4"]


def test_the_vanished_axis_is_named(record: GenePrograms) -> None:
    assert record.vanished == ("free_4",)
    assert "free_4" in str(record)


def test_two_axes_of_one_program_are_found_whatever_their_sign(record: GenePrograms) -> None:
    (pair,) = record.duplicates

    assert (pair.axis, pair.direction, pair.other, pair.other_direction) == (
        "free_1", "+", "free_2", "-",
    )  # fmt: skip
    assert pair.correlation == pytest.approx(1.0)
    assert list(record.axes_frame()["same_program_as"]) == ["free_1", "", "free_2", ""]


def test_an_axis_times_its_sign_points_to_its_stronger_program(record: GenePrograms) -> None:
    assert record.signs[:3].tolist() == [1.0, -1.0, 1.0]
    flipped = record_of(record.effects[:, ::-1], record.explained)
    np.testing.assert_array_equal(flipped.signs[:3], -record.signs[:3])
    np.testing.assert_array_equal(flipped.program("free_2"), record.program("free_2"))


def test_the_frame_has_the_largest_effects_first(record: GenePrograms) -> None:
    frame = record.to_frame(n_genes=3).query("axis == 'free_3' and direction == '+'")

    top = np.argsort(-record.effects[2, 1])[:3]
    assert frame["gene"].tolist() == [GENES[i] for i in top]
    assert frame["rank"].tolist() == [1, 2, 3]
    assert len(record.to_frame(None)) == 4 * 2 * 50


def test_an_axis_that_is_not_there_is_refused(record: GenePrograms) -> None:
    for axis in ("free_9", 4):
        with pytest.raises(KeyError, match="no axis"):
            record.program(axis)


def test_without_a_living_axis_nothing_stands_twice() -> None:
    record = record_of(np.ones((2, 2, 50)), np.zeros(2))

    assert record.duplicates == ()
    assert record.vanished == ("free_1", "free_2")


@given(seed=st.integers(0, 1000))
def test_permuted_and_flipped_axes_match_perfectly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(200, 4))
    order = rng.permutation(4)
    other = (z * rng.choice([-2.0, 0.5], 4))[:, order]

    rows, columns, correlation = match_axes(z, other)

    np.testing.assert_array_equal(order[columns], rows)
    np.testing.assert_allclose(correlation, 1.0)
    assert mean_matched(z, other) == pytest.approx(1.0)


def test_an_axis_without_a_partner_counts_zero() -> None:
    z = np.random.default_rng(0).normal(size=(200, 4))

    assert mean_matched(z, z[:, :2]) == pytest.approx(0.5)
    assert mean_matched(z, z[:, :0]) == 0.0


def test_noise_matches_near_zero() -> None:
    rng = np.random.default_rng(0)

    assert mean_matched(rng.normal(size=(4000, 3)), rng.normal(size=(4000, 3))) < 0.05


def test_an_axis_at_its_prior_has_vanished_whatever_its_weights_would_do(
    record: GenePrograms,
) -> None:
    at_prior = replace(record, kl=np.array([1.0, 0.001, 1.0, 1.0]))

    assert at_prior.vanished == ("free_2", "free_4")


def test_markers_are_the_same_in_one_piece_and_in_many_sparse_or_dense() -> None:
    rng = np.random.default_rng(0)
    counts, on = rng.poisson(1.0, (30, 7)), rng.uniform(size=(30, 3)) > 0.5

    whole = marker_effects(on, [(slice(None), counts)])
    pieces = [(slice(i, i + 8), sparse.csr_array(counts[i : i + 8])) for i in range(0, 30, 8)]

    assert whole.shape == (3, 7)
    np.testing.assert_allclose(marker_effects(on, pieces), whole, rtol=1e-10)


def test_a_program_that_is_on_in_no_cell_or_in_all_has_no_markers() -> None:
    counts = np.random.default_rng(0).poisson(1.0, (20, 5))
    on = np.stack([np.zeros(20), np.ones(20), np.arange(20) % 2], axis=1).astype(bool)

    found = marker_effects(on, [(slice(None), counts)])

    assert (found[:2] == 0).all()
    assert np.abs(found[2]).max() > 0


def test_axes_that_are_on_in_the_same_cells_are_no_duplicates(record: GenePrograms) -> None:
    assert record.duplicates
    assert not replace(record, by="cells").duplicates
