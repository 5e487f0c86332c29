"""``tl.leakage``: what each block of axes still knows of each factor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData
from threadpoolctl import threadpool_limits

from betascvi import _keys
from betascvi._errors import UndefinedScoreError, UnknownFactorError
from betascvi.factors import CodedFactor, Factor, Kind
from betascvi.tl._inputs import Embedding, column_of, embedding_of, factors_of
from betascvi.tl._leak import Probing, Reading, read_leak, thin
from betascvi.tl._probes import Target

if TYPE_CHECKING:
    import pandas as pd

_MIN_GROUPS = 3  # that have a level: one held out, and two that probes can learn from
Blocks = Mapping[str, slice | Sequence[int]]


@dataclass(frozen=True, slots=True)
class Leak:
    """What one block knows of one factor."""

    block: str
    factor: str
    kind: Kind
    is_own: bool
    """The block is named after this factor: here a high figure is what it is for."""
    n_axes: int
    n_cells: int
    n_left_out: int
    """Cells without a label, or with a level too rare to be read."""
    reading: Reading | None
    implied: float | None
    """What the factor the block is named after, read perfectly, says of this one."""
    reason: str
    """Why there is no reading; empty where there is one."""


@dataclass(frozen=True, slots=True, eq=False)
class Leakage:
    """The leak of every block about every factor; ``bs.pl.leakage`` draws it."""

    key: str
    leaks: tuple[Leak, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row for each block and factor; a figure that does not exist has a reason."""
        import pandas as pd

        empty = dict.fromkeys(Reading.__slots__)
        rows = []
        for leak in self.leaks:
            row = {name: getattr(leak, name) for name in Leak.__slots__ if name != "reading"}
            read = empty if leak.reading is None else asdict(leak.reading)
            rows.append({"key": self.key, **row, **read})
        frame = pd.DataFrame(rows)
        numbers = ["leak", "low", "high", "p_value", "score", "null_mean", "implied"]
        return frame.astype(dict.fromkeys(numbers, float))[_COLUMNS]

    def matrix(self) -> pd.DataFrame:
        """(blocks, factors) leaks."""
        frame = self.to_frame()
        square = frame.pivot_table(
            index="block", columns="factor", values="leak", sort=False, dropna=False
        )
        return square.reindex(index=frame["block"].unique(), columns=frame["factor"].unique())


_COLUMNS = [
    "key", "block", "factor", "kind", "is_own", "leak", "low", "high", "p_value", "score",
    "null_mean", "implied", "probe", "null_probes", "n_axes", "n_cells", "n_left_out", "reason",
]  # fmt: skip


def leakage(
    adata: AnnData,
    key: str = _keys.LATENT,
    factor_keys: Sequence[str | Factor] = (),
    *,
    blocks: Blocks | str | Sequence[str] | None = None,
    groups: str | None = None,
    seed: int = 0,
    probing: Probing = Probing(),
) -> Leakage:
    r"""What each block of axes knows of each factor, by the best of several probes.

    .. math::
        \text{leak} = s(c, \hat c) - \overline{s(\pi c, \hat{\pi c})}, \qquad
        s = \frac{\text{balanced accuracy} - 1/K}{1 - 1/K}

    with :math:`\hat c` read from the block by probes that were fitted without the cell, and
    :math:`\pi` label permutations. For a number or an angle :math:`s` is the correlation of the
    value (of the point on the unit circle) with its reading, both as departures from the
    training mean.

    Parameters
    ----------
    adata
        Held-out cells, with the embedding in ``obsm`` and the factors in ``obs``.
    key
        Embedding in ``obsm``. Write samples with ``tl.embed(give_mean=False)`` to probe these.
    factor_keys
        Columns of ``obs``, or declared factors.
    blocks
        Name -> axes (a slice, positions or a mask), or names of blocks. ``None`` takes what ``tl.embed``
        wrote, else all axes as one block; ``"axes"`` looks at each axis alone.
    groups
        Column of ``obs`` that is held out whole, a donor for instance: what is read must then
        hold for groups the probes have not seen. Labels are permuted among groups where each
        group has one label, within groups otherwise.
    seed
        Of folds, probes, permutations and resamples.
    probing
        Folds, probes, permutations and their probes, resamples, largest number of cells.

    Returns
    -------
    A record with one entry for each block and factor; ``.to_frame()``, ``.matrix()``.

    Notes
    -----
    A block that holds noise reads 0 on average, and below 0 about half of the time. The probe
    for each fold is chosen on the other folds (the logistic one unless another leads it there
    by a standard error), because the best of four on pure noise reads 0.03-0.06 at 400-1200
    cells. Intervals are of the figure on cells drawn anew, wider for probes that other cells
    would have fitted otherwise (Nadeau and Bengio, 2003), plus the error of the null's mean. A
    leak near 0 says that these probes found nothing on so many cells, not that nothing is there.
    """
    embedding, coded = embedding_of(adata, key), factors_of(adata, factor_keys)
    chosen = _chosen_blocks(embedding, blocks)
    group_of = np.arange(adata.n_obs) if groups is None else column_of(adata, groups, "groups")
    known = {factor.name: factor for factor in coded}
    leaks = []
    with threadpool_limits(limits=1):  # on so few cells threads wait for each other
        for name, axes in chosen.items():
            z, own = embedding.z[:, axes], known.get(name)
            for factor, rng in zip(coded, _streams(seed, name), strict=False):
                leaks.append(_leak(name, z, factor, own, group_of, probing, rng))
    return Leakage(key, tuple(leaks))


def _streams(seed: int, block: str) -> Iterator[np.random.Generator]:
    """One generator a factor, the same whichever other blocks are looked at."""
    salt = [seed, *block.encode()]
    position = 0
    while True:
        yield np.random.default_rng([*salt, position])
        position += 1


def _leak(
    block: str,
    z: np.ndarray,
    factor: CodedFactor,
    own: CodedFactor | None,
    group_of: np.ndarray,
    probing: Probing,
    rng: np.random.Generator,
) -> Leak:
    rows = np.flatnonzero(_readable(factor, group_of, probing.n_folds))
    reading, implied, reason = None, None, ""
    try:
        target = _target(factor, rows, group_of)
        kept = thin(target, probing.max_cells, rng)
        rows, target = rows[kept], target.take(kept)
        reading = read_leak(z[rows], target, probing, rng)
        if own is not None and own is not factor:
            implied = _implied(own, factor, rows, group_of, probing, rng)
    except UndefinedScoreError as undefined:
        reason = str(undefined)
    return Leak(
        block=block,
        factor=factor.name,
        kind=factor.kind,
        is_own=own is factor,
        n_axes=z.shape[1],
        n_cells=len(rows),
        n_left_out=int(len(factor.values) - _readable(factor, group_of, probing.n_folds).sum()),
        reading=reading,
        implied=implied,
        reason=reason,
    )


def _readable(factor: CodedFactor, group_of: np.ndarray, n_folds: int) -> np.ndarray:
    """Cells with a label whose level was seen often enough to be in every training set."""
    known = factor.known
    if factor.kind != "categorical":
        return np.asarray(known)
    pairs = np.unique(np.column_stack([factor.values[known], group_of[known]]), axis=0)
    n_seen = np.bincount(pairs[:, 0], minlength=len(factor.levels))  # cells, or groups
    n_needed = n_folds if len(np.unique(group_of)) == len(group_of) else _MIN_GROUPS
    return np.asarray(known & (n_seen[np.maximum(factor.values, 0)] >= n_needed))


def _target(factor: CodedFactor, rows: np.ndarray, group_of: np.ndarray) -> Target:
    values = factor.values[rows]
    if factor.kind == "categorical":
        levels, values = np.unique(values, return_inverse=True)
        if len(levels) < 2:
            raise UndefinedScoreError(
                f"{factor.name}: {len(levels)} level(s) have enough cells or groups to be held "
                "out; there is nothing to tell apart."
            )
    elif len(rows) == 0 or np.ptp(values) == 0:
        raise UndefinedScoreError(f"{factor.name} does not vary over the cells it is known for.")
    return Target(factor.kind, values, group_of[rows])


def _implied(
    own: CodedFactor,
    factor: CodedFactor,
    rows: np.ndarray,
    group_of: np.ndarray,
    probing: Probing,
    rng: np.random.Generator,
) -> float | None:
    """The leak of a block that holds its own factor perfectly and nothing else."""
    both = rows[own.known[rows]]
    try:
        perfect = _target(own, both, group_of).as_columns()
        return read_leak(perfect, _target(factor, both, group_of), probing, rng).leak
    except UndefinedScoreError:
        return None


def _named_blocks(embedding: Embedding, names: str | Sequence[str]) -> Blocks:
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in embedding.blocks]
    if unknown or not names:
        raise UnknownFactorError(
            f"blocks is a mapping from names to axes, 'axes', or names of blocks that tl.embed "
            f"wrote ({list(embedding.blocks) or 'none'}); got {names!r}."
        )
    return {name: embedding.blocks[name] for name in names}


def _chosen_blocks(
    embedding: Embedding, blocks: Blocks | str | Sequence[str] | None
) -> dict[str, np.ndarray]:
    n_axes = embedding.z.shape[1]
    if isinstance(blocks, str) and blocks == "axes":
        return {name: np.array([i]) for i, name in enumerate(embedding.axes)}
    asked: Blocks = embedding.blocks
    if blocks is not None:
        asked = blocks if isinstance(blocks, Mapping) else _named_blocks(embedding, blocks)
    positions = np.arange(n_axes)
    chosen: dict[str, np.ndarray] = {}
    for name, axes in asked.items():
        where = _positions(name, axes, n_axes)
        if where.size and not np.isin(where, positions).all():
            raise UnknownFactorError(
                f"block {name!r} asks for axes {sorted(set(where.tolist()))[-3:]} and more, but "
                f"{embedding.key!r} has {n_axes} axes, 0 to {n_axes - 1}."
            )
        if where.size:
            chosen[str(name)] = where
    return chosen or {"all": positions}


def _positions(block: str, axes: slice | Sequence[int], n_axes: int) -> np.ndarray:
    """Axes of a block, given as a slice, as positions or as a mask."""
    if isinstance(axes, slice):
        return np.arange(n_axes)[axes]
    given = np.asarray(axes)
    if given.dtype != bool:
        return given.astype(int)
    if given.shape != (n_axes,):
        raise ValueError(
            f"block {block!r} is a mask of {given.size} values for {n_axes} axes; give one for "
            "each axis, or positions."
        )
    return np.flatnonzero(given)
