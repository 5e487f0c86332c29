"""Minified data: the posterior in place of the counts, with them or without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scvi.data._constants import ADATA_MINIFY_TYPE

from betascvi import BetaSCVI

KINDS = pytest.mark.parametrize(
    "kind",
    [ADATA_MINIFY_TYPE.LATENT_POSTERIOR, ADATA_MINIFY_TYPE.LATENT_POSTERIOR_WITH_COUNTS],
    ids=["posterior alone", "posterior with counts"],
)


@pytest.fixture
def minified(
    make_model: Callable[..., BetaSCVI], covariates: dict[str, Any], quick: dict[str, Any]
) -> Callable[[str], tuple[BetaSCVI, np.ndarray]]:
    """A model on minified data, and the latent it had before."""

    def make(kind: str) -> tuple[BetaSCVI, np.ndarray]:
        model = make_model({**covariates, "factor_keys": ["donor", "age"]})
        model.train(**quick)
        mean, variance = model.get_latent_representation(return_dist=True)
        model.adata.obsm["qzm"], model.adata.obsm["qzv"] = mean, variance
        model.minify_adata(kind, use_latent_qzm_key="qzm", use_latent_qzv_key="qzv")
        return model, mean

    return make


@KINDS
def test_a_minified_model_gives_the_latent_it_had(
    minified: Callable[[str], tuple[BetaSCVI, np.ndarray]], kind: str
) -> None:
    model, before = minified(kind)

    assert model.minified_data_type == kind
    np.testing.assert_allclose(model.get_latent_representation(), before, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        model.get_latent_representation(blocks="free"), before, rtol=1e-5, atol=1e-6
    )


@KINDS
def test_a_minified_model_decodes_and_normalises(
    minified: Callable[[str], tuple[BetaSCVI, np.ndarray]], kind: str
) -> None:
    model, before = minified(kind)

    mu = model.decode(before, {"age": 0.0, "score": 0.5})
    expression = model.get_normalized_expression(library_size=1e4, return_numpy=True)

    np.testing.assert_allclose(mu.sum(1), 1e4, rtol=1e-4)
    np.testing.assert_allclose(expression.sum(1), 1e4, rtol=1e-4)


@KINDS
def test_a_minified_model_is_saved_with_its_cells_and_loaded(
    minified: Callable[[str], tuple[BetaSCVI, np.ndarray]], kind: str, tmp_path: Path
) -> None:
    model, before = minified(kind)
    model.save(tmp_path / "model", save_anndata=True)

    again = BetaSCVI.load(tmp_path / "model", accelerator="cpu")

    assert again.minified_data_type == kind
    np.testing.assert_allclose(again.get_latent_representation(), before, rtol=1e-5, atol=1e-6)


def test_counts_that_are_gone_are_not_complained_about(
    minified: Callable[[str], tuple[BetaSCVI, np.ndarray]],
) -> None:
    model, _ = minified(ADATA_MINIFY_TYPE.LATENT_POSTERIOR)

    assert model.adata.layers.get("counts") is None or model.adata.layers["counts"].nnz == 0


def test_what_needs_counts_is_refused_when_they_are_gone(
    minified: Callable[[str], tuple[BetaSCVI, np.ndarray]],
) -> None:
    model, _ = minified(ADATA_MINIFY_TYPE.LATENT_POSTERIOR)

    with pytest.raises(ValueError, match="minified"):
        model.get_elbo()


def test_a_query_can_be_mapped_onto_a_minified_reference(
    minified: Callable[[str], tuple[BetaSCVI, np.ndarray]],
    source: Any,
    quick: dict[str, Any],
) -> None:
    model, _ = minified(ADATA_MINIFY_TYPE.LATENT_POSTERIOR)
    query = source[:40].copy()

    mapped = BetaSCVI.load_query_data(query, model, accelerator="cpu")
    mapped.train(**quick)

    assert np.isfinite(mapped.get_latent_representation()).all()
