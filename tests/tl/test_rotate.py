from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betascvi._errors import UndefinedScoreError
from betascvi.metrics import mig
from betascvi.tl import rotate


def _orthogonal(n, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


@given(
    method=st.sampled_from(["varimax", "ica"]), seed=st.integers(0, 999), n_axes=st.integers(2, 6)
)
def test_the_way_back_leads_to_where_it_started(method, seed, n_axes):
    z = np.random.default_rng(seed).laplace(size=(300, n_axes)) + 3.0

    turned = rotate(z, method)

    np.testing.assert_allclose(turned.back(), z, atol=1e-8)
    np.testing.assert_allclose(turned.back(turned.z[:5]), z[:5], atol=1e-8)
    np.testing.assert_allclose((z - turned.centre) @ turned.matrix, turned.z, atol=1e-8)
    np.testing.assert_allclose(turned.matrix @ turned.inverse, np.eye(n_axes), atol=1e-8)


@given(seed=st.integers(0, 999))
def test_varimax_is_a_rotation_and_does_not_lower_its_criterion(seed):
    z = np.random.default_rng(seed).laplace(size=(200, 4))

    turned = rotate(z, "varimax")

    def criterion(y):
        y = y - z.mean(0) if y is z else y
        return (np.mean(y**4, 0) - np.mean(y**2, 0) ** 2).sum()

    np.testing.assert_allclose(turned.matrix.T @ turned.matrix, np.eye(4), atol=1e-10)
    assert criterion(turned.z) >= criterion(z) - 1e-9


@pytest.mark.parametrize("method", ["varimax", "ica"])
def test_axes_turned_together_are_found_again(method):
    sources = np.random.default_rng(0).laplace(size=(4000, 4))
    mixed = sources @ _orthogonal(4, seed=1)

    turned = rotate(mixed, method)

    correlation = np.abs(np.corrcoef(turned.z.T, sources.T)[:4, 4:])
    assert correlation.max(axis=1).min() > 0.97


def test_ica_of_axes_that_sum_to_one_is_refused():
    shares = np.random.default_rng(0).dirichlet(np.ones(4), size=200)

    with pytest.raises(UndefinedScoreError, match="4 axes vary in 3 directions only"):
        rotate(shares, "ica")
    with pytest.raises(TypeError, match=r"takes a .cells, axes. array, got str"):
        rotate("X_pca")


def test_ica_undoes_a_mixing_that_is_no_rotation():
    rng = np.random.default_rng(0)
    sources = rng.laplace(size=(4000, 3))
    mixed = sources @ rng.normal(size=(3, 3))

    turned = rotate(mixed, "ica")

    correlation = np.abs(np.corrcoef(turned.z.T, sources.T)[:3, 3:])
    assert correlation.max(axis=1).min() > 0.97
    np.testing.assert_allclose(turned.z.std(0), 1.0, atol=1e-3)


def test_the_same_seed_gives_the_same_axes():
    z = np.random.default_rng(0).laplace(size=(300, 3))

    np.testing.assert_array_equal(rotate(z, "ica", seed=4).z, rotate(z, "ica", seed=4).z)


def test_the_frame_names_axes_by_the_method():
    z = np.random.default_rng(0).laplace(size=(30, 2))

    frame = rotate(z).to_frame(index=[f"cell {i}" for i in range(30)])

    assert list(frame) == ["varimax_1", "varimax_2"]
    assert frame.index[3] == "cell 3"


def test_turning_a_perfect_code_away_lowers_its_score_and_ica_brings_it_back(known_factors):
    z = (known_factors.z - known_factors.z.mean(0)) / known_factors.z.std(0)
    away = z @ _orthogonal(4, seed=2)

    before, after = float(mig(z, known_factors.factors)), float(mig(away, known_factors.factors))
    found = float(mig(rotate(away, "ica").z, known_factors.factors))

    assert before > 0.95
    assert after < 0.6
    assert found > after + 0.3


@pytest.mark.parametrize(
    ("z", "method", "message"),
    [
        pytest.param(np.zeros((10, 1)), "varimax", "two axes or more", id="one axis"),
        pytest.param(np.zeros((3, 4)), "varimax", "more cells than axes", id="few cells"),
        pytest.param(np.full((10, 2), np.nan), "ica", "20 missing", id="missing"),
        pytest.param(np.eye(6)[:, :2] * [1, 0], "ica", r"axes \[1\] do not vary", id="flat"),
    ],
)
def test_positions_that_cannot_be_turned_are_refused(z, method, message):
    with pytest.raises(UndefinedScoreError, match=message):
        rotate(z, method)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method is 'varimax' or 'ica', got 'promax'"):
        rotate(np.random.default_rng(0).normal(size=(10, 2)), "promax")
