"""Do runs find the same axes: identities, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from anndata import AnnData

import betascvi as bs
from betascvi._errors import UndefinedScoreError


@pytest.fixture
def z() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(600, 5))


def test_the_same_axes_in_another_order_and_sign_are_perfectly_stable(z: np.ndarray) -> None:
    record = bs.tl.stability([z, -z[:, ::-1], 3.0 * z])

    assert float(record) == pytest.approx(1.0)
    assert record.udr > 0.8
    assert record.to_frame()["stability"].min() == pytest.approx(1.0)


def test_what_is_no_run_is_refused_in_words(z: np.ndarray) -> None:
    with pytest.raises(TypeError, match=r"compares BetaSCVI models and .* arrays, got str"):
        bs.tl.stability([z, "z"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="takes a list of models or arrays, got ndarray"):
        bs.tl.stability(z)
    with pytest.raises(ValueError, match=r"an embedding is .cells, axes., got an array of shape"):
        bs.tl.stability([z[:, 0], z[:, 0]])


def test_noise_beside_a_shared_axis_is_told_apart(z: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(size=(2, 600, 4))
    runs = [np.hstack([z[:, :1], n]) for n in noise]

    frame = bs.tl.stability(runs).to_frame()

    first = frame[frame["run"] == 0]
    assert first.iloc[0]["axis"] == "axis_1"
    assert first.iloc[0]["stability"] == pytest.approx(1.0)
    assert first["stability"].iloc[1:].max() < 0.2


def test_constant_axes_are_left_out(z: np.ndarray) -> None:
    with_constant = np.hstack([z, np.ones((600, 2))])

    record = bs.tl.stability([z, with_constant])

    assert record.n_living == (5, 5)
    assert float(record) == pytest.approx(1.0)


def test_a_model_agrees_with_itself(tiny_adata: AnnData) -> None:
    torch.manual_seed(0)  # an axis of random weights may be all but constant
    bs.BetaSCVI.setup_anndata(tiny_adata, layer="counts")
    model = bs.BetaSCVI(tiny_adata, n_latent=3, n_hidden=16)
    model.is_trained_ = True
    model.module.eval()

    record = bs.tl.stability([model, model])

    assert float(record) == pytest.approx(1.0)
    assert str(record).startswith("2 runs with 3, 3 living axes")


@pytest.mark.parametrize("n_cells", [599, 601])
def test_other_cells_are_refused(z: np.ndarray, n_cells: int) -> None:
    with pytest.raises(ValueError, match="same cells"):
        bs.tl.stability([z, np.random.default_rng(0).normal(size=(n_cells, 5))])


def test_one_run_has_nothing_to_agree_with(z: np.ndarray) -> None:
    with pytest.raises(UndefinedScoreError, match="2 or more"):
        bs.tl.stability([z])
