"""Some cells, encoded once, to be decoded under as many settings as one likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse
from scvi import REGISTRY_KEYS

from betascvi._errors import TrainingError
from betascvi.model import BetaSCVI
from betascvi.model._cells import Cells, cells_of, chosen_rows
from betascvi.model._evaluation import refuse_other_genes
from betascvi.model._predictive import Predictive, output_names, predictive
from betascvi.tl._targets import Arm, Targets

_KEPT_BYTES = 2**28


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Posteriors of cells, and what else their reconstruction takes."""

    model: BetaSCVI
    adata: AnnData
    cells: Cells
    mean: np.ndarray
    """(cells, axes)"""
    sd: np.ndarray | None
    """(cells, axes); None where only means were asked for."""
    obs: pd.DataFrame
    genes: list[str]
    drawn: dict[tuple[int, int], np.ndarray] = field(default_factory=dict)
    """Draws that have been asked for, as each chunk of cells asks again; so many as fit."""

    def positions(self, sample: int | None, seed: int) -> np.ndarray:
        """(cells, axes): posterior means, or the same draw whenever it is asked for."""
        if sample is None or self.sd is None:
            return self.mean
        if (seed, sample) in self.drawn:
            return self.drawn[seed, sample]
        noise = np.random.default_rng([seed, sample]).standard_normal(self.mean.shape)
        draw = (self.mean + self.sd * noise).astype(self.mean.dtype)
        if not self.drawn or (len(self.drawn) + 1) * draw.nbytes <= _KEPT_BYTES:
            self.drawn[seed, sample] = draw
        return draw

    def observed(self, rows: slice) -> np.ndarray:
        """(cells, genes) what was counted in a chunk of cells."""
        manager = self.model.get_anndata_manager(self.adata, required=True)
        x = manager.get_from_registry(REGISTRY_KEYS.X_KEY)
        wanted, back = np.unique(self.cells.indices[rows], return_inverse=True)
        return np.asarray(sparse.csr_matrix(x[wanted]).toarray()[back])

    def factual(self, z: np.ndarray, rows: slice | np.ndarray) -> Predictive:
        """What the model expects of a chunk of cells as they are."""
        setting = {name: values[rows] for name, values in self.cells.covariates.items()}
        return self._decoded(z[rows], setting, rows)

    def moved(self, z: np.ndarray, targets: Targets, arm: Arm, rows: slice) -> Predictive:
        """What it expects of the same cells in one arm of the targets."""
        positions, setting = targets.placed(z[rows], self.cells, arm, rows)
        found = self._decoded(positions, setting, rows)
        return found if arm.gain is None else replace(found, mean=arm.gain.times(found.mean, rows))

    def _decoded(
        self, z: np.ndarray, setting: Mapping[str, np.ndarray], rows: slice | np.ndarray
    ) -> Predictive:
        cells = self.cells
        return predictive(self.model, z, cells.sizes[rows], setting, cells.classes[rows])

    def mixed(self, z: np.ndarray, targets: Targets, rows: slice) -> np.ndarray:
        """(cells, genes) expected expression, averaged over the arms by their shares."""
        if len(targets.arms) == 1:
            return self.moved(z, targets, targets.arms[0], rows).mean
        return np.asarray(
            sum(a.weight * self.moved(z, targets, a, rows).mean for a in targets.arms),
            dtype=np.float32,
        )


def encode(
    model: BetaSCVI,
    adata: AnnData,
    indices: Sequence[int] | np.ndarray | None,
    *,
    with_sd: bool = False,
) -> Encoded:
    """Encode the chosen cells; the network reads their counts once."""
    if not isinstance(model, BetaSCVI):
        raise TypeError(
            f"this takes a BetaSCVI model, got {type(model).__name__}; BetaSCVI.from_scvi(model) "
            "takes one of scvi-tools'."
        )
    if not isinstance(adata, AnnData):
        raise TypeError(f"adata is an AnnData, got {type(adata).__name__}.")
    if not model.is_trained:
        raise TrainingError("the model is not trained; call model.train() first.")
    refuse_other_genes(model, adata)
    rows = chosen_rows(adata, indices)
    cells = cells_of(model, adata, rows)
    # data on disk are read in their order, whatever order was asked for
    wanted, back = np.unique(rows, return_inverse=True)
    # the counts of all cells in order are read in larger pieces than of chosen ones
    given = None if len(wanted) == adata.n_obs else wanted.tolist()
    if with_sd:
        mean, variance = model.get_latent_representation(adata, given, return_dist=True)
        mean, sd = mean[back], np.sqrt(variance)[back]
    else:
        mean, sd = np.asarray(model.get_latent_representation(adata, given))[back], None
    model.module.eval()
    obs = adata.obs.iloc[rows]
    obs = obs[[name for name in obs if not str(name).startswith("_scvi")]].copy()
    return Encoded(model, adata, cells, mean, sd, obs, output_names(model, adata.var_names))


def obs_of_targets(obs: pd.DataFrame, words: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """``obs`` with the settings asked for, and what the cells were as ``<factor>_factual``."""
    out = obs.copy()
    for name, values in words.items():
        if name in out:
            out[f"{name}_factual"] = out[name]
        is_text = values.dtype == object
        out[name] = pd.Categorical(values.astype(str)) if is_text else values.astype(float)
    return out
