"""Every objective in a model: likelihoods, batches, query mapping, save and load, minified data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from scvi.data._constants import ADATA_MINIFY_TYPE

from betascvi.objectives import (
    DIPVAE,
    IWAE,
    LVAE,
    OBJECTIVES,
    BetaTCVAE,
    BetaVAE,
    CapacityVAE,
    FactorVAE,
    Objective,
    TargetRate,
)
from betascvi.schedules import Linear

if TYPE_CHECKING:
    from anndata import AnnData

    from betascvi import BetaSCVI

# one of each class at settings that are not its defaults; a new class must be added here
EXAMPLES: dict[str, Objective] = {
    "beta_vae": BetaVAE(beta=Linear(0.0, 2.0), free_bits=0.05),
    "beta_tc_vae": BetaTCVAE(beta=3.0, alpha=0.5, estimator="mws"),
    "capacity_vae": CapacityVAE(gamma=5.0, capacity=2.0),
    "dip_vae": DIPVAE(kind="i", off_diagonal=2.0),
    "factor_vae": FactorVAE(gamma=5.0, critic_hidden=8, critic_layers=1),
    "iwae": IWAE(n_samples=3),
    "l_vae": LVAE(scale=10.0, per_axis=True, bounds=(0.05, 50.0)),
    "target_rate": TargetRate(rate=3.0),
}
LIKELIHOODS = ("nb", "zinb", "poisson", "gaussian")
BATCHES = (None, "batch")
QUICK: dict[str, Any] = {
    "max_epochs": 1,
    "batch_size": 40,
    "train_size": 0.8,
    "accelerator": "cpu",
    "enable_progress_bar": False,
}


@dataclass(frozen=True)
class Case:
    objective: str
    likelihood: str
    batch_key: str | None

    @property
    def label(self) -> str:
        batch = "batch" if self.batch_key else "no batch"
        return f"{self.objective}, {self.likelihood}, {batch}"


CROSS = [Case(o, lik, b) for o in OBJECTIVES for lik in LIKELIHOODS for b in BATCHES]
# every objective with and without a batch, and every likelihood with each of these: pairs covered
PAIRS = [
    case
    for case in CROSS
    if (list(OBJECTIVES).index(case.objective) + LIKELIHOODS.index(case.likelihood)) % 4
    == (0 if case.batch_key else 1)
]
quick_or_slow = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.label, marks=() if case in PAIRS else pytest.mark.slow)
        for case in CROSS
    ],
)


def test_there_is_an_example_of_every_objective() -> None:
    assert {name: type(objective) for name, objective in EXAMPLES.items()} == dict(OBJECTIVES)


@dataclass(frozen=True)
class Saved:
    """A trained model on disk, its cells, and the latent it had."""

    folder: Path
    adata: AnnData
    latent: np.ndarray
    state: dict[str, torch.Tensor]

    def load(self) -> BetaSCVI:
        from betascvi import BetaSCVI

        return BetaSCVI.load(self.folder, self.adata.copy(), accelerator="cpu")


@pytest.fixture(scope="module")
def saved(
    tiny_source: AnnData, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Case], Saved]:
    """Trains and saves each case once for all tests here."""
    return cache(lambda case: train_and_save(case, tiny_source, tmp_path_factory.mktemp("model")))


def train_and_save(case: Case, source: AnnData, folder: Path) -> Saved:
    from betascvi import BetaSCVI

    adata = source[:120].copy()
    counts = np.log1p(np.asarray(adata.layers["counts"].todense()))
    centred = counts - counts.mean(0)
    adata.obsm["X_pca"] = centred @ np.linalg.svd(centred, full_matrices=False)[2][:6].T
    on_pca = {"obsm_key": "X_pca"} if case.likelihood == "gaussian" else {"layer": "counts"}
    likelihood = "normal" if case.likelihood == "gaussian" else case.likelihood
    BetaSCVI.setup_anndata(adata, batch_key=case.batch_key, **on_pca)
    torch.manual_seed(0)
    model = BetaSCVI(
        adata, n_hidden=8, n_latent=3, gene_likelihood=likelihood,
        objective=EXAMPLES[case.objective],
    )  # fmt: skip
    model.train(**QUICK)
    model.save(folder, overwrite=True)
    return Saved(folder, adata, model.get_latent_representation(), dict(model.module.state_dict()))


@quick_or_slow
def test_it_trains_is_saved_and_comes_back_the_same(
    case: Case, saved: Callable[[Case], Saved]
) -> None:
    before = saved(case)

    model = before.load()

    assert model.module.objective == EXAMPLES[case.objective]
    state = dict(model.module.state_dict())
    torch.testing.assert_close(state, before.state, rtol=0, atol=0)
    assert not [name for name in state if "critic" in name]
    np.testing.assert_array_equal(model.get_latent_representation(), before.latent)
    assert np.isfinite(float(model.get_elbo()))


@quick_or_slow
def test_query_cells_are_mapped_onto_it_and_trained(
    case: Case, saved: Callable[[Case], Saved]
) -> None:
    from betascvi import BetaSCVI

    query = saved(case).adata[:50].copy()
    query.obs["batch"] = "new"

    model = BetaSCVI.load_query_data(query, saved(case).load(), accelerator="cpu")
    model.train(**QUICK, plan_kwargs={"weight_decay": 0.0})

    assert model.module.objective == EXAMPLES[case.objective]
    assert np.isfinite(model.get_latent_representation()).all()


@quick_or_slow
def test_minified_data_keep_its_latent(case: Case, saved: Callable[[Case], Saved]) -> None:
    model = saved(case).load()
    mean, variance = model.get_latent_representation(return_dist=True)
    model.adata.obsm["qzm"], model.adata.obsm["qzv"] = mean, variance

    model.minify_adata(
        ADATA_MINIFY_TYPE.LATENT_POSTERIOR_WITH_COUNTS,
        use_latent_qzm_key="qzm",
        use_latent_qzv_key="qzv",
    )

    np.testing.assert_allclose(model.get_latent_representation(), mean, rtol=1e-5, atol=1e-6)
