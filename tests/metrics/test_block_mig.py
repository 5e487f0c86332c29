"""The gap between a factor's own block and the best other."""

import numpy as np
import pandas as pd
import pytest

from betascvi._errors import UndefinedScoreError, UnknownFactorError
from betascvi.factors import CodedFactor
from betascvi.metrics import block_mig

BLOCKS = {"condition": slice(0, 1), "batch": slice(1, 3), "free": [3, 4]}


@pytest.fixture
def labels() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"condition": rng.integers(2, size=900), "batch": rng.integers(3, size=900)}
    )


@pytest.fixture
def z(labels: pd.DataFrame) -> np.ndarray:
    rng = np.random.default_rng(1)
    angle = 2 * np.pi / 3 * labels["batch"]
    own = np.column_stack([labels["condition"], np.cos(angle), np.sin(angle)])
    return np.hstack([own + 0.05 * rng.normal(size=own.shape), rng.normal(size=(900, 2))])


def test_factors_in_their_own_blocks_score_one(z: np.ndarray, labels: pd.DataFrame) -> None:
    score = block_mig(z, labels, BLOCKS)

    np.testing.assert_allclose(score.per_factor, 1, atol=0.03)


def test_a_factor_that_leaks_as_a_whole_scores_zero(z: np.ndarray, labels: pd.DataFrame) -> None:
    z[:, 3] = labels["condition"]

    score = block_mig(z, labels, BLOCKS)

    np.testing.assert_allclose(score.per_factor, [0, 1], atol=0.03)


def test_a_factor_in_another_block_scores_minus_one(z: np.ndarray, labels: pd.DataFrame) -> None:
    score = block_mig(z, labels, BLOCKS, own=["free", "batch"])

    np.testing.assert_allclose(score.per_factor, [-1, 1], atol=0.03)


def test_noise_scores_zero(labels: pd.DataFrame) -> None:
    noise = np.random.default_rng(2).normal(size=(900, 5))

    np.testing.assert_allclose(block_mig(noise, labels, BLOCKS).per_factor, 0, atol=0.03)


def test_the_information_is_that_of_the_table_of_guesses(
    z: np.ndarray, labels: pd.DataFrame
) -> None:
    score = block_mig(z, labels, BLOCKS)

    shares = np.bincount(labels["batch"]) / 900
    assert score.evidence[1, 1] == pytest.approx(-(shares * np.log(shares)).sum(), abs=0.05)
    assert score.parts["own_block"] - score.parts["best_other"] == pytest.approx(
        float(score), abs=0.05
    )


def test_names_in_any_form_find_the_same_blocks(z: np.ndarray, labels: pd.DataFrame) -> None:
    by_name = block_mig(z, labels, BLOCKS)
    by_order = block_mig(z, labels.to_numpy(), BLOCKS, ["condition", "batch"])
    by_map = block_mig(z, labels, BLOCKS, {"batch": "batch"})

    assert float(by_name) == float(by_order) == float(by_map)


def test_numbers_and_angles_have_blocks_too() -> None:
    rng = np.random.default_rng(0)
    angle, dose = rng.uniform(0, 2 * np.pi, size=1500), rng.uniform(size=1500)
    z = np.column_stack([np.cos(angle), np.sin(angle), dose])
    factors = [CodedFactor("phase", "circular", angle), CodedFactor("dose", "continuous", dose)]

    score = block_mig(z, factors, {"phase": slice(0, 2), "dose": slice(2, 3)})

    assert score.per_factor.min() > 0.6


def test_copies_of_a_cell_do_not_tell_on_each_other() -> None:
    rng = np.random.default_rng(0)
    cells = np.repeat(np.arange(70), 6)
    z, level = rng.normal(size=(70, 4))[cells], rng.integers(2, size=70)[cells]
    blocks = {"own": [0, 1], "other": [2, 3]}

    torn = block_mig(z, level, blocks, ["own"])
    whole = block_mig(z, level, blocks, ["own"], groups=cells)

    assert torn.parts["own_block"] > 0.8
    assert whole.parts["own_block"] < 0.2


def test_a_factor_without_a_block_is_refused_by_name(z: np.ndarray, labels: pd.DataFrame) -> None:
    with pytest.raises(UnknownFactorError, match="factor 'batch' has no block of its own"):
        block_mig(z, labels, {"condition": slice(0, 1), "free": slice(3, 5)})


def test_one_block_is_refused(z: np.ndarray, labels: pd.DataFrame) -> None:
    with pytest.raises(UndefinedScoreError, match="compares blocks and needs two"):
        block_mig(z, labels, {"condition": slice(0, 1)})


@pytest.mark.parametrize("axes", [slice(5, 5), slice(3, 9), [], [9], [0.5]], ids=repr)
def test_a_block_that_is_empty_or_beyond_z_is_refused(
    z: np.ndarray, labels: pd.DataFrame, axes: slice | list[int]
) -> None:
    with pytest.raises(ValueError, match="block 'free' holds no axis"):
        block_mig(z, labels, {**BLOCKS, "free": axes})


def test_owners_for_fewer_factors_are_refused(z: np.ndarray, labels: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="got 1 for 2 factors"):
        block_mig(z, labels, BLOCKS, ["free"])
