"""``decode``: any latent position to expected expression, under the covariates asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData

from betascvi import BetaSCVI
from betascvi._errors import UnknownFactorError

SETTING = {"age": 0.3, "score": 0.5}
ALL_SET = {"condition": "control", "site": "north", **SETTING}


@pytest.fixture(scope="module")
def z(fitted: BetaSCVI) -> np.ndarray:
    return np.asarray(fitted.get_latent_representation())


@pytest.fixture(scope="module")
def levels(fitted: BetaSCVI) -> dict[str, list[str]]:
    obs = fitted.adata.obs
    return {name: sorted(obs[name].astype(str).unique()) for name in ("batch", "condition", "site")}


@pytest.fixture(scope="module")
def one_setting(levels: dict[str, list[str]]) -> dict[str, Any]:
    return {name: values[0] for name, values in levels.items()} | SETTING


def test_expected_expression_adds_up_to_the_library_size(
    fitted: BetaSCVI, z: np.ndarray, one_setting: dict[str, Any]
) -> None:
    mu = fitted.decode(z, one_setting, library_size=5000.0)

    assert mu.shape == (120, 60)
    assert (mu >= 0).all()
    np.testing.assert_allclose(mu.sum(1), 5000.0, rtol=1e-4)


def test_every_cell_may_have_its_own_library_size(
    fitted: BetaSCVI, z: np.ndarray, one_setting: dict[str, Any]
) -> None:
    sizes = np.linspace(10.0, 2000.0, len(z))

    mu = fitted.decode(z, one_setting, library_size=sizes)

    np.testing.assert_allclose(mu.sum(1), sizes, rtol=1e-4)


def test_decoding_is_deterministic_to_the_last_bit(
    fitted: BetaSCVI, z: np.ndarray, one_setting: dict[str, Any]
) -> None:
    np.testing.assert_array_equal(fitted.decode(z, one_setting), fitted.decode(z, one_setting))


@pytest.mark.parametrize("size", [1, 7, 119, 120, 1000])
def test_the_number_of_cells_decoded_at_once_does_not_matter(
    fitted: BetaSCVI, z: np.ndarray, one_setting: dict[str, Any], size: int
) -> None:
    np.testing.assert_allclose(
        fitted.decode(z, one_setting, batch_size=size), fitted.decode(z, one_setting), rtol=1e-5
    )


def test_decoding_leaves_the_random_numbers_of_torch_alone(
    fitted: BetaSCVI, z: np.ndarray, one_setting: dict[str, Any]
) -> None:
    before = torch.get_rng_state()

    fitted.decode(z, one_setting)

    assert torch.equal(torch.get_rng_state(), before)


def test_each_cell_may_have_its_own_level(
    fitted: BetaSCVI, z: np.ndarray, one_setting: dict[str, Any], levels: dict[str, list[str]]
) -> None:
    batches = np.array(levels["batch"])[np.arange(len(z)) % len(levels["batch"])]

    mixed = fitted.decode(z, {**one_setting, "batch": batches})

    for level in levels["batch"]:
        alone = fitted.decode(z, {**one_setting, "batch": level})
        np.testing.assert_allclose(mixed[batches == level], alone[batches == level], rtol=1e-5)


@pytest.mark.parametrize("name", ["batch", "condition", "site"])
def test_a_categorical_covariate_left_out_is_averaged_over_its_levels(
    fitted: BetaSCVI, z: np.ndarray, one_setting: dict[str, Any], levels: dict[str, list[str]],
    name: str,
) -> None:  # fmt: skip
    each = [fitted.decode(z, {**one_setting, name: level}) for level in levels[name]]
    left_out = {k: v for k, v in one_setting.items() if k != name}

    mu = fitted.decode(z, left_out)

    np.testing.assert_allclose(mu, np.mean(each, axis=0), rtol=1e-4)


def test_all_categorical_covariates_left_out_are_averaged_over_their_combinations(
    fitted: BetaSCVI, z: np.ndarray, levels: dict[str, list[str]]
) -> None:
    each = [
        fitted.decode(z[:5], {"batch": b, "condition": c, "site": s, **SETTING})
        for b in levels["batch"] for c in levels["condition"] for s in levels["site"]
    ]  # fmt: skip

    np.testing.assert_allclose(fitted.decode(z[:5], SETTING), np.mean(each, axis=0), rtol=1e-4)


@pytest.mark.parametrize("name", ["batch", "condition", "site", "age", "score"])
def test_every_covariate_moves_the_expression(
    fitted: BetaSCVI, z: np.ndarray, one_setting: dict[str, Any], levels: dict[str, list[str]],
    name: str,
) -> None:  # fmt: skip
    other = levels[name][1] if name in levels else 3.0

    here, there = fitted.decode(z, one_setting), fitted.decode(z, {**one_setting, name: other})

    assert np.abs(here - there).max() > 1e-3


def test_decoding_under_the_cells_own_covariates_is_the_models_own_reconstruction(
    fitted: BetaSCVI, z: np.ndarray
) -> None:
    obs = fitted.adata.obs
    own = {name: obs[name].to_numpy() for name in ("batch", "condition", "site", "age", "score")}
    totals = np.asarray(fitted.adata.layers["counts"].sum(1)).ravel()

    mu = fitted.decode(z, own, library_size=totals)

    np.testing.assert_allclose(mu, means_at(fitted, fitted.adata, z), rtol=1e-4)


def means_at(
    model: BetaSCVI, adata: AnnData, z: np.ndarray, batch: int | None = None
) -> np.ndarray:
    """scvi-tools' own generative pass on the cells of ``adata``, at given latent positions."""
    parts, start = [], 0
    with torch.inference_mode():
        for tensors in model._make_data_loader(adata=adata, batch_size=50):
            here = torch.as_tensor(z[start : start + len(tensors["X"])])
            start += len(here)
            library = tensors["X"].sum(1, keepdim=True).log()
            inputs = model.module._get_generative_input(tensors, {"z": here, "library": library})
            outputs = model.module.generative(**inputs, transform_batch=batch)
            parts.append(outputs["px"].mean.numpy())
    return np.concatenate(parts)


def test_decoding_agrees_with_normalised_expression_at_the_same_position(
    plain: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = list(plain.adata.obs["batch"].cat.categories)
    z = plain.get_latent_representation()
    sample = torch.distributions.Normal.rsample
    # scvi-tools decodes a sample of the posterior: without its noise it is the mean
    monkeypatch.setattr(
        torch.distributions.Normal, "rsample",
        lambda self, sample_shape=torch.Size(): (sample(self, sample_shape), self.loc)[1],
    )  # fmt: skip

    for batch in batches:
        theirs = plain.get_normalized_expression(
            transform_batch=batch, library_size=1e4, return_numpy=True
        )
        np.testing.assert_allclose(plain.decode(z, {"batch": batch}), theirs, rtol=1e-3)


def test_a_size_factor_takes_the_place_of_the_library_size(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model({"size_factor_key": "size"})
    model.train(**quick)
    z = model.get_latent_representation()

    once, twice = model.decode(z, library_size=1.0), model.decode(z, library_size=2.0)

    np.testing.assert_allclose(twice, 2.0 * once, rtol=1e-5)


@pytest.mark.parametrize("likelihood", ["zinb", "poisson", "normal"])
@pytest.mark.parametrize("representation", ["one-hot", "embedding"])
def test_every_likelihood_decodes(
    make_model: Callable[..., BetaSCVI], covariates: dict[str, Any], quick: dict[str, Any],
    likelihood: str, representation: str,
) -> None:  # fmt: skip
    model = make_model(covariates, gene_likelihood=likelihood, batch_representation=representation)
    model.train(**quick)

    mu = model.decode(model.get_latent_representation(), SETTING)

    np.testing.assert_allclose(mu.sum(1), 1e4, rtol=1e-4)


def test_a_model_without_covariates_decodes_without_any(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    model = make_model()
    model.train(**quick)

    assert model.decode(np.zeros((1, 4))).shape == (1, 60)


def test_no_position_decodes_to_no_cell(fitted: BetaSCVI, one_setting: dict[str, Any]) -> None:
    assert fitted.decode(np.zeros((0, 4)), one_setting).shape == (0, 60)


def test_batches_whose_names_are_numbers_may_be_given_as_numbers(
    adata: AnnData, quick: dict[str, Any]
) -> None:
    adata.obs["lot"] = np.arange(adata.n_obs) % 2 + 1
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="lot")
    model = BetaSCVI(adata, n_hidden=8, n_latent=4)
    model.train(**quick)
    z = model.get_latent_representation()

    np.testing.assert_array_equal(model.decode(z, {"lot": 2}), model.decode(z, {"lot": "2"}))


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(np.zeros((3, 5)), id="too many axes"),
        pytest.param(np.zeros(4), id="one position without its row"),
        pytest.param(np.zeros((1, 2, 4)), id="three dimensions"),
    ],
)
def test_positions_of_the_wrong_shape_are_refused_with_the_right_one(
    fitted: BetaSCVI, one_setting: dict[str, Any], bad: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=r"\(cells, 4\)"):
        fitted.decode(bad, one_setting)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_that_are_no_numbers_are_refused(
    fitted: BetaSCVI, one_setting: dict[str, Any], value: float
) -> None:
    with pytest.raises(ValueError, match="1 missing or infinite"):
        fitted.decode(np.array([[0.0, value, 0.0, 0.0]]), one_setting)


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan, np.ones(3)], ids=str)
def test_an_impossible_library_size_is_refused(
    fitted: BetaSCVI, z: np.ndarray, one_setting: dict[str, Any], size: Any
) -> None:
    with pytest.raises(ValueError, match="library_size"):
        fitted.decode(z, one_setting, library_size=size)


@pytest.mark.parametrize(
    ("wish", "error", "message"),
    [
        ({"batc": "x"}, UnknownFactorError, "not conditioned on 'batc'"),
        ({"cell_type": "x"}, UnknownFactorError, "not conditioned on 'cell_type'"),
        ({"site": "nort"}, UnknownFactorError, "did you mean 'north'"),
        ({"site": ["north", "south"]}, ValueError, "site"),
        ({"site": None}, UnknownFactorError, "site"),
        ({"age": "old"}, ValueError, "age"),
        ({"age": np.nan}, ValueError, "age"),
    ],
    ids=["unknown covariate", "a label", "unknown level", "wrong length", "no level",
         "text for a number", "a missing number"],
)  # fmt: skip
def test_a_setting_that_cannot_be_decoded_is_refused(
    fitted: BetaSCVI, z: np.ndarray, one_setting: dict[str, Any], wish: dict[str, Any],
    error: type[Exception], message: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=message):
        fitted.decode(z, {**one_setting, **wish})


def test_a_continuous_covariate_left_out_is_asked_for(fitted: BetaSCVI, z: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\['age', 'score'\]"):
        fitted.decode(z)


def test_an_untrained_model_says_so_when_it_decodes(make_model: Callable[..., BetaSCVI]) -> None:
    with pytest.raises(RuntimeError, match="untrained"):
        make_model().decode(np.zeros((1, 4)))
