"""The fields that ``setup_anndata`` registers."""

from __future__ import annotations

from collections.abc import Sequence

from scvi import REGISTRY_KEYS
from scvi.data.fields import (
    BaseAnnDataField,
    CategoricalJointObsField,
    CategoricalObsField,
    NumericalJointObsField,
    NumericalObsField,
)

from betascvi.data import CountsField, EmbeddingField, FactorsField
from betascvi.factors import Factor


def refuse_two_sources(obsm_key: str | None, **of_counts: str | None) -> None:
    """Refuse an embedding and counts at once."""
    given = [name for name, key in of_counts.items() if key is not None]
    if obsm_key is not None and given:
        raise ValueError(
            f"obsm_key={obsm_key!r} takes the place of counts: leave {' and '.join(given)} out."
        )


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
        CategoricalObsField(REGISTRY_KEYS.BATCH_KEY, batch_key),
        CategoricalObsField(REGISTRY_KEYS.LABELS_KEY, labels_key),
        NumericalObsField(REGISTRY_KEYS.SIZE_FACTOR_KEY, size_factor_key, required=False),
        CategoricalJointObsField(REGISTRY_KEYS.CAT_COVS_KEY, categorical_covariate_keys),
        NumericalJointObsField(REGISTRY_KEYS.CONT_COVS_KEY, continuous_covariate_keys),
        FactorsField(factor_keys),
    ]
