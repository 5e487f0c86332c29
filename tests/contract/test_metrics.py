"""What every metric keeps to; a new one is tested by being listed in ``METRICS``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from betascvi import metrics
from betascvi.metrics import METRICS, MetricInfo, Score

N_LEVELS = (2, 3, 4)
LIGHTER: dict[str, dict[str, Any]] = {
    "dci": {"informativeness": False},
    "beta_vae_score": {"n_train": 300, "batch_size": 16},
    "factor_vae_score": {"n_train": 300, "batch_size": 16},
}

every_metric = pytest.mark.parametrize(
    ("name", "info"), [pytest.param(name, info, id=name) for name, info in METRICS.items()]
)
scale_free = pytest.mark.parametrize(
    ("name", "info"),
    [pytest.param(name, info, id=name) for name, info in METRICS.items() if info.is_scale_free],
)
blind_to_order = pytest.mark.parametrize(
    ("name", "info"),
    [
        # Higgins and FactorVAE scores draw cells by number: another order is another draw.
        pytest.param(name, info, id=name)
        for name, info in METRICS.items()
        if name not in ("beta_vae_score", "factor_vae_score")
    ],
)


def factors_of(rng: np.random.Generator, n: int = 240) -> np.ndarray:
    return np.stack([rng.permutation(np.arange(n) % k) for k in N_LEVELS], axis=1)


def code_of(factors: np.ndarray, rng: np.random.Generator, noise: float) -> np.ndarray:
    """Every factor on an axis of its own, and one axis of noise."""
    own = factors / factors.std(axis=0) + noise * rng.normal(size=factors.shape)
    return np.column_stack([own, rng.normal(size=len(factors))])


def call(name: str, info: MetricInfo, z: np.ndarray, factors: np.ndarray) -> Score:
    """Call a metric with what it needs."""
    calls: dict[str, Callable[[], Score]] = {
        "factors": lambda: info.fn(z, factors, True, **LIGHTER.get(name, {})),
        "embedding": lambda: info.fn(z),
        "embeddings": lambda: info.fn([z, z @ np.diag(np.arange(1, z.shape[1] + 1))]),
        "blocks": lambda: info.fn(
            z, factors[:, :1], {"own": [0], "other": np.arange(1, z.shape[1])}, ["own"]
        ),
    }
    return calls[info.needs]()


@every_metric
def test_a_score_is_a_float_in_its_range_with_its_name(name: str, info: MetricInfo) -> None:
    rng = np.random.default_rng(0)
    factors = factors_of(rng)

    score = call(name, info, code_of(factors, rng, 0.5), factors)

    assert score.name == name
    assert info.range[0] <= float(score) <= info.range[1]
    assert all(np.isfinite(value) for value in score.parts.values())


@every_metric
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32 - 1), noise=st.floats(0, 10))
def test_any_code_stays_in_range(name: str, info: MetricInfo, seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    factors = factors_of(rng, 60)

    value = float(call(name, info, code_of(factors, rng, noise), factors))

    assert info.range[0] - 1e-9 <= value <= info.range[1] + 1e-9


@every_metric
def test_the_same_call_gives_the_same_number(name: str, info: MetricInfo) -> None:
    rng = np.random.default_rng(1)
    factors = factors_of(rng)
    z = code_of(factors, rng, 0.5)

    assert float(call(name, info, z, factors)) == float(call(name, info, z, factors))


@blind_to_order
def test_the_order_of_cells_does_not_matter(name: str, info: MetricInfo) -> None:
    rng = np.random.default_rng(2)
    factors = factors_of(rng)
    z, order = code_of(factors, rng, 0.3), rng.permutation(len(factors))

    before, after = call(name, info, z, factors), call(name, info, z[order], factors[order])

    # Folds are dealt by position, and trees break ties by it: the same up to the split.
    assert float(after) == pytest.approx(float(before), abs=0.05)


@every_metric
def test_the_order_of_axes_does_not_matter(name: str, info: MetricInfo) -> None:
    rng = np.random.default_rng(3)
    factors = factors_of(rng)
    z = code_of(factors, rng, 0.3)
    order = np.r_[0, 1 + rng.permutation(z.shape[1] - 1)]  # block_mig owns axis 0

    before, after = call(name, info, z, factors), call(name, info, z[:, order], factors)

    assert float(after) == pytest.approx(float(before), abs=0.03)


@scale_free
def test_a_positive_rescaling_of_an_axis_does_not_matter(name: str, info: MetricInfo) -> None:
    rng = np.random.default_rng(4)
    factors = factors_of(rng)
    z = code_of(factors, rng, 0.3)

    before, after = call(name, info, z, factors), call(name, info, z * [3, 0.2, 40, 1], factors)

    assert float(after) == pytest.approx(float(before), abs=0.02)


@pytest.mark.parametrize(
    ("name", "info"),
    [
        pytest.param(name, info, id=name)
        for name, info in METRICS.items()
        # A linear machine cannot cut out a middle level, and one axis serves one level only.
        if info.needs in ("factors", "blocks")
        and name not in ("sap", "latent_matching", "most_similar_averaging", "most_similar_gap")
    ],
)
def test_a_perfect_code_scores_near_its_best(name: str, info: MetricInfo) -> None:
    rng = np.random.default_rng(5)
    factors = factors_of(rng, 480)

    score = call(name, info, code_of(factors, rng, 0.001)[:, :3], factors)

    assert float(score) > 0.93 * info.range[1]


@pytest.mark.parametrize(
    ("name", "info"),
    [
        pytest.param(name, info, id=name)
        for name, info in METRICS.items()
        if info.noise is not None and info.needs != "embeddings"
    ],
)
def test_noise_scores_near_its_floor(name: str, info: MetricInfo) -> None:
    rng = np.random.default_rng(6)
    factors = factors_of(rng, 1200)

    score = call(name, info, rng.normal(size=(1200, 4)), factors)

    assert float(score) == pytest.approx(info.noise, abs=0.08)


@every_metric
def test_a_dead_axis_makes_nothing_infinite(name: str, info: MetricInfo) -> None:
    rng = np.random.default_rng(7)
    factors = factors_of(rng)
    z = np.column_stack([code_of(factors, rng, 0.3), np.full(len(factors), 0.1)])

    assert np.isfinite(float(call(name, info, z, factors)))


@every_metric
def test_inputs_are_left_as_they_were(name: str, info: MetricInfo) -> None:
    rng = np.random.default_rng(8)
    factors = factors_of(rng)
    z = code_of(factors, rng, 0.3)
    kept_z, kept_factors = z.copy(), factors.copy()

    call(name, info, z, factors)

    np.testing.assert_array_equal(z, kept_z)
    np.testing.assert_array_equal(factors, kept_factors)


@every_metric
def test_a_metric_is_public_under_its_name(name: str, info: MetricInfo) -> None:
    assert getattr(metrics, name) is info.fn
    assert name in metrics.__all__


@pytest.mark.parametrize("info", [pytest.param(i, id=name) for name, i in METRICS.items()])
def test_a_docstring_says_formula_source_and_what_noise_scores(info: MetricInfo) -> None:
    text = info.fn.__doc__ or ""

    assert ".. math::" in text
    assert f":cite:p:`{info.reference}`" in text or not info.reference
    assert "oise" in text or "random code" in text
