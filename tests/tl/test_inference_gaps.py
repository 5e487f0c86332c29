"""What the encoder loses, against what is known of it."""

import numpy as np
import pytest
import torch

from betascvi import BetaSCVI
from betascvi._errors import TrainingError
from betascvi.tl import inference_gaps


@pytest.fixture(scope="module")
def model(tiny_source) -> BetaSCVI:
    adata = tiny_source.copy()
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    model = BetaSCVI(adata, n_latent=4)
    model.train(max_epochs=60, enable_progress_bar=False)
    return model


def test_refining_raises_the_bound_and_stays_below_the_evidence(model):
    gaps = inference_gaps(model, indices=range(40))

    noise = 0.15  # of a mean over 40 cells and 200 draws
    assert gaps.amortisation.mean() > -noise
    assert gaps.approximation.mean() > -noise
    assert gaps.approximation.mean() < 3.0
    np.testing.assert_allclose(gaps.amortisation + gaps.approximation, gaps.evidence - gaps.encoder)


def test_bounds_are_those_that_the_model_reports(model):
    cells = list(range(40))
    gaps = inference_gaps(model, indices=cells, n_samples=500)

    reported = np.mean([float(model.get_elbo(indices=cells)) for _ in range(100)])
    assert abs(gaps.encoder.mean() - reported) < 0.2
    evidence = model.get_marginal_ll(indices=cells, n_mc_samples=2000)
    assert abs(gaps.evidence.mean() - evidence) < 0.3


def test_a_wrong_encoder_loses_what_refining_finds_again(model):
    before = inference_gaps(model, indices=range(40), n_steps=400)
    head = next(m for n, m in model.module.z_encoder.named_modules() if n == "mean_encoder")
    with torch.no_grad():
        head.bias += 1.0
    try:
        after = inference_gaps(model, indices=range(40), n_steps=400)
    finally:
        with torch.no_grad():
            head.bias -= 1.0

    assert after.amortisation.mean() > before.amortisation.mean() + 1.0
    assert abs(after.refined.mean() - before.refined.mean()) < 0.3
    assert abs(after.evidence.mean() - before.evidence.mean()) < 0.3


@pytest.mark.parametrize("decoder", ["joint", "additive"])
def test_it_works_with_blocks_and_either_decoder(tiny_adata, decoder):
    BetaSCVI.setup_anndata(tiny_adata, layer="counts", factor_keys=["condition"])
    model = BetaSCVI(tiny_adata, n_latent=3, anchors=["condition"], decoder=decoder)
    model.train(max_epochs=3, enable_progress_bar=False)

    gaps = inference_gaps(model, n_cells=12, n_steps=60, n_samples=50)

    assert len(gaps.cells) == 12
    assert np.isfinite(gaps.to_frame().to_numpy()).all()
    assert gaps.amortisation.mean() > 0


def test_the_same_seed_gives_the_same_figures_and_weights_stay(model):
    weights = {name: value.clone() for name, value in model.module.state_dict().items()}
    model.module.zero_grad()

    first, second = (inference_gaps(model, n_cells=10, n_steps=5, n_samples=5) for _ in range(2))

    assert first.to_frame().equals(second.to_frame())
    assert all(torch.equal(value, weights[n]) for n, value in model.module.state_dict().items())
    assert all(p.grad is None for p in model.module.parameters())
    assert "10 cells" in str(first)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"n_steps": 0}, "n_steps is a whole number from 1 up"),
        ({"n_samples": 2.5}, "n_samples is a whole number"),
        ({"indices": []}, "no cell is chosen"),
    ],
)
def test_what_cannot_be_is_refused(model, wrong, says):
    with pytest.raises(ValueError, match=says):
        inference_gaps(model, **wrong)


def test_an_untrained_model_is_refused(tiny_adata):
    BetaSCVI.setup_anndata(tiny_adata, layer="counts")

    with pytest.raises(TrainingError, match=r"model\.train"):
        inference_gaps(BetaSCVI(tiny_adata))
