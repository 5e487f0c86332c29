"""Factors: kinds inferred or declared, missing labels, kept in the registry."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import betascvi as bs
from betascvi import BetaSCVI
from betascvi.data import FACTORS_KEY


def registered(model: BetaSCVI) -> dict[str, Any]:
    return dict(model.registry["field_registries"][FACTORS_KEY]["state_registry"])


def codes(model: BetaSCVI) -> np.ndarray:
    return np.asarray(model.adata_manager.get_from_registry(FACTORS_KEY))


def set_up(adata: AnnData, *factors: str | bs.Factor, **arguments: Any) -> BetaSCVI:
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=list(factors), **arguments)
    return BetaSCVI(adata, n_hidden=8, n_latent=3)


COLUMNS: dict[str, Callable[[int], Any]] = {
    "category": lambda n: pd.Categorical(np.array(["a", "b"])[np.arange(n) % 2]),
    "object": lambda n: np.array(["a", "b"], dtype=object)[np.arange(n) % 2],
    "string": lambda n: pd.array(np.array(["a", "b"])[np.arange(n) % 2], dtype="string"),
    "bool": lambda n: np.arange(n) % 2 == 0,
    "boolean": lambda n: pd.array(np.arange(n) % 2 == 0, dtype="boolean"),
    "category of numbers": lambda n: pd.Categorical(np.arange(n) % 2),
    "float64": lambda n: np.linspace(0, 1, n),
    "float32": lambda n: np.linspace(0, 1, n, dtype=np.float32),
    "int": lambda n: np.arange(n),
    "uint8": lambda n: np.arange(n, dtype=np.uint8),
    "Int64": lambda n: pd.array(np.arange(n), dtype="Int64"),
    "Float64": lambda n: pd.array(np.linspace(0, 1, n), dtype="Float64"),
    "object of numbers": lambda n: np.array([float(i) for i in range(n)], dtype=object),
}
CATEGORICAL = ("category", "object", "string", "bool", "boolean", "category of numbers")


@pytest.mark.parametrize("column", COLUMNS)
def test_the_kind_of_a_column_is_inferred(adata: AnnData, column: str) -> None:
    adata.obs["f"] = COLUMNS[column](adata.n_obs)

    model = set_up(adata, "f")

    assert registered(model)["kinds"] == ["categorical" if column in CATEGORICAL else "continuous"]
    assert np.isfinite(codes(model)).all()


@pytest.mark.parametrize("column", ["object", "string", "boolean", "Int64", "Float64", "category"])
def test_missing_labels_are_allowed_in_every_type_of_column(
    adata: AnnData, quick: dict[str, Any], column: str
) -> None:
    values = pd.Series(COLUMNS[column](adata.n_obs), index=adata.obs_names)
    values.iloc[:7] = pd.NA if column != "object" else None
    adata.obs["f"] = values
    model = set_up(adata, "f")

    model.train(**quick)

    known = np.isfinite(codes(model)[:, 0])
    assert known.sum() == adata.n_obs - 7
    assert not known[:7].any()


def test_levels_are_kept_in_the_order_of_the_categories(adata: AnnData) -> None:
    adata.obs["f"] = pd.Categorical(
        np.array(["low", "high"])[np.arange(adata.n_obs) % 2], categories=["low", "mid", "high"]
    )

    model = set_up(adata, "f")

    assert registered(model)["levels"] == {"f": ["low", "high"]}
    np.testing.assert_array_equal(codes(model)[:4, 0], [0.0, 1.0, 0.0, 1.0])


def test_levels_may_have_odd_characters(adata: AnnData, tmp_path: Path) -> None:
    odd = ["β/±\n 1", "CD4+ T (naïve)", "'; drop"]
    adata.obs["f"] = np.array(odd)[np.arange(adata.n_obs) % 3]
    model = set_up(adata, "f")
    model.is_trained_ = True
    model.save(tmp_path / "model")

    again = BetaSCVI.load(tmp_path / "model", adata=adata, accelerator="cpu")

    assert set(registered(again)["levels"]["f"]) == set(odd)


def test_a_circular_factor_is_declared_and_wrapped(adata: AnnData) -> None:
    adata.obs["angle"] = np.linspace(-np.pi, 3 * np.pi, adata.n_obs)

    model = set_up(adata, bs.Factor("angle", kind="circular"))

    assert registered(model)["kinds"] == ["circular"]
    np.testing.assert_allclose(np.cos(codes(model)[:, 0]), np.cos(adata.obs["angle"]), atol=1e-5)
    assert ((codes(model) >= 0) & (codes(model) < 2 * np.pi + 1e-5)).all()


def test_a_declared_kind_outweighs_the_inferred_one(adata: AnnData) -> None:
    adata.obs["lane"] = np.arange(adata.n_obs) % 4

    model = set_up(adata, bs.Factor("lane", kind="categorical"))

    assert registered(model)["kinds"] == ["categorical"]
    assert registered(model)["levels"] == {"lane": ["0", "1", "2", "3"]}


def test_whole_numbers_that_may_be_names_are_said_to_be_read_as_numbers(
    adata: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    adata.obs["lane"] = np.arange(adata.n_obs) % 4

    with caplog.at_level(logging.INFO, logger="betascvi"):
        set_up(adata, "lane")

    assert "4 distinct whole numbers and is read as continuous" in caplog.text
    assert "Factor('lane', kind='categorical')" in caplog.text


def test_factors_survive_save_and_load(adata: AnnData, tmp_path: Path) -> None:
    adata.obs.loc[adata.obs_names[:5], "donor"] = np.nan
    model = set_up(adata, "donor", "age", bs.Factor("phase_angle", kind="circular"))
    model.is_trained_ = True
    model.save(tmp_path / "model", save_anndata=True)

    again = BetaSCVI.load(tmp_path / "model", accelerator="cpu")

    assert registered(again) == registered(model)
    np.testing.assert_array_equal(codes(again), codes(model))


def test_factors_survive_on_new_cells_with_fewer_levels(adata: AnnData) -> None:
    model = set_up(adata, "donor", "age")
    model.is_trained_ = True
    new = adata[adata.obs["donor"] == adata.obs["donor"].iloc[0]].copy()

    model.get_latent_representation(new)

    manager = model.get_anndata_manager(new)
    assert manager is not None
    np.testing.assert_array_equal(manager.get_from_registry(FACTORS_KEY)[:, 0], codes(model)[0, 0])


def test_one_name_may_be_given_without_a_list(adata: AnnData) -> None:
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys="donor")  # type: ignore[arg-type]

    assert registered(BetaSCVI(adata, n_hidden=8))["names"] == ["donor"]


def test_the_batch_may_be_a_factor_too(adata: AnnData, quick: dict[str, Any]) -> None:
    model = set_up(adata, "batch", batch_key="batch")

    model.train(**quick)

    assert registered(model)["names"] == ["batch"]


def test_no_factors_leave_nothing_behind(adata: AnnData) -> None:
    before = set(adata.obsm)

    BetaSCVI.setup_anndata(adata, layer="counts")

    assert set(adata.obsm) == before


def test_factors_come_with_every_minibatch_as_codes(adata: AnnData) -> None:
    model = set_up(adata, "donor", "age")

    tensors = next(iter(model._make_data_loader(adata, batch_size=10)))

    np.testing.assert_array_equal(tensors[FACTORS_KEY].numpy(), codes(model)[:10])
