"""Which axes of a latent a caller means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np

from betascvi._errors import UnknownFactorError


def chosen_axes(
    all_blocks: Mapping[str, slice],
    n_axes: int,
    blocks: str | Sequence[str] | None,
    drop: str | Sequence[str] | None,
) -> np.ndarray:
    """Indices of the axes in ``blocks`` (all by default) and not in ``drop``, in order."""
    if blocks is not None and drop is not None:
        raise ValueError("give blocks= (what to keep) or drop= (what to leave out), not both.")
    keep = np.ones(n_axes, dtype=bool) if blocks is None else _mask(all_blocks, n_axes, blocks)
    if drop is not None:
        keep &= ~_mask(all_blocks, n_axes, drop)
    if not keep.any():
        raise ValueError(
            f"no axis is left: blocks={blocks!r}, drop={drop!r} of {list(all_blocks)}."
        )
    return np.flatnonzero(keep)


def axis_names(all_blocks: Mapping[str, slice]) -> list[str]:
    """``condition``, ``batch_1``, ``batch_2``, ``free_1``...: a block of one axis bears its name."""
    names: list[str] = []
    for name, axes in all_blocks.items():
        width = axes.stop - axes.start
        is_single = width == 1 and name != "free"
        names += [name] if is_single else [f"{name}_{i + 1}" for i in range(width)]
    return names


def _mask(all_blocks: Mapping[str, slice], n_axes: int, names: str | Sequence[str]) -> np.ndarray:
    mask = np.zeros(n_axes, dtype=bool)
    for name in [names] if isinstance(names, str) else names:
        if name not in all_blocks:
            close = get_close_matches(name, all_blocks, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise UnknownFactorError(f"no block {name!r}; the model has {list(all_blocks)}{hint}")
        mask[all_blocks[name]] = True
    return mask
