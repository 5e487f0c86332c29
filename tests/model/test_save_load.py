"""What is saved comes back: every argument, every weight, every registered column."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData
from torch import Tensor

from betascvi import Anchor, BetaSCVI, Factor
from betascvi.objectives import BetaVAE
from betascvi.schedules import Cyclical, Linear


def absolute_plus_one(x: Tensor) -> Tensor:
    """A variance activation that pickle can find again."""
    return x.abs() + 1.0


# A value that is not the default, for every argument of the constructor that has another one.
OTHER_VALUES: dict[str, Any] = {
    "n_hidden": 24,
    "n_latent": 3,
    "n_layers": 2,
    "dropout_rate": 0.33,
    "dispersion": "gene-batch",
    "gene_likelihood": "zinb",
    "log_variational": False,
    "encode_covariates": True,
    "deeply_inject_covariates": False,
    "batch_representation": "embedding",
    "use_batch_norm": "encoder",
    "use_layer_norm": "decoder",
    "extra_payload_autotune": True,
    "var_activation": absolute_plus_one,
    "extra_encoder_kwargs": {"bias": False},
    "extra_decoder_kwargs": {"pooling": "logit", "n_profiles": 3},
    "batch_embedding_kwargs": {"embedding_dim": 7},
    "objective": BetaVAE(beta=Cyclical(Linear(0.0, 4.0, end=0.5), cycles=3), free_bits=0.2),
    "decoder": "additive",
    "anchors": (Anchor("cell_type", variance=0.1, label_noise=0.1), Anchor("donor", mmd=0.0)),
}
ONLY_ONE_VALUE = {"use_observed_lib_size", "latent_distribution"}
NEEDS: dict[str, dict[str, Any]] = {
    "extra_decoder_kwargs": {"decoder": "additive"},
    "batch_embedding_kwargs": {"batch_representation": "embedding"},
}
WITH_FACTORS: dict[str, Any] = {"factor_keys": ["cell_type", "donor"]}


def constructor() -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(BetaSCVI.__init__).parameters)
    return {k: v for k, v in parameters.items() if k not in {"self", "adata", "registry"}}


def reload(model: BetaSCVI, folder: Path, adata: AnnData | None = None) -> BetaSCVI:
    model.save(folder / "model", overwrite=True)
    return BetaSCVI.load(folder / "model", adata=adata or model.adata, accelerator="cpu")


def test_every_argument_of_the_constructor_has_a_case_here() -> None:
    assert set(constructor()) == set(OTHER_VALUES) | ONLY_ONE_VALUE


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_the_case_of_an_argument_is_not_its_default(name: str) -> None:
    assert OTHER_VALUES[name] != constructor()[name].default


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_an_argument_survives_save_and_load_with_the_numbers_it_makes(
    make_model: Callable[..., BetaSCVI], covariates: dict[str, Any], tmp_path: Path, name: str
) -> None:
    setup = {**covariates, **WITH_FACTORS}
    model = make_model(setup, **{name: OTHER_VALUES[name], **NEEDS.get(name, {})})
    model.is_trained_ = True
    model.module.eval()

    again = reload(model, tmp_path)

    assert again.init_params_["non_kwargs"][name] == OTHER_VALUES[name]
    assert again.init_params_ == model.init_params_
    weights, wanted = again.module.state_dict(), model.module.state_dict()
    assert list(weights) == list(wanted)
    assert all(torch.equal(weights[key], wanted[key]) for key in wanted)
    for ours, theirs in zip(numbers_of(again), numbers_of(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def numbers_of(model: BetaSCVI) -> tuple[np.ndarray, ...]:
    mean, variance = model.get_latent_representation(return_dist=True)
    return mean, variance, model.decode(mean, {"age": 0.0, "score": 0.5})


def test_all_other_values_together_survive_save_and_load(
    make_model: Callable[..., BetaSCVI], covariates: dict[str, Any], tmp_path: Path
) -> None:
    model = make_model({**covariates, **WITH_FACTORS}, **OTHER_VALUES)
    model.is_trained_ = True
    model.module.eval()

    again = reload(model, tmp_path)

    assert again.init_params_ == model.init_params_
    assert again.module.objective == OTHER_VALUES["objective"]
    np.testing.assert_array_equal(
        again.get_latent_representation(), model.get_latent_representation()
    )


def test_the_history_and_the_summary_of_training_come_back(
    fitted: BetaSCVI, tmp_path: Path
) -> None:
    again = reload(fitted, tmp_path)

    assert again.is_trained_
    assert again.training_summary_ == fitted.training_summary_
    assert set(again.history) == set(fitted.history)


def test_a_loaded_model_trains_on(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], tmp_path: Path
) -> None:
    model = make_model(objective=BetaVAE(beta=Linear(0.0, 2.0)))
    model.train(**quick)
    again = reload(model, tmp_path)

    again.train(**quick)

    assert float(again.history["kl_weight"].iloc[-1, 0]) == 2.0


def test_a_model_saved_with_its_cells_is_loaded_without_any(
    make_model: Callable[..., BetaSCVI],
    covariates: dict[str, Any],
    quick: dict[str, Any],
    tmp_path: Path,
) -> None:
    factors = ["cell_type", Factor("phase_angle", "circular")]
    model = make_model({**covariates, "factor_keys": factors})
    model.train(**quick)
    model.save(tmp_path / "model", save_anndata=True)

    again = BetaSCVI.load(tmp_path / "model", accelerator="cpu")

    np.testing.assert_allclose(
        again.get_latent_representation(), model.get_latent_representation(), rtol=1e-5, atol=1e-6
    )


def test_a_model_can_be_loaded_without_any_cells(fitted: BetaSCVI, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")

    again = BetaSCVI.load(tmp_path / "model", adata=False, accelerator="cpu")

    z, setting = np.zeros((2, 4), dtype=np.float32), {"age": 0.0, "score": 0.0}
    np.testing.assert_array_equal(again.decode(z, setting), fitted.decode(z, setting))


@pytest.mark.filterwarnings("ignore:`var_names` for the loaded")
def test_a_model_is_not_loaded_on_other_genes(
    fitted: BetaSCVI, adata: AnnData, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model")

    with pytest.raises(ValueError, match=r"genes|vars|shape"):
        BetaSCVI.load(tmp_path / "model", adata=adata[:, :50].copy(), accelerator="cpu")


def test_genes_of_another_name_are_a_warning(
    fitted: BetaSCVI, adata: AnnData, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model")
    adata.var_names = [f"other_{i}" for i in range(adata.n_vars)]

    with pytest.warns(UserWarning, match="var_names"):
        BetaSCVI.load(tmp_path / "model", adata=adata, accelerator="cpu")


def test_a_model_of_another_class_is_not_loaded(
    adata: AnnData, quick: dict[str, Any], tmp_path: Path
) -> None:
    from scvi.model import SCVI

    SCVI.setup_anndata(adata, layer="counts")
    theirs = SCVI(adata, n_hidden=16, n_latent=4)
    theirs.train(**quick)
    theirs.save(tmp_path / "model")

    with pytest.raises(ValueError, match="different class"):
        BetaSCVI.load(tmp_path / "model", adata=adata, accelerator="cpu")


def test_the_registry_can_be_read_without_the_model(fitted: BetaSCVI, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")

    registry = BetaSCVI.load_registry(tmp_path / "model")

    assert registry["model_name"] == "BetaSCVI"
    assert registry["setup_args"]["batch_key"] == "batch"
