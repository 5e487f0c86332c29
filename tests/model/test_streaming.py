"""Latents and ELBO read from compressed rows are those of scvi-tools' own loader."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import anndata
import numpy as np
import pytest
import torch
from scipy import sparse
from scvi.dataloaders import AnnDataLoader
from scvi.model import SCVI

from betascvi.model import BetaSCVI
from betascvi.model._streaming import RowStream

N_CELLS, N_GENES = 210, 40


def data(kind: Any = sparse.csr_matrix) -> anndata.AnnData:
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.4, (N_CELLS, N_GENES)).astype(np.float32)
    counts[:, 0] += 1.0
    adata = anndata.AnnData(kind(counts))
    adata.obs["batch"] = rng.choice(["a", "b"], N_CELLS)
    adata.obs["age"] = rng.normal(size=N_CELLS)
    return adata


@pytest.fixture(scope="module")
def model() -> BetaSCVI:
    adata = data()
    BetaSCVI.setup_anndata(adata, batch_key="batch", continuous_covariate_keys=["age"])
    made = BetaSCVI(adata, n_hidden=16, n_latent=4, encode_covariates=True)
    made.train(max_epochs=2, accelerator="cpu", enable_progress_bar=False)
    return made


def from_dense_loader(model: BetaSCVI, method: Any, **arguments: Any) -> Any:
    torch.manual_seed(3)
    return method(model, **arguments)


def streamed(model: BetaSCVI, name: str, **arguments: Any) -> Any:
    torch.manual_seed(3)
    with patch.object(AnnDataLoader, "__init__", side_effect=AssertionError("a dense loader")):
        return getattr(model, name)(**arguments)


CELLS = [
    pytest.param(None, id="all cells"),
    pytest.param(np.arange(N_CELLS)[::-3], id="some cells in another order"),
    pytest.param(np.arange(N_CELLS) % 4 == 0, id="a mask"),
]


@pytest.mark.parametrize("indices", CELLS)
@pytest.mark.parametrize(
    "arguments",
    [{}, {"return_dist": True}, {"give_mean": False, "batch_size": 64}],
    ids=["mean", "mean and variance", "sample"],
)
def test_latents_are_those_of_the_dense_loader(
    model: BetaSCVI, indices: Any, arguments: dict[str, Any]
) -> None:
    wanted = from_dense_loader(model, SCVI.get_latent_representation, indices=indices, **arguments)
    got = streamed(model, "get_latent_representation", indices=indices, **arguments)

    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("indices", CELLS)
@pytest.mark.parametrize("return_mean", [True, False])
def test_the_elbo_is_that_of_the_dense_loader(
    model: BetaSCVI, indices: Any, return_mean: bool
) -> None:
    arguments = {"indices": indices, "return_mean": return_mean}

    wanted = from_dense_loader(model, SCVI.get_elbo, **arguments)
    got = streamed(model, "get_elbo", **arguments)

    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-4)


def test_new_cells_are_streamed_too(model: BetaSCVI) -> None:
    new = data()[:50].copy()

    wanted = from_dense_loader(model, SCVI.get_latent_representation, adata=new)

    np.testing.assert_allclose(
        streamed(model, "get_latent_representation", adata=new), wanted, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("why", ["dense", "loader options", "own dataloader"])
def test_where_rows_are_not_at_hand_the_loader_of_scvi_tools_serves(
    model: BetaSCVI, why: str
) -> None:
    arguments: dict[str, Any] = {}
    if why == "dense":
        arguments["adata"] = data(np.asarray)
    elif why == "loader options":
        arguments["shuffle"] = False
    else:
        arguments["dataloader"] = model._make_data_loader(model.adata)
    with patch.object(RowStream, "__init__", side_effect=AssertionError("a stream")):
        got = model.get_latent_representation(**arguments)

    np.testing.assert_allclose(got, model.get_latent_representation(), rtol=1e-5, atol=1e-6)
