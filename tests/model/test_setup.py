"""What ``setup_anndata`` takes in, and what a model then trains on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from betascvi import BetaSCVI, Factor


@pytest.mark.parametrize(
    "setup",
    [
        pytest.param({}, id="counts alone"),
        pytest.param({"batch_key": "batch"}, id="batch"),
        pytest.param({"labels_key": "cell_type"}, id="labels"),
        pytest.param({"size_factor_key": "size"}, id="size factor"),
        pytest.param({"categorical_covariate_keys": ["condition", "site"]}, id="categorical"),
        pytest.param({"continuous_covariate_keys": ["age", "score"]}, id="continuous"),
        pytest.param({"factor_keys": ["cell_type", "age"]}, id="factors"),
        pytest.param(
            {
                "batch_key": "batch",
                "labels_key": "cell_type",
                "size_factor_key": "size",
                "categorical_covariate_keys": ["condition", "site"],
                "continuous_covariate_keys": ["age", "score"],
                "factor_keys": ["donor", Factor("phase_angle", "circular")],
            },
            id="everything at once",
        ),
    ],
)
def test_a_model_trains_on_whatever_was_registered(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], setup: dict[str, Any]
) -> None:
    model = make_model(setup)

    model.train(**quick)

    z = model.get_latent_representation()
    assert z.shape == (model.adata.n_obs, 4)
    assert np.isfinite(z).all()


@pytest.mark.parametrize(
    ("likelihood", "dispersion"),
    [("nb", "gene-batch"), ("nb", "gene-label"), ("nb", "gene-cell"),
     ("zinb", "gene"), ("zinb", "gene-cell"), ("poisson", "gene"), ("normal", "gene-batch")],
)  # fmt: skip
def test_every_likelihood_and_every_dispersion_trains(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], likelihood: str, dispersion: str
) -> None:
    setup = {"batch_key": "batch", "labels_key": "cell_type"}
    model = make_model(setup, gene_likelihood=likelihood, dispersion=dispersion)

    model.train(**quick)

    assert np.isfinite(float(model.history["elbo_train"].iloc[-1, 0]))


@pytest.mark.parametrize("encode_covariates", [True, False])
@pytest.mark.parametrize("representation", ["one-hot", "embedding"])
def test_covariates_may_be_encoded_and_batches_embedded(
    make_model: Callable[..., BetaSCVI],
    covariates: dict[str, Any],
    quick: dict[str, Any],
    representation: str,
    encode_covariates: bool,
) -> None:
    model = make_model(
        covariates, batch_representation=representation, encode_covariates=encode_covariates
    )

    model.train(**quick)

    assert np.isfinite(model.get_normalized_expression(return_numpy=True)).all()


def as_dask(matrix: sparse.csr_matrix) -> Any:
    array = pytest.importorskip("dask.array", reason="dask is optional")
    return array.from_array(matrix.toarray(), chunks=(50, 60))


every_matrix = pytest.mark.parametrize(
    "convert",
    [
        pytest.param(lambda m: m, id="csr"),
        pytest.param(lambda m: m.tocsc(), id="csc"),
        pytest.param(lambda m: m.toarray(), id="dense"),
        pytest.param(lambda m: m.toarray().astype(np.int64), id="dense int64"),
        pytest.param(lambda m: m.astype(np.int64), id="csr int64"),
        pytest.param(lambda m: m.astype(np.uint16), id="csr uint16"),
        pytest.param(lambda m: m.astype(np.float64), id="csr float64"),
        pytest.param(lambda m: sparse.csr_array(m), id="csr array"),
        pytest.param(as_dask, id="dask"),
    ],
)


@every_matrix
@pytest.mark.filterwarnings("ignore:Training will be faster when sparse matrix is formatted as CSR")
def test_a_model_trains_on_every_kind_of_matrix(
    adata: AnnData, quick: dict[str, Any], convert: Callable[[Any], Any]
) -> None:
    adata.layers["counts"] = convert(adata.layers["counts"])
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    model = BetaSCVI(adata, n_hidden=16, n_latent=4)

    model.train(**quick)

    assert np.isfinite(float(model.history["elbo_train"].iloc[-1, 0]))


@every_matrix
@pytest.mark.filterwarnings("ignore:Training will be faster when sparse matrix is formatted as CSR")
def test_a_model_sees_the_same_cells_in_every_kind_of_matrix(
    plain: BetaSCVI, adata: AnnData, convert: Callable[[Any], Any]
) -> None:
    wanted = plain.get_latent_representation()
    adata.layers["counts"] = convert(adata.layers["counts"])

    z = plain.get_latent_representation(adata)

    np.testing.assert_allclose(z, wanted, rtol=1e-4, atol=1e-5)


def test_a_backed_file_trains_without_being_read_whole(
    source: AnnData, quick: dict[str, Any], tmp_path: Path
) -> None:
    on_disk = ad.AnnData(source.layers["counts"], obs=source.obs.copy(), var=source.var.copy())
    on_disk.write_h5ad(tmp_path / "atlas.h5ad")
    backed = ad.read_h5ad(tmp_path / "atlas.h5ad", backed="r")
    BetaSCVI.setup_anndata(backed, batch_key="batch")
    model = BetaSCVI(backed, n_hidden=16, n_latent=4)

    model.train(**quick)

    assert backed.isbacked
    assert model.get_latent_representation().shape == (120, 4)
    backed.file.close()


@pytest.mark.parametrize("dtype", ["category", "object", "string", "bool", "boolean", "Int64"])
def test_a_batch_column_may_be_of_any_type_of_pandas(
    adata: AnnData, quick: dict[str, Any], dtype: str
) -> None:
    two = (np.arange(adata.n_obs) % 2).astype(bool)
    values = {"bool": two, "boolean": two, "Int64": two.astype(int)}.get(
        dtype, np.where(two, "b é/1", "b 2")
    )
    adata.obs["lot"] = pd.Series(values, index=adata.obs_names).astype(dtype)
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="lot")
    model = BetaSCVI(adata, n_hidden=16, n_latent=4)

    model.train(**quick)

    assert model.summary_stats.n_batch == 2


def test_genes_that_are_zero_everywhere_are_kept_with_one_warning_and_their_count(
    adata: AnnData, quick: dict[str, Any]
) -> None:
    counts = adata.layers["counts"].tolil()
    counts[:, [3, 7]] = 0
    adata.layers["counts"] = counts.tocsr()

    with pytest.warns(UserWarning, match="2 of 60 genes are zero") as caught:
        BetaSCVI.setup_anndata(adata, layer="counts")

    model = BetaSCVI(adata, n_hidden=16, n_latent=4)
    model.train(**quick)
    assert len(caught) == 1
    assert model.module.n_input == 60


def test_fractional_counts_are_a_warning_with_their_number(adata: AnnData) -> None:
    counts = adata.layers["counts"].toarray()
    counts[0, :3] = 1.5
    adata.layers["counts"] = counts

    with pytest.warns(UserWarning, match="3 fractional"):
        BetaSCVI.setup_anndata(adata, layer="counts")


def test_the_set_up_is_printed_with_the_factors(
    make_model: Callable[..., BetaSCVI], capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model({"batch_key": "batch", "factor_keys": ["donor", "age"]})

    model.view_anndata_setup()

    printed = capsys.readouterr().out
    assert "Factors" in printed
    assert "continuous" in printed
    assert "batch" in printed


def test_the_model_prints_its_size_and_its_objective(make_model: Callable[..., BetaSCVI]) -> None:
    model = make_model(objective="beta_vae")

    text = model._model_summary_string

    assert "BetaSCVI" in text
    assert "n_latent: 4" in text
    assert "BetaVAE(beta=1.0" in text


def test_every_argument_of_the_constructor_is_described() -> None:
    described = inspect.getdoc(BetaSCVI) or ""
    arguments = set(inspect.signature(BetaSCVI.__init__).parameters) - {"self"}

    assert {name for name in arguments if name not in described} == set()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"use_observed_lib_size": False}, "use_observed_lib_size"),
        ({"latent_distribution": "ln"}, "latent_distribution"),
        ({"gene_likelihood": "binomial"}, "gene_likelihood"),
        ({"dispersion": "genes"}, "dispersion"),
        ({"batch_representation": "onehot"}, "batch_representation"),
        ({"n_latent": 0}, "n_latent is a whole number from 1 up, got 0. It counts the free axes"),
        ({"objective": "no_such"}, "objective"),
    ],
    ids=str,
)
def test_what_is_not_supported_is_refused_by_name(
    make_model: Callable[..., BetaSCVI], arguments: dict[str, Any], name: str
) -> None:
    with pytest.raises(ValueError, match=name):
        make_model(**arguments)


def test_a_model_without_data_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="adata or registry"):
        BetaSCVI()


def test_a_model_on_data_that_were_not_set_up_says_so(adata: AnnData) -> None:
    with pytest.raises(ValueError, match="setup_anndata"):
        BetaSCVI(adata)
