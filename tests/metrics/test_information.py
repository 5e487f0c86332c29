"""Mutual information by histograms: scikit-learn's numbers on NumPy's bins."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betascvi.metrics import mutual_information_matrix
from betascvi.metrics._information import entropy, mutual_information


def random_case(seed: int, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, n_axes = int(rng.integers(20, 400)), int(rng.integers(1, 6))
    levels = np.column_stack(
        [rng.permutation(np.arange(n) % k) for k in rng.integers(2, 9, size=3)]
    )
    z = rng.standard_t(2, size=(n, n_axes)) + levels[:, :1] * rng.normal(size=n_axes)
    return z.astype(dtype), levels


@given(seed=st.integers(0, 2**32 - 1), n_bins=st.integers(2, 300))
def test_matrix_is_scikit_learns_on_numpys_bins(
    reference: SimpleNamespace, seed: int, n_bins: int
) -> None:
    z, levels = random_case(seed)

    ours = mutual_information_matrix(z, levels, n_bins=n_bins)

    np.testing.assert_allclose(ours, reference.mi_matrix(z, levels, n_bins), atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
def test_single_precision_is_binned_as_numpy_bins_it(reference: SimpleNamespace, seed: int) -> None:
    z, levels = random_case(seed, "float32")

    ours = mutual_information_matrix(z, levels)

    np.testing.assert_allclose(ours, reference.mi_matrix(z, levels), atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_continuous_factor_is_cut_into_the_same_bins_as_an_axis(
    reference: SimpleNamespace, seed: int
) -> None:
    z, _ = random_case(seed)
    factor = np.random.default_rng(seed).normal(size=len(z))

    ours = mutual_information_matrix(z, factor)

    expected = reference.mi_matrix(z, reference.binned(factor)[:, None])
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_integer_axes_score_as_their_floats() -> None:
    levels = np.random.default_rng(0).integers(5, size=(300, 2))

    np.testing.assert_array_equal(
        mutual_information_matrix(levels, levels), mutual_information_matrix(levels * 1.0, levels)
    )


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3e5])
def test_a_constant_axis_knows_exactly_nothing(value: float) -> None:
    levels = np.arange(999) % 7

    assert mutual_information_matrix(np.full((999, 1), value), levels)[0, 0] == 0.0


def test_an_angle_is_cut_into_equal_arcs_from_zero() -> None:
    angle = np.random.default_rng(0).uniform(-9, 9, size=500)
    arcs = np.floor(np.mod(angle, 2 * np.pi) / (2 * np.pi) * 20).astype(int)
    z = np.column_stack([np.cos(angle), np.sin(angle)])

    ours = mutual_information_matrix(z, angle, circular=True)

    np.testing.assert_allclose(ours, mutual_information_matrix(z, arcs))


def test_the_last_arc_holds_angles_that_round_up_to_a_full_turn() -> None:
    angle = np.array([-1e-20, 0.0, 1.0, 2.0, 6.0] * 10)

    assert np.isfinite(mutual_information_matrix(angle[:, None], angle, circular=True)).all()


def test_information_of_a_factor_with_itself_is_its_entropy() -> None:
    level = np.random.default_rng(0).integers(6, size=400)

    assert mutual_information(np.diag(np.bincount(level))) == pytest.approx(entropy(level))


@given(
    counts=st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=2, max_size=8)
)
def test_information_is_symmetric_and_never_negative(counts: list[list[int]]) -> None:
    table = np.array(counts)
    table[0, 0] += 1

    assert mutual_information(table) >= 0
    assert mutual_information(table) == pytest.approx(mutual_information(table.T), abs=1e-12)
