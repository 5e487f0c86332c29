"""The AnnData fields that ``setup_anndata`` registers beside scvi-tools' own."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd
import rich.pretty  # scvi-tools' view_anndata_setup uses it and forgets to import it
import rich.table
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data._utils import _get_adata_minify_type
from scvi.data.fields import BaseAnnDataField, LayerField, ObsmField
from typing_extensions import override

from betascvi import _keys
from betascvi._errors import FactorError, UnknownFactorError
from betascvi.data._counts import (
    check_counts,
    check_shape_and_names,
    refuse_reordered_genes,
)
from betascvi.data._loadings import find_loadings
from betascvi.factors import CodedFactor, Factor, as_factors, code_factor, parents_of_levels

logger = logging.getLogger(__name__)

FACTORS_KEY = _keys.FACTORS
"""Registry key of the coded factors."""
_OBSM_KEY = "_betascvi_factors"


class CountsField(LayerField):
    """scvi-tools' layer field, strict about what counts are."""

    def __init__(self, layer: str | None) -> None:
        super().__init__(REGISTRY_KEYS.X_KEY, layer, is_count_data=False)

    @override
    def validate_field(self, adata: AnnData) -> None:
        layers = list(adata.layers.keys())
        if self.attr_key is not None and self.attr_key not in layers:
            raise UnknownFactorError(
                f"layer {self.attr_key!r} is not in adata.layers; there are {layers}."
            )
        super().validate_field(adata)
        if _get_adata_minify_type(adata) is None:
            check_counts(adata, self.attr_key)

    @override
    def transfer_field(
        self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any
    ) -> dict[str, Any]:
        refuse_reordered_genes(state_registry.get(self.COLUMN_NAMES_KEY, ()), adata_target)
        return dict(super().transfer_field(state_registry, adata_target, **kwargs))


class EmbeddingField(ObsmField):
    """A real-valued ``obsm`` matrix as the data, with the way back to genes where there is one."""

    def __init__(self, obsm_key: str) -> None:
        super().__init__(REGISTRY_KEYS.X_KEY, obsm_key)

    @override
    def validate_field(self, adata: AnnData) -> None:
        if self.attr_key not in adata.obsm:
            raise UnknownFactorError(
                f"obsm_key {self.attr_key!r} is not in adata.obsm; there are {list(adata.obsm)}."
            )
        super().validate_field(adata)
        values = np.asarray(adata.obsm[self.attr_key])
        n_bad = int((~np.isfinite(values)).sum())
        if n_bad:
            raise FactorError(
                f"adata.obsm[{self.attr_key!r}] holds {n_bad} missing or infinite values."
            )

    @override
    def register_field(self, adata: AnnData) -> dict[str, Any]:
        state = super().register_field(adata)
        return {**state, "n_obs": adata.n_obs, "loadings": find_loadings(adata, self.attr_key)}

    @override
    def transfer_field(
        self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any
    ) -> dict[str, Any]:
        state = super().transfer_field(state_registry, adata_target, **kwargs)
        # new cells come back to genes by the loadings the model was trained with
        return {**state, "n_obs": adata_target.n_obs, "loadings": state_registry["loadings"]}

    @override
    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        return {
            "n_vars": len(state_registry[self.COLUMN_NAMES_KEY]),
            "n_cells": state_registry["n_obs"],
        }


class FactorsField(BaseAnnDataField):
    """Columns of ``obs`` coded as numbers in one ``obsm`` matrix; NaN is a missing label."""

    def __init__(self, factor_keys: Sequence[str | Factor] | None) -> None:
        super().__init__()
        self._factors = as_factors(() if factor_keys is None else factor_keys)

    @property
    @override
    def registry_key(self) -> str:
        return FACTORS_KEY

    @property
    @override
    def attr_name(self) -> str:
        return "obsm"

    @property
    @override
    def attr_key(self) -> str:
        return _OBSM_KEY

    @property
    @override
    def is_empty(self) -> bool:
        return not self._factors

    @override
    def validate_field(self, adata: AnnData) -> None:
        super().validate_field(adata)

    @override
    def register_field(self, adata: AnnData) -> dict[str, Any]:
        super().register_field(adata)
        if adata.obsm is None:
            raise FactorError(
                "a collection of files has no obsm to hold coded factors; leave factor_keys out, or "
                "read the cells into one AnnData."
            )
        coded = code_columns(adata, self._factors)
        adata.obsm[self.attr_key] = _as_matrix(coded)
        return {
            "names": [factor.name for factor in coded],
            "kinds": [factor.kind for factor in coded],
            "levels": {factor.name: list(factor.levels) for factor in coded if factor.levels},
            "parents": _parents(coded),
        }

    @override
    def transfer_field(
        self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any
    ) -> dict[str, Any]:
        super().transfer_field(state_registry, adata_target, **kwargs)
        adata_target.obsm[self.attr_key] = _as_matrix(
            [
                _code_for_fitted(adata_target, Factor(name, kind), state_registry["levels"])
                for name, kind in zip(state_registry["names"], state_registry["kinds"], strict=True)
            ]
        )
        return dict(state_registry)

    @override
    def get_summary_stats(self, state_registry: dict[str, Any]) -> dict[str, int]:
        return {"n_factors": len(state_registry.get("names", ()))}

    @override
    def view_state_registry(self, state_registry: dict[str, Any]) -> rich.table.Table:
        table = rich.table.Table(title="Factors")
        for header in ("name", "kind", "levels"):
            table.add_column(header)
        for name, kind in zip(state_registry["names"], state_registry["kinds"], strict=True):
            table.add_row(name, kind, ", ".join(state_registry["levels"].get(name, ())))
        return table


def _parents(coded: Sequence[CodedFactor]) -> dict[str, dict[str, list[int]]]:
    """What is nested in what; kept because new cells may come without labels."""
    found: dict[str, dict[str, list[int]]] = {}
    for child, parent in permutations(coded, 2):
        levels = parents_of_levels(child, parent)
        if levels is not None:
            found.setdefault(child.name, {})[parent.name] = levels
    return found


def code_columns(adata: AnnData, factors: Sequence[Factor]) -> list[CodedFactor]:
    """Code the columns a model is to be trained with; every refusal comes before any writing."""
    missing = [factor.name for factor in factors if factor.name not in adata.obs]
    if missing:
        raise UnknownFactorError(
            f"factor_keys {missing} are not columns of adata.obs; there are {list(adata.obs)}."
        )
    return [code_factor(adata.obs[factor.name], factor, training=True) for factor in factors]


def _code_for_fitted(adata: AnnData, factor: Factor, levels: dict[str, list[str]]) -> CodedFactor:
    """Labels of new cells in the fitted model's codes; what it cannot know is missing."""
    if factor.name not in adata.obs:
        logger.info("factor %r is not in adata.obs: its labels are missing.", factor.name)
        column = pd.Series(np.full(adata.n_obs, np.nan))
    else:
        column = adata.obs[factor.name]
    coded = code_factor(column, factor, levels=levels.get(factor.name), unseen="missing")
    n_new = int((~coded.known).sum() - pd.isna(column).sum())
    if n_new:
        warnings.warn(
            f"factor {factor.name!r}: {n_new} cells have levels the model has not seen; "
            "their labels count as missing.",
            UserWarning,
            stacklevel=4,
        )
    return coded


def _as_matrix(coded: Sequence[CodedFactor]) -> np.ndarray:
    columns = [np.where(factor.known, factor.values, np.nan) for factor in coded]
    return np.stack(columns, axis=1).astype(np.float32)


def prepare(adata: AnnData) -> None:
    """Checks that come before any field is registered."""
    if _get_adata_minify_type(adata) is None:
        check_shape_and_names(adata)


@contextmanager
def unchanged_on_error(adata: AnnData) -> Iterator[None]:
    """Take back what registering wrote into the AnnData when a later field refuses."""
    # a collection of files that stands in for an AnnData has no obsm
    stores = [store for store in (adata.obs, adata.obsm, adata.uns) if store is not None]
    before = [{key: store[key] for key in store if str(key).startswith("_")} for store in stores]
    known = [set(store) for store in stores]
    try:
        yield
    except BaseException:
        for store, old, keys in zip(stores, before, known, strict=True):
            for key in set(store) - keys:
                del store[key]
            for key, value in old.items():
                store[key] = value
        raise
