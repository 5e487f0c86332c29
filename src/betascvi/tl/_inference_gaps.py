"""``tl.inference_gaps``: what the encoder loses, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from betascvi._errors import TrainingError
from betascvi._whole_numbers import refuse_count
from betascvi.model import BetaSCVI
from betascvi.model._cells import chosen_rows
from betascvi.model._minibatch import tensors_of
from betascvi.module import inference_gaps as bounds_of

_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class InferenceGaps:
    """Three bounds of the evidence of each cell, nats; ``print`` it for the means."""

    cells: tuple[str, ...]
    encoder: np.ndarray
    """The ELBO (at weight 1) with the encoder's posterior."""
    refined: np.ndarray
    """The ELBO with the Gaussian that suits the cell best under the same decoder."""
    evidence: np.ndarray
    """log p(x) by importance samples of that Gaussian: a lower bound on average, too."""

    @property
    def amortisation(self) -> np.ndarray:
        """(cells,) what is lost because one network encodes all cells."""
        return self.refined - self.encoder

    @property
    def approximation(self) -> np.ndarray:
        """(cells,) what is lost because the posterior is taken for a Gaussian with independent axes."""
        return self.evidence - self.refined

    def to_frame(self) -> pd.DataFrame:
        """One row a cell."""
        return pd.DataFrame(
            {
                "encoder": self.encoder,
                "refined": self.refined,
                "evidence": self.evidence,
                "amortisation": self.amortisation,
                "approximation": self.approximation,
            },
            index=pd.Index(self.cells, name="cell"),
        )

    def __str__(self) -> str:
        lost, family = self.amortisation, self.approximation
        worst = self.cells[int(np.argmax(lost))]
        return (
            f"{len(self.cells)} cells: the encoder's bound is {lost.mean():.2f} nats below that of the "
            f"best Gaussian of each cell (at most {lost.max():.2f}, {worst}), and that one "
            f"{family.mean():.2f} nats below the evidence."
        )


def inference_gaps(
    model: BetaSCVI,
    adata: AnnData | None = None,
    indices: Sequence[int] | np.ndarray | None = None,
    *,
    n_cells: int = 256,
    n_steps: int = 200,
    n_samples: int = 200,
    seed: int = 0,
) -> InferenceGaps:
    r"""How much of each cell's evidence the encoder gives away.

    .. math::
        \log p(x) - \mathrm{ELBO}(q_\phi) =
        \underbrace{\log p(x) - \mathrm{ELBO}(q^*)}_{\text{approximation}} +
        \underbrace{\mathrm{ELBO}(q^*) - \mathrm{ELBO}(q_\phi)}_{\text{amortisation}}

    with :math:`q_\phi` the encoder's posterior of the cell and :math:`q^*` the Gaussian with
    independent axes that has the highest bound under the same decoder, found by gradient. A large
    amortisation gap on held-out cells, and not on training cells, says that the encoder has not
    learned to read new cells; one on both says that it is too small or undertrained.

    Parameters
    ----------
    model
        A trained model.
    adata
        Cells; those of the model by default.
    indices
        Which of them (positions or a mask).
    n_cells
        Of these, at most so many are drawn.
    n_steps
        Steps of the refinement.
    n_samples
        Draws behind each bound, the same for both posteriors.
    seed
        Of the choice of cells and of the draws.

    Returns
    -------
    The record; ``.to_frame()`` has a row a cell.

    Notes
    -----
    Bounds are at KL weight 1 and with the prior of cells without labels, whatever the objective, so
    that a model trained at another beta has an encoder that was never meant to be tight here.

    References
    ----------
    :cite:p:`Cremer2018`

    Examples
    --------
    >>> gaps = bs.tl.inference_gaps(model, indices=model.validation_indices)
    >>> print(gaps)
    >>> gaps.to_frame().sort_values("amortisation").tail()
    """
    for name, count in {"n_cells": n_cells, "n_steps": n_steps, "n_samples": n_samples}.items():
        refuse_count(name, count)
    if not model.is_trained:
        raise TrainingError("inference_gaps needs a trained model; call model.train() first.")
    data = model._validate_anndata(adata)
    rows = chosen_rows(data, indices)
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:n_cells])
    found = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, len(rows), _AT_ONCE):
            cells = tensors_of(model, data, rows[start : start + _AT_ONCE].tolist())
            found.append(bounds_of(model.module, cells, n_steps, n_samples))
    encoder, refined, evidence = (
        torch.cat(part).cpu().numpy() for part in zip(*found, strict=True)
    )
    return InferenceGaps(tuple(map(str, data.obs_names[rows])), encoder, refined, evidence)
