"""``tl.counterfactual``: the same cells, had a factor been another."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from betascvi import _keys
from betascvi._errors import UnknownFactorError
from betascvi._whole_numbers import refuse_count
from betascvi.factors import aligned
from betascvi.model import BetaSCVI
from betascvi.model._predictive import is_gaussian
from betascvi.tl._calibration import calibrated
from betascvi.tl._counterfactual_counts import carried_counts, drawn_counts
from betascvi.tl._counterfactual_record import Counterfactual
from betascvi.tl._data_error import data_error, group_codes, has_training_counts
from betascvi.tl._encoded import Encoded, encode, obs_of_targets
from betascvi.tl._group_effects import GroupStatistics, PairedMoments, group_frame
from betascvi.tl._own_settings import per_10k
from betascvi.tl._store import Store, as_store, chunks, opened
from betascvi.tl._support import Support, support_of
from betascvi.tl._targets import Targets, targets_of

_OUTPUTS = ("mean", "counts", "carried", "statistics")
_DRAWN = ("counts", "carried")
_INTERVAL = (0.05, 0.95)
_NARROW = (
    "intervals do not cover what the training cells leave open: their counts are not at hand "
    "(minified data, or a model loaded with other cells)."
)


def counterfactual(  # noqa: PLR0913 (what to change, of which cells, how, and where to)
    model: BetaSCVI,
    adata: AnnData,
    changes: Mapping[str, Any],
    indices: Sequence[int] | np.ndarray | None = None,
    output: Literal["mean", "counts", "carried", "statistics"] | GroupStatistics = "mean",
    n_samples: int | None = None,
    seed: int = 0,
    store: str | Path | Store = "memory",
    *,
    calibrate_by: str | None = None,
) -> Counterfactual:
    r"""Expression of the same cells with some factors set to other values.

    A cell is encoded once. What is changed is the block of the factor,

    .. math:: z_k' = z_k + m_{\mathrm{target}} - m_{\mathrm{own}}

    with its frozen anchors :math:`m` (an angle turns the block instead), or the covariate the
    decoder is conditioned on, or both; all other axes, the cell's own offset within its level and
    its library size stay. A cell set to its own level is its reconstruction, to the last bit.

    Parameters
    ----------
    model
        A trained model with a handle on each factor: an anchor, or a decoder covariate.
    adata
        Cells to change; those of the training, or others with the same genes.
    changes
        Factor to target: a level, a number, an angle in radians, one of them for each cell, or a
        mixture, ``{"condition": {"ctrl": 1, "stim": 3}}``. Several factors change at once.
    indices
        Positions of, or a mask over, the cells to change; all by default.
    output
        ``"mean"``: expected counts (of a zero-inflated likelihood those before inflation, as
        ``get_normalized_expression`` has them). ``"counts"``: counts drawn from the predictive likelihood.
        ``"carried"``: the counts of the cell itself, carried over: drawn from what the model says
        of the target *given* what was counted, so that what the model cannot explain of a cell
        stays with it. It comes nearest to real cells.
        ``"statistics"``, or :class:`GroupStatistics`: group means and log-fold changes with
        intervals, without any matrix of cells and genes.
    n_samples
        Posterior draws of each cell's position, the same before and after the change. By default
        means and statistics stand at the posterior mean, and counts are one draw.
    seed
        Of every draw.
    store
        ``"memory"``, ``"sparse"``, the path of a zarr store, or :class:`Store`.
    calibrate_by
        Column of ``adata.obs``, and of the training cells', that names kinds of cells. Kinds that
        were seen on both sides of the change are moved and compared with the cells that are there;
        what is missing of their change, gene by gene, is added to that of the cells asked about:
        their own kind's, or where that was not seen on both sides a mean of the other kinds',
        the nearer ones first. Totals of expected counts stay as they were. What differs between
        the sides besides (a batch that the model has no handle on) is taken for the change.

    Returns
    -------
    The record; ``.to_anndata()`` has the cells, ``.to_frame()`` the statistics, and ``print``
    says what was never seen in training.

    Notes
    -----
    For ``"mean"`` with several draws, ``X`` is their mean and ``layers["low"]``, ``["high"]`` hold
    the central 90 % of them. For ``"counts"`` and ``"carried"`` further draws are ``layers["sample_2"]``... beside
    ``layers["factual_2"]``...

    The interval of a log-fold change covers the choice of cells, the posterior of each of them (with
    ``n_samples``) and what the training cells of either arm leave open about a gene's mean. For a group
    of ``groupby`` with fewer than 20 training cells in an arm it covers besides how much the response
    differs between the groups that have them, where three groups or more do. It does not cover a
    model that is wrong: for a combination never seen in training, believe the warning first.

    A counterfactual is causal only as far as the factor was assigned independently of all that
    the latent does not hold.

    Examples
    --------
    >>> stimulated = bs.tl.counterfactual(model, adata, {"condition": "stim"})
    >>> stimulated.to_anndata().layers["factual"]
    >>> by_type = bs.tl.GroupStatistics(groupby="cell_type")
    >>> bs.tl.counterfactual(model, adata, {"condition": "stim"}, output=by_type).to_frame()
    >>> bs.tl.counterfactual(model, new_type, {"condition": "stim"}, calibrate_by="cell_type")
    """
    asked = as_store(store)
    _refuse(model, output, n_samples, asked)
    kind = output if isinstance(output, str) else "statistics"
    n_draws = 1 if kind in _DRAWN and n_samples is None else n_samples
    encoded = encode(model, adata, indices, with_sd=n_draws is not None)
    changes = aligned(changes, encoded.obs.index)
    targets = targets_of(model, changes, encoded.cells)
    groups = GroupStatistics() if isinstance(output, str) else output
    names = _group_names(encoded.obs, groups)
    support = _support(encoded, targets, seed)
    if calibrate_by is not None:
        targets, notes = calibrated(encoded, targets, calibrate_by, carries=kind == "carried")
        support = replace(support, notes=(*support.notes, *notes))
    if kind == "statistics":
        if not has_training_counts(model):
            support = replace(support, notes=(*support.notes, _NARROW))
            warnings.warn(_NARROW, UserWarning, stacklevel=2)
        table = _statistics(encoded, targets, names, groups, n_draws, seed, asked.chunk_size)
        return Counterfactual(
            dict(changes), kind, len(encoded.obs), n_draws, support.seen, support.notes, None,
            statistics=table,
        )  # fmt: skip
    about: dict[str, Any] = {"output": kind, "seed": seed}
    if calibrate_by is not None:
        about["calibrate_by"] = calibrate_by
    return _matrices(encoded, targets, support, n_draws, asked, changes, about)


def _refuse(model: BetaSCVI, output: Any, n_samples: int | None, store: Store) -> None:
    if not isinstance(output, GroupStatistics) and output not in _OUTPUTS:
        raise ValueError(f"output is one of {_OUTPUTS} or GroupStatistics, got {output!r}.")
    if n_samples is not None:
        refuse_count("n_samples", n_samples)
    if output in _DRAWN and is_gaussian(model):
        raise ValueError(
            f"output={output!r} draws counts, and this model's likelihood is a Gaussian; ask for "
            "output='mean'."
        )
    if output == "carried":
        _refuse_to_carry(model)
    is_statistics = isinstance(output, GroupStatistics) or output == "statistics"
    if is_statistics and store.where != "memory":
        raise ValueError(
            f"settings contradict each other: statistics are small and come in the record, and "
            f"store={str(store.where)!r} is for matrices."
        )
    if is_statistics and is_gaussian(model):
        raise ValueError(
            "log-fold changes are of counts, and this model's likelihood is a Gaussian; ask for "
            "output='mean'."
        )
    if output == "mean" and store.where == "sparse":
        raise ValueError(
            "settings contradict each other: expected counts are nowhere zero, so store='sparse' "
            "would take twice the space; use 'memory', a zarr path, or output='counts'."
        )
    store.refuse_existing()


def _refuse_to_carry(model: BetaSCVI) -> None:
    if model.minified_data_type is not None:
        raise ValueError(
            "output='carried' starts from the counts of the cells, and those of minified data are "
            "gone; ask for output='counts'."
        )
    if model.module.gene_likelihood not in ("nb", "poisson"):
        raise ValueError(
            f"output='carried' needs gene_likelihood 'nb' or 'poisson', and this model's is "
            f"{model.module.gene_likelihood!r}; ask for output='counts'."
        )


def _support(encoded: Encoded, targets: Targets, seed: int) -> Support:
    rng = np.random.default_rng(seed)
    z = encoded.mean
    support = support_of(encoded.model, targets, encoded.cells, z, rng)
    for note in support.notes:
        warnings.warn(note, UserWarning, stacklevel=3)
    return support


def _matrices(
    encoded: Encoded,
    targets: Targets,
    support: Support,
    n_draws: int | None,
    store: Store,
    changes: Mapping[str, Any],
    about: Mapping[str, Any],
) -> Counterfactual:
    obs = obs_of_targets(encoded.obs, targets.words)
    if support.distance is not None:
        obs["distance_to_training"] = support.distance
    skeleton = AnnData(obs=obs, var=pd.DataFrame(index=encoded.genes))
    asked_for = {name: str(target) for name, target in changes.items()}
    skeleton.uns[_keys.UNS] = {"counterfactual": asked_for, **about}
    output, seed = about["output"], about["seed"]
    is_counts = output in _DRAWN
    make = {"mean": _means, "counts": drawn_counts, "carried": carried_counts}[output]
    with opened(store, skeleton, is_counts=is_counts) as sink:
        for rows in chunks(len(obs), store.chunk_size):
            sink.put(rows, make(encoded, targets, rows, n_draws, seed, store.factual))
    return Counterfactual(
        dict(changes), output, len(obs), n_draws, support.seen, support.notes,
        None if store.path is not None else skeleton, store.path,
    )  # fmt: skip


def _means(
    encoded: Encoded, targets: Targets, rows: slice, n_draws: int | None, seed: int, factual: bool
) -> dict[str, np.ndarray]:
    """Expected counts of one chunk, with the central 90 % of them over several draws."""
    drawn, before = [], []
    for sample in _samples(n_draws):
        z = encoded.positions(sample, seed)
        drawn.append(encoded.mixed(z, targets, rows))
        if factual:
            before.append(encoded.factual(z, rows).mean)
    out = {"X": drawn[0] if len(drawn) == 1 else np.mean(drawn, axis=0)}
    if factual:
        out[_keys.FACTUAL] = before[0] if len(before) == 1 else np.mean(before, axis=0)
    if len(drawn) > 1:
        out["low"], out["high"] = np.quantile(drawn, _INTERVAL, axis=0)
    return out


def _statistics(
    encoded: Encoded,
    targets: Targets,
    names: pd.MultiIndex | pd.Index,
    asked: GroupStatistics,
    n_draws: int | None,
    seed: int,
    chunk_size: int,
) -> pd.DataFrame:
    """Means and fold changes, from sums that never hold more than a chunk of cells."""
    columns, n_cells = list(asked.columns), len(encoded.obs)
    groups = group_codes(encoded.obs, columns, names) if columns else np.zeros(n_cells, dtype=int)
    draws = []
    for sample in _samples(n_draws):
        z = encoded.positions(sample, seed)
        moments = PairedMoments(len(names), len(encoded.genes))
        for rows in chunks(n_cells, chunk_size):
            before = per_10k(encoded.factual(z, rows).mean)
            moments.add(groups[rows], before, per_10k(encoded.mixed(z, targets, rows)))
        draws.append(moments)
    of_data = data_error(encoded, targets, groups, names)
    words = [" / ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in names]
    return group_frame(words, encoded.genes, draws, of_data, asked.level)


def _samples(n_draws: int | None) -> Sequence[int | None]:
    return (None,) if n_draws is None else tuple(range(n_draws))


def _group_names(obs: pd.DataFrame, asked: GroupStatistics) -> pd.MultiIndex | pd.Index:
    columns = list(asked.columns)
    for column in columns:
        if column not in obs:
            raise UnknownFactorError(
                f"groupby {column!r} is no column of adata.obs; there are {list(obs)}."
            )
    if not columns:
        return pd.Index(["all cells"])
    known = obs[columns].dropna().astype(str).drop_duplicates().sort_values(columns)
    if known.empty:
        raise ValueError(f"no cell has a value of {columns}, so that there is no group.")
    if len(columns) > 1:
        return pd.MultiIndex.from_frame(known)
    return pd.Index(known[columns[0]], name=columns[0])
