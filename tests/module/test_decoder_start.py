"""A joint decoder starts at the mean profile, dispersions at their moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData
from torch.nn import functional

from betascvi import BetaSCVI
from betascvi.data import gene_moments
from betascvi.module._decoders import JointDecoder


def decoder_of(**kind: bool) -> JointDecoder:
    """A small joint decoder whose hidden layer says nothing yet."""
    decoder = JointDecoder(3, 7, n_hidden=5, has_dispersion=False, has_dropout=False, **kind)
    torch.nn.init.zeros_(decoder.px_scale_decoder[0].weight)
    return decoder.eval()


def test_the_origin_expresses_the_mean_profile() -> None:
    mean = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    decoder = decoder_of()

    decoder.start_at(mean)

    profile = decoder(torch.zeros(1, 3)).logits.softmax(-1)[0].detach()
    torch.testing.assert_close(profile[1:] / profile[-1], mean[1:] / 6.0)
    assert 0 < float(profile[0]) < float(profile[1])


def test_with_size_factors_the_level_is_kept() -> None:
    mean = torch.rand(7) * 20
    decoder = decoder_of(is_softplus=True)

    decoder.start_at(mean)

    rates = functional.softplus(decoder(torch.zeros(1, 3)).logits)[0]
    torch.testing.assert_close(rates, mean, rtol=1e-3, atol=1e-5)


def test_the_mean_of_an_embedding_is_taken_as_it_is() -> None:
    mean = torch.randn(7)
    decoder = decoder_of(is_embedding=True)

    decoder.start_at(mean)

    torch.testing.assert_close(decoder(torch.zeros(1, 3)).logits[0], mean)


@pytest.mark.parametrize("decoder", ["joint", "additive"])
@pytest.mark.parametrize("dispersion", ["gene", "gene-batch", "gene-label", "gene-cell"])
@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_dispersions_start_at_the_moments_of_the_counts(
    tiny_adata: AnnData, decoder: Any, dispersion: Any, likelihood: Any
) -> None:
    adata = tiny_adata.copy()
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch", labels_key="cell_type")

    module = BetaSCVI(
        adata, decoder=decoder, dispersion=dispersion, gene_likelihood=likelihood
    ).module

    expected = gene_moments(adata.layers["counts"]).log_dispersion
    started = module.decoder.px_r_decoder.bias if dispersion == "gene-cell" else module.px_r
    started = started.detach().numpy()
    started = started if started.ndim == 2 else started[:, None]
    np.testing.assert_allclose(
        started, np.broadcast_to(expected[:, None], started.shape), rtol=1e-5
    )


def test_the_start_is_no_worse_than_gene_means(tiny_adata: AnnData) -> None:
    """Before a step, a decoder at the means and moments beats random dispersions."""
    BetaSCVI.setup_anndata(tiny_adata, layer="counts")
    model = BetaSCVI(tiny_adata)
    model.is_trained_ = True
    started = float(model.get_reconstruction_error()["reconstruction_loss"])

    torch.manual_seed(0)
    model.module.px_r.data.normal_()
    model.module.decoder.px_scale_decoder[0].bias.data.zero_()

    assert started < float(model.get_reconstruction_error()["reconstruction_loss"]) - 1.0
