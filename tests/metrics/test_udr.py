"""Unsupervised ranking: runs that agree one to one."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Lasso
from sklearn.preprocessing import StandardScaler

from betascvi._errors import UndefinedScoreError
from betascvi.metrics import udr


@pytest.fixture
def runs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(1500, 4))
    return [
        truth[:, ::-1] * [1, -2, 3, 0.5] + 0.3 * rng.normal(size=truth.shape),
        truth + 0.3 * rng.normal(size=truth.shape),
        truth @ np.linalg.qr(rng.normal(size=(4, 4)))[0],
    ]


def relative_strength(strength: np.ndarray) -> float:
    both = [(strength.max(axis=a) ** 2 / strength.sum(axis=a)).mean() for a in (0, 1)]
    return float(np.mean(both))


@pytest.mark.parametrize("method", ["lasso", "spearman"])
def test_pairwise_scores_are_the_published_ones(runs: list[np.ndarray], method: str) -> None:
    ours = udr(runs, method=method).details["pairwise"]

    scaled = [StandardScaler().fit_transform(z) for z in runs]
    strength = {
        "lasso": np.abs(Lasso(alpha=0.1).fit(scaled[0], scaled[2]).coef_).T,
        "spearman": np.abs(spearmanr(scaled[0], scaled[2]).statistic[:4, 4:]),
    }[method]
    assert ours[0, 2] == pytest.approx(relative_strength(strength), abs=1e-6)


def test_a_rotated_run_ranks_last(runs: list[np.ndarray]) -> None:
    assert udr(runs).details["per_model"].argmin() == 2


def test_a_run_scores_the_median_of_the_others(runs: list[np.ndarray]) -> None:
    score = udr([*runs, runs[0]])

    column = score.details["pairwise"][:, 1]
    assert score.details["per_model"][1] == np.median(column[[0, 2, 3]])
    assert float(score) == score.details["per_model"].mean()


def test_runs_of_noise_score_next_to_nothing() -> None:
    rng = np.random.default_rng(0)

    assert float(udr([rng.normal(size=(2000, 5)) for _ in range(3)])) < 0.01


def test_dead_axes_are_left_out_by_mask_or_by_being_constant(runs: list[np.ndarray]) -> None:
    rng = np.random.default_rng(1)
    constant = [np.column_stack([z, np.full(len(z), 0.1)]) for z in runs]
    small = [np.column_stack([z, 1e-4 * rng.normal(size=len(z))]) for z in runs]
    mask = np.array([True] * 4 + [False])

    assert float(udr(constant)) == pytest.approx(float(udr(runs)))
    assert float(udr(small, is_active=[mask] * 3)) == pytest.approx(float(udr(runs)))


def test_a_run_of_dead_axes_scores_zero(runs: list[np.ndarray]) -> None:
    assert udr([np.zeros_like(runs[0]), *runs[1:]]).details["per_model"][0] == 0


def test_runs_may_differ_in_their_number_of_axes(runs: list[np.ndarray]) -> None:
    assert 0 < float(udr([runs[0], runs[1][:, :3]])) <= 1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        pytest.param({"method": "pearson"}, "got 'pearson'", id="method"),
        pytest.param({"is_active": [np.ones(4, bool)]}, "1 masks for 3 runs", id="masks"),
    ],
)
def test_bad_arguments_are_refused(
    runs: list[np.ndarray], kwargs: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        udr(runs, **kwargs)  # type: ignore[arg-type]  # that is the test


def test_a_single_run_is_refused(runs: list[np.ndarray]) -> None:
    with pytest.raises(UndefinedScoreError, match="needs 2 or more embeddings; got 1"):
        udr(runs[:1])


def test_runs_on_other_cells_are_refused(runs: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="same cells in every run"):
        udr([runs[0], runs[1][:-1]])
