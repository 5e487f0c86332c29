"""Gene sets of a traversal: what is asked for, and scanpy's scores along the mean curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData

from betascvi._errors import UnknownFactorError
from betascvi._random_state import numpy_state_kept


def refuse_sets(gene_sets: Any) -> None:
    """Gene sets have names."""
    if gene_sets is not None and not isinstance(gene_sets, Mapping):
        raise ValueError(
            f"gene_sets maps names to genes, such as {{'interferon': ['ISG15', 'IFI6']}}, got a "
            f"{type(gene_sets).__name__}."
        )
    for name, members in (gene_sets or {}).items():
        if isinstance(members, str):
            raise ValueError(f"gene set {name!r} is a list of genes, got the name {members!r}.")


def members_of(
    gene_sets: Mapping[str, Sequence[str]], genes: Sequence[str], *, is_counts: bool
) -> dict[str, list[str]]:
    """The genes of each set that the model has; refused where no score can come of them."""
    if gene_sets and not is_counts:
        raise ValueError(
            "gene_sets are scored on counts; this model is of an embedding, or its likelihood is "
            "a Gaussian."
        )
    there, sets = set(genes), {}
    for name, members in gene_sets.items():
        found = [gene for gene in dict.fromkeys(members) if gene in there]
        if not found:
            raise UnknownFactorError(
                f"none of the {len(members)} genes of set {name!r} is among the model's genes, "
                f"which are named {list(genes[:3])}."
            )
        if len(found) == len(there):
            raise ValueError(
                f"gene set {name!r} holds all {len(there)} genes of the model, so none is left to "
                "compare them with; give a smaller set."
            )
        sets[name] = found
    return sets


def scores_of(
    mean: np.ndarray, genes: Sequence[str], sets: Mapping[str, list[str]], seed: int
) -> pd.DataFrame:
    """(steps, sets) scanpy's ``score_genes``."""
    logged = AnnData(np.log1p(mean), var=pd.DataFrame(index=list(genes)))
    with numpy_state_kept():
        for name, found in sets.items():
            _score(logged, name, found, seed)
    return pd.DataFrame(logged.obs[list(sets)].to_numpy(), columns=list(sets))


def _score(logged: AnnData, name: str, found: list[str], seed: int) -> None:
    options = {"score_name": name, "random_state": seed, "ctrl_size": min(50, len(found))}
    try:
        sc.tl.score_genes(logged, found, **options)
    except RuntimeError:  # every control that was drawn is in the set itself
        try:
            sc.tl.score_genes(logged, found, ctrl_as_ref=False, **options)
        except RuntimeError as error:
            raise ValueError(
                f"gene set {name!r} holds {len(found)} of {logged.n_vars} genes, and none of the "
                "others is expressed alike to compare them with; give a smaller set."
            ) from error
