"""Disentanglement, completeness and informativeness."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from betascvi._results import Score
from betascvi.metrics._boosting import BoostedProbe, targets
from betascvi.metrics._folds import as_groups, deal_folds
from betascvi.metrics._inputs import Column, Flags, as_columns, as_embedding, live_axes
from betascvi.metrics._threads import side_by_side

_N_PARTS = 4  # one in four cells is held out for informativeness


def dci(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    discrete: Flags = None,
    n_bins: int = 20,
    *,
    circular: Flags = None,
    informativeness: bool = True,
    groups: Any = None,
    seed: int = 0,
) -> Score:
    r"""Disentanglement, completeness and informativeness by boosted trees.

    .. math::
        D = \sum_i \rho_i \Bigl(1 + \sum_j p_{ij} \log_K p_{ij}\Bigr), \qquad
        C = \frac{1}{K} \sum_j \Bigl(1 + \sum_i r_{ij} \log_d r_{ij}\Bigr)

    with :math:`r_{ij}` the share of axis :math:`i` in what the trees use for factor :math:`j`,
    :math:`p_{ij} = r_{ij} / \sum_l r_{il}` and :math:`\rho_i = \sum_j r_{ij} / K` for
    :math:`K` factors and :math:`d` axes (section 2 of :cite:p:`Eastwood18`).

    Parameters
    ----------
    z
        Embedding, (cells, axes), two axes or more.
    factors
        Two factors or more: (cells, factors) array, a list of columns, a data frame or coded
        factors; NaN and None are missing labels, and each factor is scored on the cells that
        have one.
    discrete
        Whether a factor is made of levels: one bool, or one per factor. ``None`` reads floats
        as continuous and everything else as levels.
    n_bins
        Bins that spread a continuous factor evenly over fitted and held-out cells. The trees
        regress on its raw values: binned for a classifier, a perfect code drops to D = 0.78.
    circular
        Whether a factor is an angle: one bool, or one per factor. Trees regress on cosine and
        sine, and their gains are added.
    informativeness
        Whether to fit again on three quarters of the cells and ask about the last quarter;
        without it the call takes half the time.
    groups
        (cells,) labels that the held-out quarter does not divide: copies of a resampled cell,
        donors.
    seed
        Of the held-out quarter.

    Returns
    -------
    Score, in [0, 1], higher is better. The headline is ``parts["disentanglement"]``;
    ``parts["completeness"]`` and ``parts["informativeness"]`` stand beside it, with
    ``n_dead_axes``. ``per_factor`` is the disentanglement of the axes that serve a factor (its
    mean is the headline), ``evidence`` the importance matrix r, ``details`` hold ``per_axis``
    disentanglement, ``completeness`` and ``informativeness`` of each factor.

    Notes
    -----
    Trees are LightGBM's (100 of depth 3, gain importances), fitted on *all* cells for the
    importances; informativeness is on held-out cells: accuracy for levels, 1 minus residual
    over total variance for numbers (negative where worse than the mean) and for angles over
    cosine and sine together. D and C of a random code are about 0.05 to 0.15 at 1000 cells and
    **change with the number of cells**: compare embeddings at one n only. A factor split over
    two axes keeps D and loses C. Dead axes have no weight in D; an embedding of dead axes
    scores 0.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> levels = np.random.default_rng(0).integers(3, size=(800, 2))
    >>> score = bs.metrics.dci(levels.astype(float), levels)
    >>> float(score) > 0.99, score.parts["completeness"] > 0.99
    (True, True)
    """
    z = as_embedding(z, min_axes=2, asked_by="dci")
    columns = as_columns(factors, len(z), discrete, circular, min_factors=2, asked_by="dci")
    cell_groups = as_groups(groups, len(z))
    probes = _probes(z, columns, seed)

    def ask(task: tuple[int, bool]) -> Any:
        j, is_held_out = task
        column = columns[j]
        if not is_held_out:
            return probes[j].gains(column)
        rows_groups = None if cell_groups is None else column.rows(cell_groups)
        levels = column.present_levels(n_bins)
        folds = deal_folds(levels, _N_PARTS, np.random.default_rng(seed), rows_groups)
        return _informativeness(probes[j], column, folds == 0)

    # The factor with most levels costs most and goes first.
    order = sorted(range(len(columns)), key=lambda j: -columns[j].levels(n_bins)[1])
    gains = dict(zip(order, side_by_side(ask, [(j, False) for j in order]), strict=True))
    importance = np.column_stack([gains[j] for j in range(len(columns))])
    informed = None
    if informativeness:
        shares = dict(zip(order, side_by_side(ask, [(j, True) for j in order]), strict=True))
        informed = np.array([shares[j] for j in range(len(columns))])
    return _score(importance, informed, live_axes(z))


def _probes(z: np.ndarray, columns: Sequence[Column], seed: int) -> list[BoostedProbe]:
    """A probe for each column; columns that know the same cells share one binning of z."""
    probes: dict[bytes, BoostedProbe] = {}
    keys = [b"" if c.known is None else np.packbits(c.known).tobytes() for c in columns]
    for key, column in zip(keys, columns, strict=True):
        if key not in probes:
            probes[key] = BoostedProbe(column.rows(z), seed)
    return [probes[key] for key in keys]


def _informativeness(probe: BoostedProbe, column: Column, held_out: np.ndarray) -> float:
    guess = probe.predict(column, np.flatnonzero(~held_out), np.flatnonzero(held_out))
    truth = np.column_stack([target for target, _ in targets(column)])[held_out]
    if column.kind == "categorical":
        return float((guess == truth).mean())
    return float(1 - ((guess - truth) ** 2).sum() / ((truth - truth.mean(axis=0)) ** 2).sum())


def _score(gains: np.ndarray, informed: np.ndarray | None, is_live: np.ndarray) -> Score:
    totals = gains.sum(axis=0)
    importance = np.divide(gains, totals, out=np.zeros_like(gains), where=totals > 0)
    per_axis = _concentration(importance.T)
    completeness = _concentration(importance)
    weight = importance.sum(axis=1)
    total = weight.sum()
    value = float(per_axis @ weight / total) if total > 0 else 0.0
    complete = float(completeness @ importance.sum(axis=0) / total) if total > 0 else 0.0
    parts = {"disentanglement": value, "completeness": complete}
    details = {"per_axis": per_axis, "completeness": completeness}
    if informed is not None:
        parts["informativeness"] = float(informed.mean())
        details["informativeness"] = informed
    parts["n_dead_axes"] = float((~is_live).sum())
    return Score(
        "dci", value, importance.T @ per_axis, importance,
        MappingProxyType(parts), MappingProxyType(details),
    )  # fmt: skip


def _concentration(weights: Float[np.ndarray, "sharers items"]) -> Float[np.ndarray, " items"]:
    """1 minus the entropy of each column in units of its largest; 0 for an empty column."""
    totals = weights.sum(axis=0)
    shares = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = -(shares * logs).sum(axis=0) / np.log(len(weights))
    return np.where(totals > 0, 1 - entropy, 0.0)
