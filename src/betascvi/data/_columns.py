"""Columns of ``obs`` the networks read: scvi-tools' fields, strict about missing values."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

logger = logging.getLogger(__name__)


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
        with _levels_that_occur(adata, [self._name]):
            return super().register_field(adata)


class LevelsField(CategoricalJointObsField):
    """Categorical covariates, every cell of which has a level."""

    def __init__(self, obs_keys: list[str] | None) -> None:
        super().__init__(REGISTRY_KEYS.CAT_COVS_KEY, obs_keys)

    @override
    def register_field(self, adata: AnnData) -> dict[str, Any]:
        for name in self.attr_keys:
            _refuse_missing_levels(adata, name)
        with _levels_that_occur(adata, self.attr_keys):
            return super().register_field(adata)


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


@contextmanager
def _levels_that_occur(adata: AnnData, names: Sequence[str]) -> Iterator[None]:
    """Categories that no cell has are left out: nothing could be learnt of them.

    scvi-tools gives them weights all the same, which stay as they were drawn and would be averaged
    over wherever a covariate is left open.
    """
    as_given = {}
    for name in names:
        column = adata.obs[name]
        unused = getattr(column.dtype, "categories", pd.Index([])).difference(column.unique())
        if len(unused):
            as_given[name] = column
            adata.obs[name] = column.cat.remove_unused_categories()
            logger.info(
                "%r declares levels that no cell has, and the model does without: %s",
                name, list(unused[:10]),
            )  # fmt: skip
    try:
        yield
    finally:
        for name, column in as_given.items():
            adata.obs[name] = column


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
