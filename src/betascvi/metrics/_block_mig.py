"""Mutual information gap between named blocks of axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from betascvi._errors import UndefinedScoreError, UnknownFactorError
from betascvi._results import Score
from betascvi.metrics._boosting import BoostedProbe
from betascvi.metrics._folds import as_groups, deal_folds
from betascvi.metrics._information import factor_entropies, joint_counts, mutual_information
from betascvi.metrics._inputs import Column, Flags, as_columns, as_embedding, equal_width_bins

_N_FOLDS = 5

Axes = slice | Sequence[int] | np.ndarray


def block_mig(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    blocks: Mapping[str, Axes],
    own: Sequence[str] | Mapping[str, str] | None = None,
    *,
    discrete: Flags = None,
    n_bins: int = 20,
    groups: Any = None,
    seed: int = 0,
) -> Score:
    r"""How far a factor's own block leads every other block.

    .. math::
        \mathrm{blockMIG}_j = \frac{I(c_j; \hat c_j^{(k_j)})
        - \max_{k \ne k_j} I(c_j; \hat c_j^{(k)})}{H(c_j)}

    with :math:`\hat c_j^{(k)}` the factor as boosted trees guess it from block :math:`k` alone,
    every cell by trees that have not seen it (five folds), :math:`k_j` the factor's own block.

    Parameters
    ----------
    z
        Embedding, (cells, axes).
    factors
        (cells, factors) array, a list of columns, a data frame or coded factors; NaN and None
        are missing labels. Angles are handed over as coded factors of kind circular.
    blocks
        Name of each block and its axes, as ``model.blocks`` has them: two or more.
    own
        Own block of each factor: names in the order of the factors, or a mapping from factor
        name to block name. ``None`` takes the block that bears the factor's name (data frames
        and coded factors have names).
    discrete
        Whether a factor is made of levels: one bool, or one per factor. ``None`` reads floats
        as continuous and everything else as levels.
    n_bins
        Equal-width bins of a continuous or circular factor and of the guess.
    groups
        (cells,) labels that no fold divides: copies of a resampled cell, donors.
    seed
        Of the folds and trees.

    Returns
    -------
    Score in [-1, 1], higher is better; negative where another block knows more. ``per_factor``
    holds each factor, ``evidence`` the mutual information in nats (blocks x factors, blocks in
    the order given), ``parts`` the mean share known by the own block (``own_block``) and by the
    best other (``best_other``).

    Notes
    -----
    A random code scores about 0. Unlike :func:`~betascvi.metrics.mig` it does not punish a
    factor that needs several axes, as long as they are one block. The guess is a single level,
    so a block that shifts the odds without changing the likeliest level scores 0: use
    ``tl.leakage`` for small leaks.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> rng = np.random.default_rng(0)
    >>> batch = rng.integers(3, size=900)
    >>> z = np.column_stack([np.eye(3)[batch], rng.normal(size=(900, 2))])
    >>> score = bs.metrics.block_mig(z, batch, {"batch": slice(0, 3), "free": [3, 4]}, ["batch"])
    >>> float(score) > 0.95
    True
    """
    z = as_embedding(z)
    columns = as_columns(factors, len(z), discrete, asked_by="block_mig")
    names = list(blocks)
    if len(names) < 2:
        raise UndefinedScoreError(f"block_mig compares blocks and needs two; got {names}.")
    mine = [names.index(name) for name in _own_blocks(columns, names, own)]
    cell_groups = as_groups(groups, len(z))
    information = np.empty((len(names), len(columns)))
    for j, column in enumerate(columns):
        known_groups = None if cell_groups is None else column.rows(cell_groups)
        levels = column.present_levels(n_bins)
        folds = deal_folds(levels, _N_FOLDS, np.random.default_rng(seed), known_groups)
        for k, name in enumerate(names):
            block = column.rows(_axes(z, name, blocks[name]))
            information[k, j] = _known(block, column, n_bins, folds, seed)
    share = information / factor_entropies(columns, n_bins)
    own_share = share[mine, np.arange(len(columns))]
    others = share.copy()
    others[mine, np.arange(len(columns))] = -np.inf
    gaps = own_share - others.max(axis=0)
    parts = {"own_block": float(own_share.mean()), "best_other": float(others.max(axis=0).mean())}
    return Score("block_mig", float(gaps.mean()), gaps, information, MappingProxyType(parts))


def _own_blocks(
    columns: Sequence[Column], names: Sequence[str], own: Sequence[str] | Mapping[str, str] | None
) -> list[str]:
    labels = [column.label for column in columns]
    if isinstance(own, Mapping):
        chosen = [own.get(label, label) for label in labels]
    else:
        chosen = labels if own is None else [own] if isinstance(own, str) else list(own)
    if len(chosen) != len(columns):
        raise ValueError(
            f"own names one block per factor; got {len(chosen)} for {len(columns)} factors."
        )
    for column, block in zip(columns, chosen, strict=True):
        if block not in names:
            raise UnknownFactorError(
                f"{column.name} has no block of its own: {block!r} is not among {list(names)}; "
                "say which with own=."
            )
    return chosen


def _axes(z: np.ndarray, name: str, axes: Axes) -> np.ndarray:
    n_axes = z.shape[1]
    if isinstance(axes, slice):
        is_inside = all(end is None or -n_axes <= end <= n_axes for end in (axes.start, axes.stop))
        chosen = np.arange(n_axes)[axes]
    else:
        chosen = np.asarray(axes)
        is_inside = bool(np.isin(chosen, np.arange(-n_axes, n_axes)).all())
    if chosen.ndim != 1 or len(chosen) == 0 or not is_inside:
        raise ValueError(
            f"block {name!r} holds no axis of z, or one beyond the {n_axes} of z: {axes!r}."
        )
    return z[:, chosen]


def _known(
    z: Float[np.ndarray, "cells axes"],
    column: Column,
    n_bins: int,
    folds: Int[np.ndarray, " cells"],
    seed: int,
) -> float:
    """Mutual information of a factor with its cross-fitted guess from one block."""
    probe = BoostedProbe(z, seed)
    guess = np.empty((len(z), 2 if column.kind == "circular" else 1))
    for f in range(_N_FOLDS):
        asked = np.flatnonzero(folds == f)
        guess[asked] = probe.predict(column, np.flatnonzero(folds != f), asked)
    levels, n_levels = column.levels(n_bins)
    if column.kind == "categorical":
        named, n_named = guess[:, 0].astype(np.intp), n_levels
    elif column.kind == "circular":
        turn = np.mod(np.arctan2(guess[:, 1], guess[:, 0]), 2 * np.pi)
        named, n_named = Column("guess", "circular", turn, None).levels(n_bins)
    else:
        named, n_named = equal_width_bins(guess[:, 0], n_bins), n_bins
    return mutual_information(joint_counts(named, levels, n_named, n_levels))
