"""DRVI's pairwise scores: its own numbers, kept and live."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from betascvi._errors import UndefinedScoreError
from betascvi.metrics import (
    latent_matching,
    most_similar_averaging,
    most_similar_gap,
    pairwise_mutual_information,
    pairwise_neighbours,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "pairwise_drvi.json").read_text())
PAIRWISE = {"smi": pairwise_mutual_information, "spn": pairwise_neighbours}
AGGREGATIONS = [latent_matching, most_similar_averaging, most_similar_gap]
every_case = pytest.mark.parametrize(
    "case", [pytest.param(c, id=f"{c['n_axes']} axes") for c in GOLDEN["cases"]]
)


def planted_code(n: int, n_axes: int, n_levels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Levels of unlike size; axis k is raised by 3 in the cells of level k."""
    rng = np.random.default_rng(seed)
    share = np.arange(1, n_levels + 1) / (n_levels * (n_levels + 1) / 2)
    level = rng.choice(n_levels, p=share, size=n)
    z = rng.normal(size=(n, n_axes))
    z[:, : min(n_axes, n_levels)] += 3 * np.eye(n_levels)[level][:, :n_axes]
    return z, level


def code_of(case: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return planted_code(case["n_cells"], case["n_axes"], case["n_levels"], case["seed"])


@every_case
@pytest.mark.parametrize("similarity", ["smi", "spn"])
def test_matrices_are_drvis(case: dict[str, Any], similarity: str) -> None:
    matrix = PAIRWISE[similarity](*code_of(case))

    expected = case["scores"][similarity]["matrix"]
    np.testing.assert_allclose(matrix, expected, atol=GOLDEN["tolerance"])


@every_case
@pytest.mark.parametrize("similarity", ["smi", "spn"])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_aggregations_are_drvis(case: dict[str, Any], similarity: str, aggregation: Any) -> None:
    score = aggregation(*code_of(case), similarity=similarity)

    expected = case["scores"][similarity][aggregation.__name__]
    assert float(score) == pytest.approx(expected, abs=GOLDEN["tolerance"])


@pytest.mark.parametrize("seed", [10, 11])
def test_matrices_are_those_of_the_drvi_that_is_installed(seed: int) -> None:
    drvi = pytest.importorskip("drvi.utils.metrics", reason="drvi-py is not installed")
    z, level = planted_code(400, 7, 5, seed)
    one_hot = np.eye(5)[level]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # drvi calls what scikit-learn gave up
        smi = drvi.discrete_scaled_mutual_info_score(z, gt_one_hot=one_hot)
        spn = drvi.nn_alignment_score(z, gt_one_hot=one_hot)

    np.testing.assert_allclose(pairwise_mutual_information(z, level), smi, atol=1e-9)
    np.testing.assert_allclose(pairwise_neighbours(z, level), spn, atol=1e-9)


def test_levels_of_several_factors_stand_side_by_side() -> None:
    z, level = planted_code(300, 4, 3, 0)
    other = np.random.default_rng(1).integers(2, size=300)

    both = pairwise_mutual_information(z, [level, other])

    np.testing.assert_allclose(both[:, :3], pairwise_mutual_information(z, level))
    np.testing.assert_allclose(both[:, 3:], pairwise_mutual_information(z, other))


def test_a_constant_axis_on_cells_sorted_by_label_has_no_neighbours_of_its_own() -> None:
    level = np.repeat([0, 1, 2], 400)

    assert pairwise_neighbours(np.full((1200, 1), 0.1), level).max() < 0.1


def test_noise_scores_next_to_nothing() -> None:
    rng = np.random.default_rng(0)
    z, level = rng.normal(size=(3000, 12)), rng.integers(5, size=3000)

    assert float(latent_matching(z, level)) == pytest.approx(0.006, abs=0.006)
    assert float(latent_matching(z, level, similarity="spn")) == pytest.approx(0.03, abs=0.02)


def test_a_perfect_code_of_levels_scores_one_and_its_gap_less() -> None:
    level = np.arange(600) % 4
    z = np.eye(4)[level] + 1e-3 * np.random.default_rng(0).normal(size=(600, 4))

    scores = [
        float(score(z, level, similarity=similarity))
        for score in AGGREGATIONS
        for similarity in ("smi", "spn")
    ]

    np.testing.assert_allclose(scores[:4], 1, atol=0.01)
    np.testing.assert_allclose(scores[4:], 0.85, atol=0.05)


def test_a_code_that_stores_every_level_twice_keeps_matching_and_loses_the_gap() -> None:
    z = np.tile(np.eye(4)[np.arange(600) % 4], 2)
    level = np.arange(600) % 4

    assert float(latent_matching(z, level)) == pytest.approx(1)
    assert float(most_similar_averaging(z, level)) == pytest.approx(1)
    assert float(most_similar_gap(z, level)) == 0


def test_one_axis_serves_one_level_only() -> None:
    z, level = (np.arange(900) % 3)[:, None].astype(float), np.arange(900) % 3

    matched, best = latent_matching(z, level), most_similar_averaging(z, level)

    assert float(matched) == pytest.approx(float(best.evidence.max()) / 3)
    assert float(best) == pytest.approx(1)


def test_several_factors_are_matched_each_on_its_own() -> None:
    z, level = planted_code(300, 4, 3, 0)
    other = np.random.default_rng(1).integers(2, size=300)

    score = latent_matching(z, [level, other])

    alone = [float(latent_matching(z, factor)) for factor in (level, other)]
    np.testing.assert_allclose(score.per_factor, alone)
    assert float(score) == pytest.approx(np.mean(alone))
    np.testing.assert_array_equal(score.details["n_levels"], [3, 2])


def test_a_level_with_one_cell_is_refused_by_name_of_its_factor() -> None:
    level = np.r_[np.arange(99) % 2, 2]

    with pytest.raises(UndefinedScoreError, match="factor column 0 has a level with a single cell"):
        pairwise_neighbours(np.random.default_rng(0).normal(size=(100, 2)), level)


def test_an_unknown_similarity_is_refused() -> None:
    z, level = planted_code(50, 2, 2, 0)

    with pytest.raises(ValueError, match="'smi' or 'spn', got 'asc'"):
        latent_matching(z, level, similarity="asc")  # type: ignore[arg-type]  # that is the test
