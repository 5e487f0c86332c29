"""Bad input: a clear error (what, received, what to do), and an AnnData as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from betascvi import BetaSCVI, Factor
from betascvi._errors import CountsError, FactorError, UnknownFactorError


def contents_of(adata: AnnData) -> dict[str, Any]:
    """Everything in an AnnData, in a form that compares."""
    return {
        "shape": adata.shape,
        "X": None if adata.X is None else adata.X.copy(),
        "obs": adata.obs.copy(),
        "var": adata.var.copy(),
        "layers": {k: v.copy() for k, v in adata.layers.items() if k is not None},
        "obsm": {k: np.array(v) for k, v in adata.obsm.items()},
        "uns": sorted(adata.uns),
    }


def assert_same_matrix(a: Any, b: Any) -> None:
    as_dense = lambda m: m.toarray() if sparse.issparse(m) else np.asarray(m)  # noqa: E731
    assert type(a) is type(b)
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(as_dense(a), as_dense(b))


def assert_unchanged(adata: AnnData, before: dict[str, Any]) -> None:
    after = contents_of(adata)
    assert after["shape"] == before["shape"]
    assert after["uns"] == before["uns"]
    pd.testing.assert_frame_equal(after["obs"], before["obs"])
    pd.testing.assert_frame_equal(after["var"], before["var"])
    assert_same_matrix(after["X"], before["X"])
    for store in ("layers", "obsm"):
        assert list(after[store]) == list(before[store])
        for key, value in before[store].items():
            assert_same_matrix(after[store][key], value)


def with_value(adata: AnnData, value: float) -> AnnData:
    counts = adata.layers["counts"].toarray()
    counts[2, 3] = value
    counts[5, 1] = value
    adata.layers["counts"] = counts
    return adata


def sparse_with_value(adata: AnnData, value: float) -> AnnData:
    adata = with_value(adata, value)
    adata.layers["counts"] = sparse.csr_matrix(adata.layers["counts"])
    return adata


def with_empty_cells(adata: AnnData) -> AnnData:
    counts = adata.layers["counts"].toarray()
    counts[[1, 4, 9]] = 0
    adata.layers["counts"] = sparse.csr_matrix(counts)
    return adata


def with_column(column: Callable[[int], Any]) -> Callable[[AnnData], AnnData]:
    def change(adata: AnnData) -> AnnData:
        adata.obs["f"] = column(adata.n_obs)
        return adata

    return change


def with_twins(axis: str) -> Callable[[AnnData], AnnData]:
    def change(adata: AnnData) -> AnnData:
        names = getattr(adata, f"{axis}_names").to_numpy().copy()
        names[1] = names[0]
        setattr(adata, f"{axis}_names", names)
        return adata

    return change


CASES = [
    pytest.param(lambda a: with_value(a, -1.0), {}, CountsError,
                 r"2 negative values.*raw counts", id="negative"),
    pytest.param(lambda a: with_value(a, np.nan), {}, CountsError,
                 r"2 missing \(NaN\) values.*replace", id="NaN"),
    pytest.param(lambda a: with_value(a, np.inf), {}, CountsError,
                 r"2 infinite values.*replace", id="infinite"),
    pytest.param(lambda a: sparse_with_value(a, -1.0), {}, CountsError,
                 r"2 negative values.*raw counts", id="negative, sparse"),
    pytest.param(lambda a: sparse_with_value(a, np.nan), {}, CountsError,
                 r"2 missing \(NaN\) values", id="NaN, sparse"),
    pytest.param(with_empty_cells, {}, CountsError,
                 r"3 of 120 cells have no counts.*filter_cells", id="cells without counts"),
    pytest.param(lambda a: a[:0].copy(), {}, CountsError,
                 r"0 cells and 60 genes.*filter", id="no cells"),
    pytest.param(lambda a: a[:, :0].copy(), {}, CountsError,
                 r"120 cells and 0 genes.*filter", id="no genes"),
    pytest.param(lambda a: a, {"layer": "count"}, UnknownFactorError,
                 r"'count' is not in adata\.layers.*'counts'", id="layer that is not there"),
    pytest.param(with_twins("obs"), {}, CountsError,
                 r"1 cell names.*obs_names_make_unique", id="cells of one name",
                 marks=pytest.mark.filterwarnings("ignore:Observation names")),
    pytest.param(with_twins("var"), {}, CountsError,
                 r"1 gene names.*var_names_make_unique", id="genes of one name",
                 marks=pytest.mark.filterwarnings("ignore:Variable names")),
    pytest.param(lambda a: a, {"factor_keys": ["celltype"]}, UnknownFactorError,
                 r"\['celltype'\].*cell_type", id="factor that is not there"),
    pytest.param(with_column(lambda n: np.full(n, np.nan)), {"factor_keys": ["f"]}, FactorError,
                 r"'f' has no known label.*drop it", id="numbers all missing"),
    pytest.param(with_column(lambda n: pd.Categorical([None] * n, categories=["a"])),
                 {"factor_keys": ["f"]}, FactorError,
                 r"'f' has no known label.*drop it", id="labels all missing"),
    pytest.param(with_column(lambda n: ["a"] * n), {"factor_keys": ["f"]}, FactorError,
                 r"'f' has a single level \('a'\).*drop it", id="single level"),
    pytest.param(with_column(lambda n: np.ones(n)), {"factor_keys": ["f"]}, FactorError,
                 r"'f' has a single level.*drop it", id="constant"),
    pytest.param(with_column(lambda n: np.array(["a", 1] * (n // 2), dtype=object)),
                 {"factor_keys": ["f"]}, FactorError,
                 r"'f' mixes number and str.*astype\(str\)", id="mixed types"),
    pytest.param(with_column(lambda n: np.array([True, 1] * (n // 2), dtype=object)),
                 {"factor_keys": ["f"]}, FactorError,
                 r"'f' mixes bool and number.*astype\(str\)", id="bools and numbers"),
    pytest.param(with_column(lambda n: np.where(np.arange(n) == 3, np.inf, 1.0)),
                 {"factor_keys": ["f"]}, FactorError,
                 r"'f' holds 1 infinite values.*NaN", id="infinite factor"),
    pytest.param(lambda a: a, {"factor_keys": [Factor("cell_type", "continuous")]}, FactorError,
                 r"'cell_type' is continuous but holds.*categorical", id="text called continuous"),
    pytest.param(lambda a: a, {"factor_keys": ["donor", "donor"]}, FactorError,
                 r"\['donor'\] are named twice", id="factor named twice"),
    pytest.param(lambda a: a, {"batch_key": "bach"}, UnknownFactorError,
                 r"batch_key: 'bach'.*'batch'", id="batch that is not there"),
    pytest.param(lambda a: a, {"labels_key": "celltype"}, UnknownFactorError,
                 r"labels_key: 'celltype'.*'cell_type'", id="labels that are not there"),
    pytest.param(lambda a: a, {"size_factor_key": "sizes"}, UnknownFactorError,
                 r"size_factor_key: 'sizes'.*'size'", id="size factor that is not there"),
    pytest.param(lambda a: a, {"categorical_covariate_keys": ["condition", "sit"]},
                 UnknownFactorError, r"categorical_covariate_keys: 'sit'.*'site'",
                 id="categorical covariate that is not there"),
    pytest.param(lambda a: a, {"continuous_covariate_keys": ["age", "ages"]}, UnknownFactorError,
                 r"continuous_covariate_keys: 'ages'.*'age'",
                 id="continuous covariate that is not there"),
    pytest.param(with_column(lambda n: np.where(np.arange(n) < 4, None, "a")),
                 {"batch_key": "f"}, FactorError, r"'f' is missing in 4 cells.*drop",
                 id="missing batch"),
    pytest.param(with_column(lambda n: np.where(np.arange(n) < 4, None, "a")),
                 {"categorical_covariate_keys": ["site", "f"]}, FactorError,
                 r"'f' is missing in 4 cells.*drop", id="missing categorical covariate"),
    pytest.param(with_column(lambda n: np.where(np.arange(n) < 4, np.nan, 1.0)),
                 {"continuous_covariate_keys": ["f"]}, FactorError,
                 r"'f' holds 4 missing.*fill", id="missing continuous covariate"),
    pytest.param(lambda a: a, {"continuous_covariate_keys": ["site"]}, FactorError,
                 r"'site' is to be a number.*categorical_covariate_keys",
                 id="text as a continuous covariate"),
    pytest.param(with_column(lambda n: np.where(np.arange(n) < 4, -1.0, 1.0)),
                 {"size_factor_key": "f"}, FactorError,
                 r"'f' of 4 cells is zero or negative.*positive", id="negative size factor"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "arguments", "error", "message"), CASES)
def test_bad_input_is_an_error_that_says_what_to_do_and_nothing_is_changed(
    adata: AnnData,
    change: Callable[[AnnData], AnnData],
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    adata = change(adata)
    before = contents_of(adata)

    with pytest.raises(error, match=message):
        BetaSCVI.setup_anndata(adata, **{"layer": "counts", **arguments})

    assert_unchanged(adata, before)


@pytest.mark.parametrize(("change", "arguments", "error", "message"), CASES[::5])
def test_an_earlier_set_up_still_serves_after_one_that_failed(
    adata: AnnData,
    change: Callable[[AnnData], AnnData],
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    good = adata.copy()
    BetaSCVI.setup_anndata(good, layer="counts", batch_key="batch", factor_keys=["donor"])
    codes = good.obsm["_betascvi_factors"].copy()
    del adata
    bad = change(good.copy())
    before = contents_of(bad)

    with pytest.raises(error, match=message):
        BetaSCVI.setup_anndata(bad, **{"layer": "counts", **arguments})

    assert_unchanged(bad, before)
    np.testing.assert_array_equal(good.obsm["_betascvi_factors"], codes)


def test_a_view_is_refused_with_the_copy_that_was_meant(adata: AnnData) -> None:
    view = adata[:50]

    with pytest.raises(CountsError, match=r"view.*adata\.copy\(\)"):
        BetaSCVI.setup_anndata(view, layer="counts")

    assert view.is_view


def test_an_empty_x_names_the_layer_argument(adata: AnnData) -> None:
    adata.X = None

    with pytest.raises(CountsError, match=r"adata\.X is empty.*layer"):
        BetaSCVI.setup_anndata(adata)


def test_text_is_no_matrix_of_counts(adata: AnnData) -> None:
    adata.layers["text"] = np.full(adata.shape, "3")

    with pytest.raises(CountsError, match="counts are numbers"):
        BetaSCVI.setup_anndata(adata, layer="text")


def test_fractional_counts_are_no_error(adata: AnnData, quick: dict[str, Any]) -> None:
    adata.layers["counts"] = adata.layers["counts"] * 1.5

    with pytest.warns(UserWarning, match="fractional"):
        BetaSCVI.setup_anndata(adata, layer="counts")

    model = BetaSCVI(adata, n_hidden=8, n_latent=3)
    model.train(**quick)
    assert np.isfinite(float(model.history["elbo_train"].iloc[-1, 0]))


def test_one_bad_value_far_into_the_matrix_is_found(adata: AnnData) -> None:
    many = sparse.vstack([adata.layers["counts"]] * 40).tocsr()
    many.data[-1] = -1

    with pytest.raises(CountsError, match="1 negative"):
        BetaSCVI.setup_anndata(AnnData(many))


def test_a_wrong_kind_of_factor_is_refused() -> None:
    with pytest.raises(FactorError, match=r"'f'.*'ordinal'"):
        Factor("f", "ordinal")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, -1.0], ids=["NaN", "negative"])
def test_bad_new_cells_are_refused_by_a_fitted_model(
    plain: BetaSCVI, adata: AnnData, value: float
) -> None:
    new = with_value(adata, value)

    with pytest.raises(CountsError, match="2 "):
        plain.get_latent_representation(new)


@pytest.mark.filterwarnings("ignore:1.*genes are zero")
def test_a_single_level_is_no_error_on_data_handed_to_a_fitted_model(
    fitted: BetaSCVI, adata: AnnData
) -> None:
    one_batch = adata[adata.obs["batch"] == adata.obs["batch"].iloc[0]].copy()

    assert np.isfinite(fitted.get_latent_representation(one_batch)).all()


def test_set_up_does_not_change_the_counts_or_the_users_columns(adata: AnnData) -> None:
    before = contents_of(adata)

    BetaSCVI.setup_anndata(
        adata, layer="counts", batch_key="batch", labels_key="cell_type",
        categorical_covariate_keys=["condition"], continuous_covariate_keys=["age"],
        factor_keys=["donor", "age"],
    )  # fmt: skip

    assert_same_matrix(adata.layers["counts"], before["layers"]["counts"])
    assert_same_matrix(adata.X, before["X"])
    pd.testing.assert_frame_equal(adata.obs[before["obs"].columns], before["obs"])


def test_a_column_in_place_of_a_list_of_columns_is_refused(adata: AnnData) -> None:
    with pytest.raises(
        ValueError, match=r"is a list of columns, got 'condition'; write \['condition'\]"
    ):
        BetaSCVI.setup_anndata(adata, layer="counts", categorical_covariate_keys="condition")


@pytest.mark.parametrize("name", ["batch", "condition"])
def test_new_cells_without_a_level_are_refused_by_name(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], adata: AnnData, name: str
) -> None:
    model = make_model({"batch_key": "batch", "categorical_covariate_keys": ["condition"]})
    model.train(**quick)
    adata.obs[name] = adata.obs[name].astype(object).where(np.arange(adata.n_obs) > 2)

    with pytest.raises(FactorError, match=f"'{name}' is missing in 3 cells"):
        model.get_latent_representation(adata)


def test_declared_categories_without_cells_are_neither_averaged_over_nor_asked_for(
    adata: AnnData, quick: dict[str, Any], tmp_path: Path
) -> None:
    adata.obs["batch"] = adata.obs["batch"].cat.add_categories(["b9"])
    adata.obs["condition"] = adata.obs["condition"].cat.add_categories(["never"])
    BetaSCVI.setup_anndata(
        adata, layer="counts", batch_key="batch", categorical_covariate_keys=["condition"]
    )
    model = BetaSCVI(adata, n_hidden=8, n_latent=3)
    model.train(**quick)
    model.save(str(tmp_path / "model"))
    loaded = BetaSCVI.load(str(tmp_path / "model"), adata, accelerator="cpu")

    z = model.get_latent_representation()
    each = [model.decode(z, {"batch": b, "condition": c})
            for b in ("b0", "b1", "b2") for c in ("ctrl", "stim")]  # fmt: skip
    np.testing.assert_allclose(loaded.decode(z), np.mean(each, axis=0), rtol=1e-4)
    with pytest.raises(UnknownFactorError, match="no training cell has batch='b9', a declared"):
        model.decode(z, {"batch": "b9"})
    assert model.to_scvi().module.n_batch == 4
