"""A trained SCVI's weights in our model give the SCVI's own numbers, and the other way round."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData
from scvi.model import SCANVI, SCVI

from betascvi import BetaSCVI
from betascvi.objectives import BetaVAE

CASES = [
    pytest.param({}, {}, id="as it comes"),
    pytest.param({}, {"gene_likelihood": "nb"}, id="nb"),
    pytest.param({}, {"gene_likelihood": "poisson"}, id="poisson"),
    pytest.param({}, {"gene_likelihood": "normal"}, id="normal"),
    pytest.param({"labels_key": "cell_type"}, {"dispersion": "gene-label"}, id="gene-label"),
    pytest.param({}, {"dispersion": "gene-batch", "gene_likelihood": "nb"}, id="gene-batch"),
    pytest.param({}, {"dispersion": "gene-cell", "gene_likelihood": "nb"}, id="gene-cell"),
    pytest.param(
        {"categorical_covariate_keys": ["condition", "site"],
         "continuous_covariate_keys": ["age"], "size_factor_key": "size"},
        {"encode_covariates": True, "n_layers": 2},
        id="every covariate",
    ),
    pytest.param({}, {"batch_representation": "embedding"}, id="batch embedding"),
]  # fmt: skip


@pytest.fixture
def make(source: AnnData, quick: dict[str, Any]) -> Callable[..., Any]:
    def trained(kind: type[SCVI], setup: dict[str, Any], **arguments: Any) -> Any:
        adata = source.copy()
        kind.setup_anndata(adata, layer="counts", batch_key="batch", **setup)
        model = kind(adata, n_hidden=16, n_latent=4, **arguments)
        model.train(**quick)
        return model

    return trained


@pytest.fixture
def make_scvi(make: Callable[..., Any]) -> Callable[..., SCVI]:
    return partial(make, SCVI)


def elbo(model: SCVI) -> float:
    torch.manual_seed(0)
    return float(model.get_elbo())


@pytest.mark.parametrize(("setup", "arguments"), CASES)
def test_elbo_latent_and_expression_are_the_scvi_models_own(
    make_scvi: Callable[..., SCVI], setup: dict[str, Any], arguments: dict[str, Any]
) -> None:
    theirs = make_scvi(setup, **arguments)

    ours = BetaSCVI.from_scvi(theirs)

    assert elbo(ours) == pytest.approx(elbo(theirs), rel=1e-5)
    np.testing.assert_allclose(
        ours.get_latent_representation(), theirs.get_latent_representation(), rtol=1e-5, atol=1e-6
    )
    expressions = []
    for model in (theirs, ours):
        torch.manual_seed(0)
        expressions.append(model.get_normalized_expression(return_numpy=True))
    np.testing.assert_allclose(expressions[1], expressions[0], rtol=1e-4)


@pytest.fixture
def theirs(make_scvi: Callable[..., SCVI]) -> SCVI:
    return make_scvi({}, gene_likelihood="nb")


def test_the_objective_is_the_plain_elbo(theirs: SCVI) -> None:
    ours = BetaSCVI.from_scvi(theirs)

    assert ours.module.objective == BetaVAE(beta=1.0)
    assert ours.init_params_["non_kwargs"]["gene_likelihood"] == "nb"


def test_the_weights_are_copies(theirs: SCVI, quick: dict[str, Any]) -> None:
    before = {name: value.clone() for name, value in theirs.module.state_dict().items()}

    BetaSCVI.from_scvi(theirs).train(**quick)

    after = theirs.module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_the_scvi_model_still_works_on_its_cells(theirs: SCVI) -> None:
    before = theirs.get_latent_representation()

    BetaSCVI.from_scvi(theirs)

    np.testing.assert_array_equal(theirs.get_latent_representation(), before)


def test_the_history_and_the_split_come_along(theirs: SCVI) -> None:
    ours = BetaSCVI.from_scvi(theirs)

    assert ours.is_trained_
    assert set(ours.history) == set(theirs.history)
    np.testing.assert_array_equal(ours.train_indices, theirs.train_indices)


def test_our_tools_work_on_the_copy(theirs: SCVI, quick: dict[str, Any]) -> None:
    ours = BetaSCVI.from_scvi(theirs)

    mu = ours.decode(ours.get_latent_representation())
    ours.train(**quick)

    np.testing.assert_allclose(mu.sum(1), 1e4, rtol=1e-4)


def test_another_class_of_model_is_refused(source: AnnData) -> None:
    adata = source.copy()
    SCANVI.setup_anndata(
        adata, labels_key="cell_type", unlabeled_category="unknown", layer="counts"
    )

    with pytest.raises(ValueError, match=r"scvi\.model\.SCVI, got SCANVI"):
        BetaSCVI.from_scvi(SCANVI(adata, n_hidden=8))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"use_observed_lib_size": False}, "use_observed_lib_size"),
     ({"latent_distribution": "ln"}, "latent_distribution")],
    ids=["latent library size", "logistic normal"],
)  # fmt: skip
def test_what_we_do_not_carry_over_is_refused_by_name(
    source: AnnData, arguments: dict[str, Any], name: str
) -> None:
    adata = source.copy()
    SCVI.setup_anndata(adata, layer="counts")

    with pytest.raises(ValueError, match=name):
        BetaSCVI.from_scvi(SCVI(adata, n_hidden=8, **arguments))


@pytest.fixture
def make_ours(make: Callable[..., Any]) -> Callable[..., BetaSCVI]:
    return partial(make, BetaSCVI)


@pytest.mark.parametrize(("setup", "arguments"), CASES)
def test_an_scvi_of_our_weights_has_our_latent_and_expression(
    make_ours: Callable[..., BetaSCVI], setup: dict[str, Any], arguments: dict[str, Any]
) -> None:
    ours = make_ours(setup, **arguments)
    before = ours.get_latent_representation()

    theirs = ours.to_scvi()

    assert type(theirs) is SCVI
    assert elbo(theirs) == pytest.approx(elbo(ours), rel=1e-5)
    np.testing.assert_allclose(theirs.get_latent_representation(), before, rtol=1e-5, atol=1e-6)
    expressions = []
    for model in (theirs, ours):
        torch.manual_seed(0)
        expressions.append(model.get_normalized_expression(return_numpy=True))
    np.testing.assert_allclose(expressions[1], expressions[0], rtol=1e-4)
    np.testing.assert_array_equal(theirs.train_indices, ours.train_indices)


def test_scanvi_starts_from_our_weights(
    make_ours: Callable[..., BetaSCVI], quick: dict[str, Any]
) -> None:
    ours = make_ours({"factor_keys": ["cell_type", "batch"]})

    model = SCANVI.from_scvi_model(
        ours.to_scvi(), unlabeled_category="unknown", labels_key="cell_type"
    )
    weights = dict(model.module.named_parameters())
    for name, weight in ours.module.z_encoder.named_parameters():
        assert torch.equal(weights[f"z_encoder.{name}"], weight)
    model.train(**quick)

    known = set(ours.adata.obs["cell_type"].unique())
    assert set(model.predict()) <= known


@pytest.mark.parametrize(
    ("setup", "arguments", "named"),
    [({"factor_keys": ["condition"]}, {"anchors": ["condition"]}, r"anchored blocks \(condition"),
     ({}, {"decoder": "additive"}, "decoder='additive'")],
    ids=["blocks", "additive"],
)  # fmt: skip
def test_what_an_scvi_cannot_hold_is_refused_by_name(
    make_ours: Callable[..., BetaSCVI], setup: dict[str, Any], arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        make_ours(setup, **arguments).to_scvi()


def test_a_query_whose_levels_would_be_numbered_anew_is_refused(
    make_ours: Callable[..., BetaSCVI], source: AnnData
) -> None:
    reference = make_ours({})
    batches = sorted(source.obs["batch"].unique())
    query = source[(source.obs["batch"] == batches[-1]).to_numpy()].copy()
    model = BetaSCVI.load_query_data(query, reference)
    model.is_trained_ = True

    with pytest.raises(ValueError, match=r"other levels of batch .*number them anew"):
        model.to_scvi()


def test_levels_keep_the_codes_of_the_scvi_models_weights(
    theirs: SCVI, tmp_path: Path, source: AnnData
) -> None:
    theirs.save(str(tmp_path / "model"))
    cells = source.copy()
    order = list(cells.obs["batch"].cat.categories)[::-1]
    cells.obs["batch"] = cells.obs["batch"].cat.reorder_categories(order)
    some = cells[(cells.obs["batch"] == order[0]).to_numpy()].copy()

    for adata in (cells, some):
        model = SCVI.load(str(tmp_path / "model"), adata=adata, accelerator="cpu")
        ours = BetaSCVI.from_scvi(model)
        each = []
        for one in (ours, model):
            torch.manual_seed(0)
            each.append(one.get_normalized_expression(return_numpy=True))
        np.testing.assert_allclose(*each, rtol=1e-3)


@pytest.mark.parametrize("objective", ["l_vae", "target_rate"])
def test_what_an_objective_has_learned_stays_behind(
    make_ours: Callable[..., BetaSCVI], objective: str
) -> None:
    model = make_ours({}, objective=objective)

    latent = model.to_scvi().get_latent_representation()

    np.testing.assert_allclose(latent, model.get_latent_representation(), atol=1e-5)


def test_the_literature_s_name_of_a_likelihood_is_saved_as_scvi_tools(
    make_ours: Callable[..., BetaSCVI],
) -> None:
    assert np.isfinite(elbo(make_ours({}, gene_likelihood="gaussian").to_scvi()))
