"""The global random generators of the user's session: borrowed, and given back as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def numpy_state_kept() -> Iterator[None]:
    """Whoever seeds numpy's global generator within (scanpy does) leaves no trace of it."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Global generators of numpy and torch at ``seed`` within, and as they were afterwards."""
    import torch

    with numpy_state_kept(), torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (what scvi-tools draws from)
        yield
