"""Which cells an axis is on in, upwards and downwards: where its positions part into groups."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

_N_CUTS = 256
_MOST_MOVES = 50
_OF_UNIFORM = 0.75
"""Share of its variance that two groups explain of a uniform axis."""
_THIRD_PAYS = 3.0
"""Three groups of one program each leave less than this part of what two groups leave."""


def sides(z: Float[np.ndarray, "cells axes"]) -> Bool[np.ndarray, "cells two axes"]:
    """Cells at the low end ``[:, 0]`` and at the high end ``[:, 1]`` of each axis.

    Cells part where the variance within groups is least. The two ends are all cells there are, or
    have cells between them that are at neither: where two groups explain less than they would of
    evenly spread positions, and a third one leaves less than a third of what is left.
    """
    out = np.zeros((len(z), 2, z.shape[1]), dtype=bool)
    for axis, x in enumerate(np.asarray(z, dtype=np.float64).T):
        order = np.argsort(x, kind="stable")
        low, high = _cuts(x[order] - x.mean())
        out[order[:low], 0, axis] = True
        out[order[high:], 1, axis] = True
    return out


def _cuts(x: Float[np.ndarray, " cells"]) -> tuple[int, int]:
    """How many sorted, centred positions are at the low end, and where the high end begins."""
    n, total = len(x), float(x @ x)
    at = np.unique(np.linspace(0, n, _N_CUTS + 1).round().astype(int))[1:-1]
    if at.size == 0 or x[0] == x[-1]:
        return 0, n
    sums = np.cumsum(x)[at - 1]
    two = sums**2 / at + sums**2 / (n - at)
    best = int(two.argmax())
    low, high = np.triu_indices(len(at), k=1)
    if low.size and two[best] < _OF_UNIFORM * total:
        between = (sums[high] - sums[low]) ** 2 / (at[high] - at[low])
        three = sums[low] ** 2 / at[low] + between + sums[high] ** 2 / (n - at[high])
        pair = int(three.argmax())
        if (total - three[pair]) * _THIRD_PAYS < total - two[best]:
            first, second = _settled(x, [at[low[pair]], at[high[pair]]])
            return first, second
    (cut,) = _settled(x, [at[best]])
    return cut, cut


def _settled(x: Float[np.ndarray, " cells"], cuts: list[int]) -> list[int]:
    """Cuts moved half way between the means of the groups beside them, until they stay."""
    for _ in range(_MOST_MOVES):
        means = np.array([group.mean() for group in np.split(x, cuts)])
        moved = np.searchsorted(x, (means[:-1] + means[1:]) / 2).tolist()
        if moved == cuts:
            break
        cuts = moved
    return cuts
