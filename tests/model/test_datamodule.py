"""Models without an AnnData: a registry, and minibatches from anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scvi
import torch
from anndata import AnnData
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from betascvi import BetaSCVI
from betascvi._errors import FactorError
from betascvi.objectives import BetaVAE
from betascvi.schedules import Linear


class CellsInMemory(LightningDataModule):
    """The least a datamodule has to offer scvi-tools: loaders, sizes and a registry."""

    def __init__(self, adata: AnnData, batch_size: int = 40) -> None:
        super().__init__()
        self.counts = torch.as_tensor(adata.layers["counts"].toarray())
        batch = adata.obs["batch"].astype("category").cat
        self.codes = torch.as_tensor(batch.codes.to_numpy().astype(np.int64))
        self.batch_labels = list(batch.categories)
        self.var_names = list(adata.var_names)
        self.batch_size = batch_size
        self.n_obs, self.n_vars = adata.shape
        self.n_batch, self.n_labels, self.n_samples = len(self.batch_labels), 1, 1
        self.label_keys = None

    def minibatches(self, cells: np.ndarray) -> DataLoader[dict[str, Tensor]]:
        parts = [cells[i : i + self.batch_size] for i in range(0, len(cells), self.batch_size)]
        cut = [
            {
                "X": self.counts[part],
                "batch": self.codes[part][:, None],
                "labels": torch.zeros(len(part), 1, dtype=torch.long),
            }
            for part in parts
        ]
        return DataLoader(cut, batch_size=None)  # type: ignore[arg-type]  # a list is a data set

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self.minibatches(np.arange(0, 100))

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return self.minibatches(np.arange(100, 120))

    def inference_dataloader(self) -> Iterator[dict[str, Tensor]]:
        return iter(self.minibatches(np.arange(self.n_obs)))

    @property
    def registry(self) -> dict[str, Any]:
        keys = ("layer", "labels_key", "size_factor_key", "categorical_covariate_keys",
                "continuous_covariate_keys")  # fmt: skip
        empty = {"data_registry": {}, "state_registry": {}, "summary_stats": {}}
        return {
            "scvi_version": scvi.__version__,
            "model_name": "BetaSCVI",
            "setup_args": {"batch_key": "batch", **dict.fromkeys(keys)},
            "field_registries": {
                "X": {
                    "data_registry": {"attr_name": "X", "attr_key": None},
                    "state_registry": {
                        "n_obs": self.n_obs, "n_vars": self.n_vars, "column_names": self.var_names,
                    },
                    "summary_stats": {"n_vars": self.n_vars, "n_cells": self.n_obs},
                },
                "batch": {
                    "data_registry": {"attr_name": "obs", "attr_key": "_scvi_batch"},
                    "state_registry": {
                        "categorical_mapping": self.batch_labels, "original_key": "batch",
                    },
                    "summary_stats": {"n_batch": self.n_batch},
                },
                "labels": {
                    "data_registry": {"attr_name": "obs", "attr_key": "_scvi_labels"},
                    "state_registry": {"categorical_mapping": ["0"], "original_key": None},
                    "summary_stats": {"n_labels": 1},
                },
                "size_factor": empty,
                "extra_categorical_covs": {
                    **empty, "summary_stats": {"n_extra_categorical_covs": 0},
                },
                "extra_continuous_covs": {
                    **empty, "summary_stats": {"n_extra_continuous_covs": 0},
                },
            },
            "setup_method_name": "setup_datamodule",
        }  # fmt: skip


@pytest.fixture
def cells(adata: AnnData) -> CellsInMemory:
    return CellsInMemory(adata)


@pytest.fixture
def trained(cells: CellsInMemory, quick: dict[str, Any]) -> BetaSCVI:
    model = BetaSCVI(
        registry=cells.registry, n_hidden=16, n_latent=4,
        objective=BetaVAE(beta=Linear(0.0, 2.0), free_bits=0.01),
    )  # fmt: skip
    arguments = {k: v for k, v in quick.items() if k != "batch_size"}
    model.train(**arguments | {"max_epochs": 2}, datamodule=cells)
    return model


def test_a_model_is_built_from_a_registry_and_trains_on_a_datamodule(
    trained: BetaSCVI, cells: CellsInMemory
) -> None:
    z = trained.get_latent_representation(dataloader=cells.inference_dataloader())

    assert z.shape == (120, 4)
    assert np.isfinite(z).all()
    assert float(trained.history["kl_weight"].iloc[-1, 0]) == 2.0


def test_a_model_of_a_registry_decodes(trained: BetaSCVI, cells: CellsInMemory) -> None:
    mu = trained.decode(np.zeros((2, 4)), {"batch": cells.batch_labels[1]})

    np.testing.assert_allclose(mu.sum(1), 1e4, rtol=1e-4)


def test_evaluations_take_a_dataloader(trained: BetaSCVI, cells: CellsInMemory) -> None:
    elbo = trained.get_elbo(dataloader=cells.inference_dataloader())
    expression = trained.get_normalized_expression(
        dataloader=cells.inference_dataloader(), return_numpy=True
    )

    assert np.isfinite(float(elbo))
    assert expression.shape == (120, 60)


def test_a_model_of_a_registry_is_saved_and_loaded_with_its_objective(
    trained: BetaSCVI, cells: CellsInMemory, tmp_path: Path
) -> None:
    trained.save(tmp_path / "model", datamodule=cells)

    again = BetaSCVI.load(tmp_path / "model", adata=False, accelerator="cpu")

    assert again.module.objective == trained.module.objective
    np.testing.assert_array_equal(
        again.get_latent_representation(dataloader=cells.inference_dataloader()),
        trained.get_latent_representation(dataloader=cells.inference_dataloader()),
    )


def test_a_second_training_on_a_datamodule_continues(
    trained: BetaSCVI, cells: CellsInMemory, quick: dict[str, Any]
) -> None:
    arguments = {k: v for k, v in quick.items() if k != "batch_size"}

    trained.train(**arguments, datamodule=cells)

    assert len(trained.history["elbo_train"]) == 3


@pytest.fixture
def collection(source: AnnData) -> AnnData:
    """Two AnnData that scvi-tools' adapter makes look like one."""
    from anndata.experimental import AnnCollection
    from scvi.dataloaders import CollectionAdapter

    parts = [source[:60].copy(), source[60:].copy()]
    return CollectionAdapter(
        AnnCollection(parts, join_vars="inner", join_obs="inner", label="part",
                      indices_strict=False)
    )  # fmt: skip


def test_files_read_as_one_collection_train_a_model(
    collection: AnnData, quick: dict[str, Any]
) -> None:
    BetaSCVI.setup_anndata(collection, layer="counts", batch_key="part")
    model = BetaSCVI(collection, n_hidden=16, n_latent=4)

    model.train(**quick)

    assert model.get_latent_representation().shape == (120, 4)


def test_factors_of_a_collection_are_refused_with_the_way_out(collection: AnnData) -> None:
    with pytest.raises(FactorError, match="one AnnData"):
        BetaSCVI.setup_anndata(collection, layer="counts", factor_keys=["donor"])


def test_cells_streamed_by_annbatch_train_a_model(
    source: AnnData, quick: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("annbatch", reason="annbatch is optional, and scvi-tools 1.5's")
    paths = []
    for i, part in enumerate((source[:60].copy(), source[60:].copy())):
        part.X = part.layers["counts"]
        part.write_h5ad(tmp_path / f"{i}.h5ad")
        paths.append(str(tmp_path / f"{i}.h5ad"))
    datamodule = BetaSCVI.setup_annbatch(
        collection_path=str(tmp_path / "cells.zarr"), paths=paths, batch_key="batch",
        batch_size=40, preload_to_gpu=False,
    )  # fmt: skip
    model = BetaSCVI(registry=datamodule.registry, n_hidden=16, n_latent=4)
    arguments = {k: v for k, v in quick.items() if k != "batch_size"}

    model.train(**arguments, datamodule=datamodule)

    assert np.isfinite(float(model.history["elbo_train"].iloc[-1, 0]))


def test_an_additive_decoder_starts_at_the_profile_of_a_first_minibatch(
    cells: CellsInMemory, quick: dict[str, Any], tmp_path: Path
) -> None:
    model = BetaSCVI(registry=cells.registry, n_hidden=16, n_latent=4, decoder="additive")
    assert model.module.decoder.needs_start
    arguments = {k: v for k, v in quick.items() if k != "batch_size"}
    model.train(**arguments, datamodule=cells)

    profile = model.module.decoder.shift.log_profile.detach().numpy()
    seen = cells.counts.mean(0).numpy() > 0.5
    expected = np.log(cells.counts.mean(0).numpy()[seen])
    assert np.corrcoef(profile[seen], expected)[0, 1] > 0.9
    model.save(tmp_path / "model", datamodule=cells)
    again = BetaSCVI.load(tmp_path / "model", adata=False, accelerator="cpu")
    z = np.ones((1, 4), dtype=np.float32)
    np.testing.assert_allclose(again.decode(z), model.decode(z), rtol=1e-5)
