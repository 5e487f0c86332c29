"""The beta-VAE and FactorVAE scores, on labelled cells and on a simulator."""

from collections.abc import Callable

import numpy as np
import pytest

from betascvi._errors import UndefinedScoreError
from betascvi._results import Score
from betascvi.metrics import beta_vae_score, factor_vae_score

FEW = {"n_train": 800, "batch_size": 32}
either_score = pytest.mark.parametrize("score", [beta_vae_score, factor_vae_score])


class Encoder:
    """Four independent factors, seen through a matrix."""

    def __init__(self, mixing: np.ndarray) -> None:
        self.mixing = mixing

    def sample_factors(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(6, size=(n, 4))

    def embed(self, factors: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return factors @ self.mixing + 0.05 * rng.normal(size=(len(factors), self.mixing.shape[1]))


@either_score
def test_a_perfect_code_scores_one(score: Callable[..., Score], known_factors) -> None:
    z, factors = known_factors

    assert float(score(z + 0.01 * np.random.default_rng(0).normal(size=z.shape), factors,
                       **FEW)) > 0.99  # fmt: skip


@either_score
def test_a_perfect_encoder_of_a_simulator_scores_one(score: Callable[..., Score]) -> None:
    assert float(score(Encoder(np.eye(4)), **FEW)) > 0.99


@either_score
def test_noise_scores_chance(score: Callable[..., Score]) -> None:
    rng = np.random.default_rng(0)

    result = score(rng.normal(size=(2000, 6)), rng.integers(4, size=(2000, 4)), **FEW)

    assert result.parts["chance"] == 0.25
    assert float(result) == pytest.approx(0.25, abs=0.1)


@either_score
def test_a_code_that_stores_every_factor_twice_scores_one(
    score: Callable[..., Score], known_factors
) -> None:
    z, factors = known_factors
    z = z + 0.01 * np.random.default_rng(0).normal(size=z.shape)

    assert float(score(np.hstack([z, z]), factors, **FEW)) > 0.99


def test_a_constant_code_is_worth_nothing(known_factors) -> None:
    z, factors = known_factors

    assert float(factor_vae_score(np.full_like(z, 0.1), factors, **FEW)) == 0
    assert float(beta_vae_score(np.full_like(z, 0.1), factors, **FEW)) < 0.35


@either_score
def test_a_rotated_code_is_hardly_punished_as_documented(score: Callable[..., Score]) -> None:
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]

    assert float(score(Encoder(rotation), **FEW)) > 0.9


def test_an_axis_with_two_factors_costs_one_of_them() -> None:
    mixing = np.eye(4)[:, [0, 0, 2, 3]] + np.eye(4)[:, [1, 1, 2, 3]]

    assert float(factor_vae_score(Encoder(mixing[:, [0, 2, 3]]), **FEW)) < 0.9


def test_cells_and_simulator_agree_where_the_factors_are_independent() -> None:
    rng = np.random.default_rng(0)
    encoder = Encoder(rng.normal(size=(4, 5)))
    factors = encoder.sample_factors(8000, rng)

    from_cells = factor_vae_score(encoder.embed(factors, rng), factors, **FEW)

    assert float(from_cells) == pytest.approx(float(factor_vae_score(encoder, **FEW)), abs=0.06)


def test_dead_axes_get_no_vote(known_factors) -> None:
    z, factors = known_factors
    z = z + 0.01 * np.random.default_rng(0).normal(size=z.shape)

    score = factor_vae_score(np.column_stack([np.zeros(len(z)), z]), factors, **FEW)

    assert score.parts["n_dead_axes"] == 1
    assert score.evidence[0].sum() == 0
    assert float(score) > 0.99


@either_score
def test_the_same_seed_gives_the_same_score(score: Callable[..., Score], known_factors) -> None:
    z = known_factors.z + np.random.default_rng(0).normal(size=known_factors.z.shape)

    one, other = (score(z, known_factors.factors, seed=3, **FEW) for _ in range(2))

    assert float(one) == float(other)


@either_score
def test_factors_may_lack_labels_of_different_cells(
    score: Callable[..., Score], known_factors
) -> None:
    columns = [known_factors.factors[:, i].astype(float) for i in range(2)]
    columns[1][::10] = np.nan

    found = score(known_factors.z[:, :2], columns, discrete=True)

    assert float(found) > 0.95
    columns[0][:] = 0.0
    columns[0][::10] = 1.0  # where the other has no label
    with pytest.raises(UndefinedScoreError, match="a single level on the 1080 cells"):
        score(known_factors.z[:, :2], columns, discrete=True)


def test_points_that_share_one_factor_are_refused(known_factors) -> None:
    with pytest.raises(UndefinedScoreError, match="share one factor by chance"):
        beta_vae_score(known_factors.z, known_factors.factors, n_train=1)
