"""Shapes and kinds of factors, and the words bad ones are refused with."""

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

import betascvi as bs
from betascvi._errors import UndefinedScoreError
from betascvi.factors import CodedFactor
from betascvi.metrics import mig, mutual_information_matrix
from betascvi.metrics._inputs import as_columns, as_embedding, is_constant, live_axes

LEVELS = np.arange(60) % 3
NUMBERS = np.linspace(-1, 1, 60)


@pytest.mark.parametrize(
    ("factors", "kinds"),
    [
        pytest.param(LEVELS, ["categorical"], id="one integer column"),
        pytest.param(NUMBERS, ["continuous"], id="one float column"),
        pytest.param(LEVELS.astype(str), ["categorical"], id="one string column"),
        pytest.param(LEVELS == 1, ["categorical"], id="one bool column"),
        pytest.param(np.column_stack([LEVELS, NUMBERS]), ["continuous"] * 2, id="float matrix"),
        pytest.param([LEVELS, NUMBERS], ["categorical", "continuous"], id="list of columns"),
        pytest.param(
            np.array([LEVELS, NUMBERS, LEVELS.astype(str)], dtype=object).T,
            ["categorical", "continuous", "categorical"],
            id="object matrix",
        ),
        pytest.param(
            pd.DataFrame({"type": pd.Categorical(LEVELS), "dose": NUMBERS}),
            ["categorical", "continuous"],
            id="data frame",
        ),
        pytest.param(
            [CodedFactor("phase", "circular", NUMBERS + 2)], ["circular"], id="coded factor"
        ),
    ],
)
def test_kinds_are_read_from_what_the_columns_hold(factors: object, kinds: list[str]) -> None:
    assert [column.kind for column in as_columns(factors, 60)] == kinds


def test_an_integer_valued_float_column_is_levels_where_said_so() -> None:
    matrix = np.column_stack([LEVELS, NUMBERS]).astype(float)

    columns = as_columns(matrix, 60, discrete=[True, False])

    assert [column.kind for column in columns] == ["categorical", "continuous"]


def test_names_of_levels_do_not_matter() -> None:
    z = np.random.default_rng(0).normal(size=(60, 2))
    named = np.array(["zeta", "alpha", "mu"])[LEVELS]

    np.testing.assert_allclose(
        mutual_information_matrix(z, named), mutual_information_matrix(z, LEVELS)
    )


@pytest.mark.parametrize(
    "missing",
    [
        pytest.param([np.where(LEVELS < 2, LEVELS, np.nan)], id="nan"),
        pytest.param([np.where(LEVELS < 2, LEVELS.astype(object), None)], id="none"),
        pytest.param(
            [CodedFactor("c", "categorical", np.where(LEVELS < 2, LEVELS, -1), ("a", "b"))],
            id="coded",
        ),
    ],
)
def test_a_factor_with_missing_labels_scores_as_if_those_cells_were_not_there(
    missing: list[object],
) -> None:
    z = np.random.default_rng(0).normal(size=(60, 3))
    known = LEVELS < 2

    score = mig(z, missing, discrete=True)

    assert float(score) == pytest.approx(float(mig(z[known], LEVELS[known])), abs=1e-12)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        pytest.param(np.zeros(60, int), "factor column 0 has a single level", id="one level"),
        pytest.param(np.full(60, 0.1), "factor column 0 has a single level", id="constant"),
        pytest.param(
            pd.DataFrame({"donor": ["d1"] * 60}), "factor 'donor' has a single level", id="named"
        ),
        pytest.param(np.full(60, np.nan), "factor column 0 has no known label", id="all missing"),
        pytest.param([], "holds no column", id="no factor"),
    ],
)
def test_a_factor_that_tells_no_cells_apart_is_refused_by_name(
    factors: object, message: str
) -> None:
    with pytest.raises(UndefinedScoreError, match=message):
        as_columns(factors, 60)


@pytest.mark.parametrize(
    ("factors", "kwargs", "message"),
    [
        pytest.param(LEVELS[:50], {}, r"shape \(50,\) where z has 60 cells", id="fewer cells"),
        pytest.param(np.ones((60, 2, 2)), {}, r"shape \(60, 2, 2\)", id="three dimensions"),
        pytest.param(
            [LEVELS, LEVELS], {"discrete": [True]}, "discrete is one bool or one per factor; got 1",
            id="flags do not fit",
        ),
        pytest.param([np.full(60, np.inf)], {}, "60 infinite values", id="infinite"),
        pytest.param([LEVELS.astype(str).astype(object) + "x"], {"discrete": False},
                     "is continuous but holds", id="text as number"),
    ],
)  # fmt: skip
def test_a_column_of_the_wrong_form_is_refused_with_what_came(
    factors: object, kwargs: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        as_columns(factors, 60, **kwargs)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize(
    ("z", "message"),
    [
        pytest.param(np.ones(5), r"matrix of \(cells, axes\)", id="one dimension"),
        pytest.param(np.empty((0, 2)), r"matrix of \(cells, axes\)", id="no cell"),
        pytest.param(np.array([["a", "b"]]), "dtype", id="text"),
        pytest.param(csr_matrix(np.eye(3)), r"z\.toarray", id="sparse"),
        pytest.param(np.array([[1.0, np.nan]]), "1 values that are NaN", id="nan"),
    ],
)
def test_a_bad_embedding_is_refused_with_what_came(z: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_embedding(z)


def test_gap_metrics_refuse_a_single_axis() -> None:
    with pytest.raises(UndefinedScoreError, match="mig compares axes with each other"):
        mig(NUMBERS[:, None], LEVELS)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6, 1e-12], ids=str)
def test_rounding_of_a_constant_is_constant(value: float) -> None:
    x = np.full(100, value)
    x[::2] = np.nextafter(value, 1e9)

    assert is_constant(x, scale=1.0)


def test_a_small_axis_is_live_and_a_vanishing_one_is_not() -> None:
    x = np.random.default_rng(0).normal(size=200)
    z = np.column_stack([x, 1e-6 * x, 1e-14 * x, np.full(200, 0.3)])

    np.testing.assert_array_equal(live_axes(z), [True, True, False, False])


@pytest.mark.parametrize(
    ("metric", "options", "named"),
    [
        pytest.param("mig", {"n_bins": 1}, "n_bins is a whole number from 2 up, got 1", id="a bin"),
        pytest.param("mig", {"n_bins": 2.5}, "n_bins is a whole number", id="half a bin"),
        pytest.param("dci", {"n_bins": 0}, "n_bins is a whole number", id="no bin"),
        pytest.param("condition_prediction", {"n_folds": 1}, "n_folds is a whole", id="a fold"),
        pytest.param("explicitness", {"n_folds": 0}, "n_folds is a whole", id="no fold"),
        pytest.param("factor_vae_score", {"batch_size": 1}, "batch_size is a whole", id="a cell"),
        pytest.param("factor_vae_score", {"n_train": 0}, "n_train is a whole", id="no vote"),
        pytest.param("beta_vae_score", {"batch_size": 0}, "batch_size is a whole", id="no cell"),
    ],
)
def test_counts_that_leave_nothing_to_count_are_refused_by_name(metric, options, named):
    rng = np.random.default_rng(0)

    with pytest.raises(ValueError, match=named):
        getattr(bs.metrics, metric)(rng.normal(size=(60, 3)), rng.normal(size=(60, 2)), **options)


def test_nullable_numbers_with_a_missing_one_are_numbers() -> None:
    rng = np.random.default_rng(0)
    z, depth = rng.normal(size=(200, 2)), pd.Series(rng.normal(size=200))
    depth[3] = np.nan

    nullable, plain = (mig(z, column) for column in (depth.astype("Float64"), depth))

    assert float(nullable) == float(plain)
