"""``tl.score_disentanglement``: all metrics side by side, on any embedding."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from anndata import AnnData

from betascvi import _keys
from betascvi._errors import UnknownFactorError
from betascvi.factors import CodedFactor, Factor, Overlap, overlap_of
from betascvi.tl._budget import Budget
from betascvi.tl._figures import FITTED, INFORMATION
from betascvi.tl._inputs import column_of, embedding_of, factors_of
from betascvi.tl._score_rows import Scene, fitted_rows, information_rows, nested_rows
from betascvi.tl._score_table import ScoreTable

METRICS = (*INFORMATION, *FITTED)


def score_disentanglement(
    adata: AnnData,
    key: str = _keys.LATENT,
    factor_keys: Sequence[str | Factor] = (),
    *,
    metrics: Sequence[str] = METRICS,
    strata: str | None = None,
    seed: int = 0,
    budget: Budget = Budget(),
    key_added: str | None = None,
) -> ScoreTable:
    """Disentanglement metrics side by side, each with its null, its interval and its ceiling.

    Parameters
    ----------
    adata
        Cells with an embedding in ``obsm`` and factors in ``obs``. Hand over held-out cells,
        ``adata[model.validation_indices]``: an encoder has seen the others.
    key
        Any embedding in ``obsm``: ours, scVI's, DRVI's, PCA, Harmony.
    factor_keys
        Columns of ``obs``, or declared factors (``bs.Factor("phase_angle", kind="circular")``).
        A missing label leaves the cell out of that factor's figures only.
    metrics
        Among mig, modularity, dci, sap, explicitness, condition_prediction.
    strata
        Column of ``obs`` within whose levels labels are permuted for the null: what is left is
        what the embedding knows beyond it.
    seed
        Of subsamples, splits, permutations and resamples.
    budget
        Cells, permutations and resamples.
    key_added
        Store the table as a data frame in ``adata.uns["betascvi"][key_added]``.

    Returns
    -------
    A record; ``.to_frame()`` has one row a figure, ``.matrix()`` metrics against factors,
    ``.overlap`` says how the factors stand to each other.

    Notes
    -----
    ``null_mean`` and ``p_value`` come from permuting the labels of whole cells (all factors
    together, so that they stay as dependent as they are). ``low`` and ``high`` are a 95 %
    interval for the expected score *at this number of cells*, from subsamples drawn without
    replacement (a delete-d jackknife): no cell appears twice, so none can stand on both sides of a split. DCI changes
    with the number of cells and plug-in information is biased upwards: compare embeddings on
    the same cells. ``ceiling`` is what a perfect code scores where one axis holds one factor:
    for MIG 1 - max_l I(c_k; c_l) / H(c_k). SAP fits axes as they are spaced: its ceiling is of
    levels 0, 1, 2, ... and another spacing may score above it.

    A factor nested in another (donor in batch) gets further rows with ``given`` set: MIG within
    the levels of its parent, with labels permuted within them too.

    Examples
    --------
    >>> import betascvi as bs
    >>> atlas = bs.datasets.simulated_atlas(n_cells=400, n_genes=60, seed=0)
    >>> atlas.obsm["X_counts"] = atlas.X[:, :5].toarray()
    >>> table = bs.tl.score_disentanglement(
    ...     atlas, "X_counts", ["condition", "batch"], metrics=["mig"]
    ... )
    >>> table.to_frame()["factor"].tolist()
    ['all', 'condition', 'batch']
    """
    if isinstance(metrics, str) or not metrics or not set(metrics) <= set(METRICS):
        raise UnknownFactorError(f"metrics is a list of some of {METRICS}, got {metrics!r}.")
    embedding, factors = embedding_of(adata, key), factors_of(adata, factor_keys)
    overlap = overlap_of(factors, budget.n_bins) if len(factors) > 1 else None
    scene = Scene(
        z=embedding.z,
        factors=tuple(factors),
        strata=np.zeros(adata.n_obs, int) if strata is None else column_of(adata, strata, "strata"),
        overlap=overlap,
        budget=budget,
        seed=seed,
    )
    rows = information_rows(scene, [m for m in metrics if m in INFORMATION])
    rows += fitted_rows(scene, [m for m in metrics if m in FITTED])
    if "mig" in metrics:
        rows += nested_rows(scene, _categorical_nesting(overlap, factors))
    order = {name: i for i, name in enumerate(metrics)}
    rows.sort(key=lambda row: (order[row.metric], row.given != ""))
    settings = {"seed": seed, "strata": strata, "metrics": list(metrics), **asdict(budget)}
    table = ScoreTable(key, tuple(rows), overlap, settings)
    if key_added is not None:
        _store(adata, key_added, table)
    return table


def _categorical_nesting(
    overlap: Overlap | None, factors: Sequence[CodedFactor]
) -> list[tuple[CodedFactor, CodedFactor]]:
    known = {factor.name: factor for factor in factors if factor.kind == "categorical"}
    pairs = () if overlap is None else overlap.nested
    return [(known[c], known[p]) for c, p in pairs if c in known and p in known]


def _store(adata: AnnData, key_added: str, table: ScoreTable) -> None:
    uns = dict(adata.uns.get(_keys.UNS, {}))
    uns[key_added] = {"table": table.to_frame(), "settings": json.dumps(dict(table.settings))}
    adata.uns[_keys.UNS] = uns
