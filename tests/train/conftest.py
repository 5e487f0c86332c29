"""A small data set, and an objective that writes down what the clock said."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch

from betascvi.objectives import BetaVAE, LossTerms, Objective, Step

if TYPE_CHECKING:
    from anndata import AnnData

    from betascvi import BetaSCVI


@dataclasses.dataclass(frozen=True)
class Watch(Objective):
    """The objective it wraps, and the clock at every minibatch of training."""

    inner: Objective = dataclasses.field(default_factory=BetaVAE)
    seen: list[float] = dataclasses.field(default_factory=list, compare=False)

    def __call__(self, step: Step) -> LossTerms:
        if torch.is_grad_enabled():
            self.seen.append(step.progress)
        return self.inner(step)

    @property
    def weights(self) -> Any:
        return self.inner.weights


@pytest.fixture
def make_watch() -> type[Watch]:
    """The class of objectives that watch the clock."""
    return Watch


@pytest.fixture(scope="session")
def source() -> AnnData:
    """120 cells x 60 genes; shared by the session, so never change it."""
    from betascvi.datasets import Levels, Sequencing, simulated_atlas

    return simulated_atlas(
        n_cells=120,
        n_genes=60,
        seed=0,
        levels=Levels(n_cell_types=3, n_donors=4),
        sequencing=Sequencing(counts_per_gene=2.0),
    )


@pytest.fixture
def make_model(source: AnnData) -> Callable[..., BetaSCVI]:
    """A small model on the first cells of the atlas, not trained yet."""
    from betascvi import BetaSCVI

    def make(n_cells: int = 120, **arguments: Any) -> BetaSCVI:
        adata = source[:n_cells].copy()
        BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch")
        return BetaSCVI(adata, **{"n_hidden": 8, "n_latent": 3, **arguments})

    return make


QUICK: dict[str, Any] = {
    "batch_size": 40,
    "accelerator": "cpu",
    "enable_progress_bar": False,
}


@pytest.fixture
def quick() -> dict[str, Any]:
    """Arguments of ``train`` for a short training; the number of epochs is the test's."""
    return dict(QUICK)


@pytest.fixture(params=["many minibatches a step", "one minibatch a step"])
def path(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Arguments of ``train`` that take one of its two paths."""
    return {} if request.param == "many minibatches a step" else {"gradient_clip_val": 100.0}
