"""Columns of ``obs`` as factors: kinds, codes, missing labels, refusals."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betascvi._errors import FactorError, UnknownFactorError
from betascvi.factors import CodedFactor, Factor, as_factors, code_factor, infer_kind

MISSING = [None, np.nan, pd.NA, pd.NaT]


def code(values: Any, factor: Factor | None = None, **options: Any) -> CodedFactor:
    return code_factor(pd.Series(values), factor or Factor("f"), **options)


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=40))
def test_codes_lead_back_to_the_labels(labels: list[str | None]) -> None:
    coded = code(pd.Series(labels, dtype=object), Factor("f", "categorical"))

    back = [
        coded.levels[c] if known else None
        for c, known in zip(coded.values, coded.known, strict=True)
    ]

    assert back == labels
    assert list(coded.levels) == sorted({label for label in labels if label is not None})


@given(st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=40))
def test_numbers_stay_what_they_are(values: list[float | None]) -> None:
    coded = code(pd.Series(values, dtype=object), Factor("f", "continuous"))

    assert coded.known.tolist() == [value is not None for value in values]
    assert coded.values[coded.known].tolist() == [v for v in values if v is not None]


@given(st.lists(st.floats(-50.0, 50.0), min_size=1, max_size=20))
def test_angles_are_wrapped_once_round_the_circle(angles: list[float]) -> None:
    coded = code(angles, Factor("f", "circular"))

    assert ((coded.values >= 0) & (coded.values <= 2 * np.pi)).all()
    np.testing.assert_allclose(np.cos(coded.values), np.cos(angles), atol=1e-9)
    np.testing.assert_allclose(np.sin(coded.values), np.sin(angles), atol=1e-9)


@pytest.mark.parametrize("missing", MISSING, ids=repr)
@pytest.mark.parametrize(
    ("known", "kind"), [("x", "categorical"), (1.5, "continuous"), (True, "categorical")], ids=repr
)
def test_everything_pandas_calls_missing_is_missing(missing: Any, known: Any, kind: str) -> None:
    coded = code(pd.Series([known, missing, known], dtype=object))

    assert coded.kind == kind
    assert coded.known.tolist() == [True, False, True]


def test_levels_keep_the_order_of_the_categories_that_occur() -> None:
    column = pd.Categorical(["low", "high", "low"], categories=["low", "mid", "high"])

    assert code(column).levels == ("low", "high")


def test_levels_that_are_numbers_are_ordered_as_numbers() -> None:
    assert code([10, 9, 2], Factor("f", "categorical")).levels == ("2", "9", "10")


def test_given_levels_fix_the_codes() -> None:
    coded = code(["b", "a"], levels=["b", "c", "a"])

    assert coded.values.tolist() == [0, 2]
    assert coded.levels == ("b", "c", "a")


@pytest.mark.parametrize("levels", [("1", "2"), ("1.0", "2.0")])
def test_whole_numbers_are_the_same_levels_as_the_floats_that_pandas_makes_of_them(
    levels: tuple[str, str],
) -> None:
    named = Factor("f", "categorical")

    whole = code_factor(pd.Series([2, 1, 2]), named, levels)
    floats = code_factor(pd.Series([2.0, np.nan, 2.0]), named, levels)

    assert whole.values.tolist() == [1, 0, 1]
    assert floats.values.tolist() == [1, -1, 1]
    with pytest.raises(UnknownFactorError, match=r"1\.5"):
        code_factor(pd.Series([1.5]), named, levels)


def test_factors_are_named_by_any_sequence_and_not_by_a_mapping() -> None:
    assert as_factors(np.array(["a", "b"])) == as_factors(pd.Index(["a", "b"]))
    with pytest.raises(FactorError, match="got a mapping"):
        as_factors({"angle": "circular"})  # type: ignore[arg-type]  # that is the test


def test_a_level_outside_the_given_ones_is_refused_with_the_closest() -> None:
    with pytest.raises(UnknownFactorError, match=r"\['stimm'\].*did you mean 'stim'"):
        code(["ctrl", "stimm"], levels=["ctrl", "stim"])


def test_a_level_outside_the_given_ones_may_be_a_missing_label() -> None:
    coded = code(["ctrl", "new"], levels=["ctrl", "stim"], unseen="missing")

    assert coded.values.tolist() == [0, -1]
    assert coded.known.tolist() == [True, False]


@pytest.mark.parametrize("values", [["a", "a", None], [2.0, 2.0, np.nan]], ids=["level", "number"])
def test_a_single_value_is_refused_for_training_only(values: list[Any]) -> None:
    assert code(values).known.sum() == 2
    with pytest.raises(FactorError, match=r"'f' has a single level.*drop it"):
        code(values, training=True)


@pytest.mark.parametrize("kind", ["categorical", "continuous", "circular"])
def test_a_factor_without_any_label_is_refused_for_training_only(kind: Any) -> None:
    values = pd.Series([np.nan, np.nan], dtype=object)

    assert code(values, Factor("f", kind)).known.sum() == 0
    with pytest.raises(FactorError, match="no known label"):
        code(values, Factor("f", kind), training=True)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.Categorical([1, 2]), "categorical"),
        ([True, False], "categorical"),
        (["a", "b"], "categorical"),
        ([1, 2], "continuous"),
        ([1.0, np.nan], "continuous"),
        (pd.array([1, pd.NA], dtype="Int64"), "continuous"),
        (pd.array([True, pd.NA], dtype="boolean"), "categorical"),
        (pd.array(["a", pd.NA], dtype="string"), "categorical"),
    ],
    ids=str,
)
def test_kinds_are_inferred_from_the_type_of_the_column(values: Any, kind: str) -> None:
    assert infer_kind(pd.Series(values), "f") == kind


def test_few_whole_numbers_are_said_to_be_read_as_numbers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, logger="betascvi"):
        infer_kind(pd.Series([1, 2, 3, 1]), "lane")

    assert "Factor('lane', kind='categorical')" in caplog.text


def test_fractions_are_read_as_numbers_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="betascvi"):
        infer_kind(pd.Series([1.5, 2.0]), "depth")

    assert caplog.text == ""


def test_mixed_types_are_refused_with_the_cure() -> None:
    with pytest.raises(FactorError, match=r"mixes number and str.*astype\(str\)"):
        code(pd.Series(["a", 1], dtype=object), Factor("f", "categorical"))


@pytest.mark.parametrize("kind", ["continuous", "circular"])
def test_text_is_no_number(kind: Any) -> None:
    with pytest.raises(FactorError, match=rf"'f' is {kind} but holds 'high'"):
        code(pd.Series([1.0, "high"], dtype=object), Factor("f", kind))


def test_infinite_values_are_refused_with_their_number() -> None:
    with pytest.raises(FactorError, match="2 infinite"):
        code([1.0, np.inf, -np.inf])


def test_names_and_factors_may_be_mixed() -> None:
    factors = as_factors(["batch", Factor("phase", "circular")])

    assert factors == (Factor("batch"), Factor("phase", "circular"))


def test_one_name_alone_is_one_factor() -> None:
    assert as_factors("batch") == (Factor("batch"),)


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(FactorError, match=r"\['batch'\] are named twice"):
        as_factors(["batch", Factor("batch", "categorical")])


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(FactorError, match=r"circular.*'ordinal'"):
        Factor("f", "ordinal")  # type: ignore[arg-type]


def test_factors_are_saved_under_the_public_path() -> None:
    factor = Factor("phase", "circular")

    assert Factor.__module__ == "betascvi.factors"
    assert pickle.loads(pickle.dumps(factor)) == factor
