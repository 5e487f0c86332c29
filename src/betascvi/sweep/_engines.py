"""How the trainings of a sweep are carried out: a table of engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from anndata import AnnData

from betascvi._errors import TrainingError
from betascvi._random_state import seeded
from betascvi.model import BetaSCVI
from betascvi.sweep._spec import RunSpec

Split = tuple[np.ndarray, np.ndarray]
"""Positions of training cells and of held-out cells."""
Engine = Callable[
    [Sequence[RunSpec], AnnData, Split], Iterator[tuple[RunSpec, "BetaSCVI | TrainingError"]]
]
"""Yields each run with its trained model, or the reason why it stopped, in any order."""


def sequential(
    runs: Sequence[RunSpec], adata: AnnData, split: Split
) -> Iterator[tuple[RunSpec, BetaSCVI | TrainingError]]:
    """One training after the other, in this process."""
    for spec in runs:
        with seeded(spec.seed):
            model = BetaSCVI(adata, **spec.model, objective=spec.objective)
            try:
                model.train(**training_arguments(spec, split))
            except TrainingError as error:
                yield spec, error
                continue
        yield spec, model


ENGINES: Mapping[str, Engine] = {"sequential": sequential}


def training_arguments(spec: RunSpec, split: Split) -> dict[str, Any]:
    """Arguments of ``train``: the sweep's split, and no progress bar unless asked for."""
    training, held_out = split
    indexing = [training, held_out] if len(held_out) else [training]
    return {
        "enable_progress_bar": False,
        **spec.train,
        "datasplitter_kwargs": {"external_indexing": indexing},
    }
