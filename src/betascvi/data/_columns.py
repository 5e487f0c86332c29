"""Columns of ``obs`` the networks read: scvi-tools' fields, strict about missing values."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data.fields import (
    CategoricalJointObsField,
    CategoricalObsField,
    NumericalJointObsField,
    NumericalObsField,
)
from typing_extensions import override

from betascvi._errors import FactorError, UnknownFactorError

LEVELS_SEEN = "levels_seen"
"""In a field's state: levels that cells had which the model was set up (or mapped) with.

scvi-tools keeps weights for every declared category; those of the others stay as they were drawn.
"""


class LevelField(CategoricalObsField):
    """A categorical column (batch, labels), every cell of which has a level."""

    def __init__(self, registry_key: str, obs_key: str | None) -> None:
        super().__init__(registry_key, obs_key)
        self._name = obs_key

    @override
    def register_field(self, adata: AnnData) -> dict[str, Any]:
        if self._name is None:
            return super().register_field(adata)
        _refuse_missing_levels(adata, self._name)
        state = super().register_field(adata)
        return {**state, LEVELS_SEEN: self._seen_in(adata, state)}

    @override
    def transfer_field(
        self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any
    ) -> dict[str, Any]:
        if self._name is not None and self._name in adata_target.obs:
            _refuse_missing_levels(adata_target, self._name)
        state = super().transfer_field(state_registry, adata_target, **kwargs)
        if LEVELS_SEEN not in state_registry:  # not known, of an SCVI's registry or an older one
            return state
        seen = state_registry[LEVELS_SEEN]
        if kwargs.get("extend_categories"):  # these cells are going to be trained on
            seen = list(dict.fromkeys([*seen, *self._seen_in(adata_target, state)]))
        return {**state, LEVELS_SEEN: seen}

    def _seen_in(self, adata: AnnData, state: dict[str, Any]) -> list[str]:
        return _seen(state[self.CATEGORICAL_MAPPING_KEY], adata.obs[self.attr_key])


class LevelsField(CategoricalJointObsField):
    """Categorical covariates, every cell of which has a level."""

    def __init__(self, obs_keys: list[str] | None) -> None:
        super().__init__(REGISTRY_KEYS.CAT_COVS_KEY, obs_keys)

    @override
    def register_field(self, adata: AnnData) -> dict[str, Any]:
        for name in self.attr_keys:
            _refuse_missing_levels(adata, name)
        state = super().register_field(adata)
        return {**state, LEVELS_SEEN: self._seen_in(adata, state)}

    @override
    def transfer_field(
        self, state_registry: dict[str, Any], adata_target: AnnData, **kwargs: Any
    ) -> dict[str, Any]:
        for name in self.attr_keys:
            if name in adata_target.obs:
                _refuse_missing_levels(adata_target, name)
        state = super().transfer_field(state_registry, adata_target, **kwargs)
        if LEVELS_SEEN not in state_registry:
            return state
        seen = state_registry[LEVELS_SEEN]
        if kwargs.get("extend_categories"):
            now = self._seen_in(adata_target, state)
            seen = {name: list(dict.fromkeys([*seen[name], *now[name]])) for name in seen}
        return {**state, LEVELS_SEEN: seen}

    def _seen_in(self, adata: AnnData, state: dict[str, Any]) -> dict[str, list[str]]:
        codes = adata.obsm[self.attr_key]
        return {name: _seen(state[self.MAPPINGS_KEY][name], codes[name]) for name in self.attr_keys}


class NumbersField(NumericalJointObsField):
    """Continuous covariates, every cell of which has a number."""

    def __init__(self, obs_keys: list[str] | None) -> None:
        super().__init__(REGISTRY_KEYS.CONT_COVS_KEY, obs_keys)

    @override
    def validate_field(self, adata: AnnData) -> None:
        super().validate_field(adata)
        for name in self.attr_keys:
            _numbers(adata, name)


class SizeFactorField(NumericalObsField):
    """A size factor above zero for every cell."""

    def __init__(self, obs_key: str | None) -> None:
        super().__init__(REGISTRY_KEYS.SIZE_FACTOR_KEY, obs_key, required=False)
        self._name = obs_key

    @override
    def validate_field(self, adata: AnnData) -> None:
        super().validate_field(adata)
        if self._name is None or self._name not in adata.obs:  # optional in new cells
            return
        n_bad = int((_numbers(adata, self._name) <= 0).sum())
        if n_bad:
            raise FactorError(
                f"size factor {self._name!r} of {n_bad} cells is zero or negative; size factors "
                "are positive."
            )


def refuse_unknown_columns(adata: AnnData, **names: str | list[str] | None) -> None:
    """Refuse columns that are not there, with the argument that named them and the closest."""
    for argument, keys in names.items():
        for key in [keys] if isinstance(keys, str) else keys or ():
            if key not in adata.obs:
                close = get_close_matches(key, list(adata.obs), n=1)
                hint = f"; did you mean {close[0]!r}?" if close else "."
                raise UnknownFactorError(
                    f"{argument}: {key!r} is no column of adata.obs; there are "
                    f"{list(adata.obs)}{hint}"
                )


def _seen(names: Sequence[Any], codes: Any) -> list[str]:
    """Levels that occur, of the names in the order of their codes."""
    return [str(names[code]) for code in np.unique(np.asarray(codes))]


def _refuse_missing_levels(adata: AnnData, name: str) -> None:
    n_missing = int(pd.isna(adata.obs[name]).sum())
    if n_missing:
        raise FactorError(
            f"{name!r} is missing in {n_missing} cells, and the networks need a level for each; "
            "give them one (such as 'unknown') or drop them. Labels may be missing in factor_keys."
        )


def _numbers(adata: AnnData, name: str) -> np.ndarray:
    try:
        numbers = adata.obs[name].to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError):
        raise FactorError(
            f"{name!r} is to be a number for every cell but is a column of {adata.obs[name].dtype}; "
            "name it in categorical_covariate_keys or convert it."
        ) from None
    n_bad = int((~np.isfinite(numbers)).sum())
    if n_bad:
        raise FactorError(
            f"{name!r} holds {n_bad} missing or infinite values, and the networks need a number "
            "for each cell; fill them in or drop the cells."
        )
    return numbers
