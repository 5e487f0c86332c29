"""The fields that ``setup_anndata`` registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anndata import AnnData
from scvi import REGISTRY_KEYS
from scvi.data.fields import BaseAnnDataField

from betascvi.data import (
    CountsField,
    EmbeddingField,
    FactorsField,
    LevelField,
    LevelsField,
    NumbersField,
    SizeFactorField,
    refuse_unknown_columns,
)
from betascvi.factors import Factor

_COLUMNS = (
    "batch_key",
    "labels_key",
    "size_factor_key",
    "categorical_covariate_keys",
    "continuous_covariate_keys",
)

_LISTS = ("categorical_covariate_keys", "continuous_covariate_keys")


def refuse_impossible(adata: AnnData, arguments: Mapping[str, Any], *, is_new_data: bool) -> None:
    """Refuse an embedding and counts at once, and columns that are not there."""
    of_counts = [name for name in ("layer", "size_factor_key") if arguments[name] is not None]
    if arguments["obsm_key"] is not None and of_counts:
        raise ValueError(
            f"obsm_key={arguments['obsm_key']!r} takes the place of counts: "
            f"leave {' and '.join(of_counts)} out."
        )
    for name in _LISTS:
        if isinstance(arguments[name], str):
            raise ValueError(
                f"{name} is a list of columns, got {arguments[name]!r}; write [{arguments[name]!r}]."
            )
    if not is_new_data:  # what new cells can do without is for each field to say
        refuse_unknown_columns(adata, **{name: arguments[name] for name in _COLUMNS})


def fields_for(
    layer: str | None,
    batch_key: str | None,
    labels_key: str | None,
    size_factor_key: str | None,
    categorical_covariate_keys: list[str] | None,
    continuous_covariate_keys: list[str] | None,
    factor_keys: Sequence[str | Factor] | None,
    obsm_key: str | None,
) -> list[BaseAnnDataField]:
    """scvi-tools' fields, with our checks on the data, and the factors."""
    return [
        CountsField(layer) if obsm_key is None else EmbeddingField(obsm_key),
        LevelField(REGISTRY_KEYS.BATCH_KEY, batch_key),
        LevelField(REGISTRY_KEYS.LABELS_KEY, labels_key),
        SizeFactorField(size_factor_key),
        LevelsField(categorical_covariate_keys),
        NumbersField(continuous_covariate_keys),
        FactorsField(factor_keys),
    ]
