"""Fixtures and options that every test may use; nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from anndata import AnnData

settings.register_profile("default", max_examples=20, deadline=None)
settings.register_profile("weekly", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# another seed shows what passes by luck of the draw
_SEED = int(os.environ.get("BETASCVI_TEST_SEED", "0"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run tests that take minutes")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("slow") and not item.config.getoption("--slow"):
        pytest.skip("takes minutes; run with --slow")
    if item.get_closest_marker("real") and not os.environ.get("BETASCVI_DATA"):
        pytest.skip("needs the real data sets; set BETASCVI_DATA to their folder")
    if item.get_closest_marker("gpu") and not _has_gpu():
        pytest.skip("needs a CUDA device")


def pytest_configure(config: pytest.Config) -> None:
    # the order of tests is a new one each time, their seeds are ours
    config.option.randomly_reset_seed = False


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    """What a fixture makes is the same whichever test asks for it first."""
    _seed_everything()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """What a test makes is the same whatever was made before it."""
    _seed_everything()


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _seed_everything() -> None:
    import scvi
    import torch

    if scvi.settings.seed != _SEED:  # without one, scvi-tools splits cells anew each time
        scvi.settings.seed = _SEED
    random.seed(_SEED)
    np.random.seed(_SEED)  # noqa: NPY002 (scvi-tools draws from it)
    torch.manual_seed(_SEED)


@pytest.fixture(scope="session")
def tiny_source() -> AnnData:
    """The atlas behind ``tiny_adata``; shared by the session, so never change it."""
    from betascvi.datasets import Levels, Sequencing, simulated_atlas

    return simulated_atlas(
        n_cells=400,
        n_genes=120,
        seed=0,
        levels=Levels(n_cell_types=3, n_donors=4),
        sequencing=Sequencing(counts_per_gene=2.0),
    )


@pytest.fixture
def tiny_adata(tiny_source: AnnData) -> AnnData:
    """400 cells x 120 genes, deep enough to learn from: 3 types, 2 conditions, 3 batches."""
    return tiny_source.copy()


class KnownFactors(NamedTuple):
    """A code and the factors it tells: axis k of ``z`` is factor k and nothing else."""

    z: np.ndarray
    """(cells, 4) floats."""
    factors: np.ndarray
    """(cells, 4) integer levels of independent factors."""


@pytest.fixture
def known_factors() -> KnownFactors:
    """A perfect code of four independent factors with 2, 3, 4 and 5 levels, 1200 cells."""
    rng = np.random.default_rng(0)
    levels = (2, 3, 4, 5)
    factors = np.stack([rng.permutation(np.arange(1200) % n) for n in levels], axis=1)
    z = factors * np.array([1.0, -0.5, 2.0, 0.7]) + np.array([0.0, 1.0, -3.0, 0.2])
    return KnownFactors(z, factors)
