"""The additive decoder: what its formula says, in one product, for every likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from betascvi.module import AdditiveDecoder, AdditiveSettings, BetaVAEModule, check_decoder
from betascvi.module._additive import Profiles
from betascvi.module._additive_settings import Shape
from betascvi.module._axis_networks import AxisNetworks

N_CELLS, N_GENES, N_AXES = 7, 11, 3


def shape_of(**changes: Any) -> Shape:
    plain: dict[str, Any] = {
        "n_axes": N_AXES, "n_genes": N_GENES, "n_levels": [2], "n_numbers": 0,
        "has_dispersion": False, "has_dropout": False, "n_hidden": 5,
    }  # fmt: skip
    return Shape(**plain | changes)


def decoder_of(shape: Shape | None = None, **options: Any) -> AdditiveDecoder:
    torch.manual_seed(0)
    decoder = AdditiveDecoder(shape or shape_of(), AdditiveSettings.of(options))
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return decoder


def positions(*leading: int) -> torch.Tensor:
    return 2.0 * torch.randn(*leading, N_CELLS, N_AXES, generator=torch.Generator().manual_seed(1))


CODES = torch.arange(N_CELLS)[:, None] % 2


@pytest.mark.parametrize("gate", ["softplus", "sigmoid"])
@pytest.mark.parametrize("n_profiles", [1, 2, 3, 4])
def test_rates_add_over_axes_as_the_formula_says(n_profiles: int, gate: str) -> None:
    decoder = decoder_of(n_profiles=n_profiles, gate=gate)
    opened = {"softplus": functional.softplus, "sigmoid": torch.sigmoid}[gate]
    pool, z = decoder.pool, positions()

    logits = decoder(z, CODES).logits

    for cell, gene in np.ndindex(N_CELLS, N_GENES):
        rate = torch.tensor(decoder.settings.floor)
        for k, p in np.ndindex(N_AXES, n_profiles):
            slope = (-1.0) ** p * pool.log_slope[k, p].exp()
            on = opened(slope * z[cell, k] + pool.offset[k, p])
            rate = rate + on * pool.profiles[k, p, gene].exp()
        shift = decoder.shift.fc_layers[0].weight[gene, cell % 2]
        expected = decoder.shift.log_profile[gene] + shift + rate.log()
        assert float(logits[cell, gene].detach()) == pytest.approx(
            float(expected.detach()), rel=1e-4, abs=1e-5
        )


@given(seed=st.integers(0, 10_000))
def test_moving_one_axis_changes_rates_whatever_the_others_are(seed: int) -> None:
    """The definition of additivity: the change by one axis does not depend on the others."""
    decoder = decoder_of(floor=1e-6)
    torch.manual_seed(seed)
    here, there = torch.randn(2, N_AXES).double(), torch.randn(2, N_AXES).double()
    there[:, 1:] = here[:, 1:]
    there[1, 0], here[1, 0] = there[0, 0], here[0, 0]

    rates = decoder.double().pool(torch.cat([here, there])).exp().detach()

    change = rates[2:] - rates[:2]
    torch.testing.assert_close(change[0], change[1], rtol=1e-9, atol=1e-9)


def test_logits_add_where_asked() -> None:
    decoder = decoder_of(pooling="logit")
    z = positions()
    alone = torch.stack([z * mask for mask in torch.eye(N_AXES)])

    torch.testing.assert_close(decoder.pool(z), decoder.pool(alone).sum(0))


def test_one_product_is_drvis_log_sum_exp_of_logits() -> None:
    """softmax(logsumexp_k l_kg) is the normalised sum of rates, with l_kg = log gate + W."""
    decoder = decoder_of()
    z = positions()
    per_axis = decoder.pool.gates(z)[..., None].log() + decoder.pool.profiles

    expected = torch.logsumexp(per_axis.flatten(-3, -2), dim=-2)

    torch.testing.assert_close(decoder.pool(z), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("genes_at_once", [1, 4, 100])
def test_networks_give_the_same_whatever_the_slice_of_genes(genes_at_once: int) -> None:
    torch.manual_seed(0)
    whole = AxisNetworks(shape_of(), AdditiveSettings(pooling="logsumexp"))
    sliced = AxisNetworks(shape_of(), AdditiveSettings("logsumexp", genes_at_once=genes_at_once))
    sliced.load_state_dict(whole.state_dict())
    z = positions()

    for pool in (whole, sliced):
        pool(z).square().sum().backward()

    torch.testing.assert_close(sliced(z), whole(z))
    for ours, theirs in zip(sliced.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("pooling", ["rate", "logit", "logsumexp"])
def test_a_cell_at_the_origin_starts_at_the_mean_profile(pooling: str) -> None:
    torch.manual_seed(0)
    decoder = AdditiveDecoder(shape_of(), AdditiveSettings(pooling=pooling))
    mean = torch.rand(N_GENES) + 0.1
    assert decoder.needs_start

    decoder.start_at(mean)

    assert not decoder.needs_start
    started = decoder(torch.zeros(1, N_AXES), torch.zeros(1, 1)).logits.softmax(-1)
    torch.testing.assert_close(started[0], mean / mean.sum(), rtol=1e-4, atol=1e-6)


def test_with_size_factors_the_start_keeps_the_level() -> None:
    decoder = decoder_of(shape_of(is_softplus=True, n_levels=[1]))
    mean = torch.rand(N_GENES) * 5.0

    decoder.start_at(mean)

    started = functional.softplus(decoder(torch.zeros(1, N_AXES), torch.zeros(1, 1)).logits)
    torch.testing.assert_close(started[0], mean, rtol=1e-3, atol=1e-5)


def test_with_size_factors_it_is_still_the_rates_that_add() -> None:
    shape = shape_of(is_softplus=True, n_levels=[1])
    decoder = decoder_of(shape)
    with torch.no_grad():
        decoder.shift.log_profile.fill_(0.0)
    z = positions()

    rates = functional.softplus(decoder(z, CODES * 0).logits)

    torch.testing.assert_close(rates, decoder.pool(z).exp(), rtol=1e-3, atol=1e-4)


def test_a_gene_never_seen_starts_low_but_finite() -> None:
    decoder = decoder_of()
    mean = torch.rand(N_GENES) + 0.1
    mean[0] = 0.0

    decoder.start_at(mean)

    assert torch.isfinite(decoder.shift.log_profile).all()
    assert decoder.shift.log_profile.argmin() == 0


def test_values_of_an_embedding_add_without_a_logarithm() -> None:
    decoder = decoder_of(shape_of(is_embedding=True))
    z = positions()
    alone = torch.stack([z * mask for mask in torch.eye(N_AXES)])

    torch.testing.assert_close(decoder.pool(z), decoder.pool(alone).sum(0))


def test_samples_stand_before_cells() -> None:
    decoder = decoder_of(shape_of(n_numbers=2))
    inputs = torch.cat([positions(4), torch.randn(N_CELLS, 2).expand(4, -1, -1)], dim=-1)

    logits = decoder(inputs, CODES).logits

    assert logits.shape == (4, N_CELLS, N_GENES)
    torch.testing.assert_close(logits[2], decoder(inputs[2], CODES).logits)


def test_extreme_positions_stay_finite() -> None:
    decoder = decoder_of(shape_of(is_softplus=True))

    for size in (1e4, -1e4):
        logits = decoder(torch.full((N_CELLS, N_AXES), size), CODES).logits
        logits.sum().backward()
        assert torch.isfinite(logits).all()

    assert all(torch.isfinite(p.grad).all() for p in decoder.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pooling": "mean"}, "pooling is one of"),
        ({"poling": "rate"}, "did you mean 'pooling'"),
        ({"bias": False}, "no option 'bias'"),
        ({"gate": "relu"}, "gate is one of"),
        ({"n_profiles": 0}, "n_profiles is a whole number"),
        ({"spread": -1.0}, "spread is a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate is a positive number"),
    ],
)
def test_bad_options_are_refused_by_name(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_decoder("additive", options)


def test_pooling_asked_of_a_joint_decoder_is_refused() -> None:
    with pytest.raises(ValueError, match="decoder='additive'"):
        check_decoder("joint", {"pooling": "rate"})


def test_an_unknown_decoder_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="joint"):
        BetaVAEModule(n_input=N_GENES, decoder="linear")  # type: ignore[arg-type]


def test_a_sigmoid_gate_is_off_at_the_origin_and_no_more_than_on_far_out() -> None:
    torch.manual_seed(0)
    pool = AdditiveDecoder(shape_of(), AdditiveSettings(gate="sigmoid")).pool
    assert isinstance(pool, Profiles)

    far, origin = pool.gates(torch.full((1, N_AXES), 20.0)), pool.gates(torch.zeros(1, N_AXES))

    assert float(origin.detach().max()) < 0.1
    torch.testing.assert_close(far[..., 0], torch.ones(1, N_AXES))
    torch.testing.assert_close(far[..., 1], torch.zeros(1, N_AXES))


def test_profiles_start_as_spread_out_as_asked() -> None:
    torch.manual_seed(0)
    pool = Profiles(shape_of(n_genes=2000), AdditiveSettings(spread=0.2))

    assert float(pool.profiles.detach().std()) == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({"pooling": "logsumexp", "gate": "sigmoid"}, "gate='sigmoid'"),
        ({"pooling": "logsumexp", "n_profiles": 4}, "n_profiles=4"),
        ({"pooling": "logit", "floor": 1e-3}, "floor=0.001"),
        ({"genes_at_once": 64}, "genes_at_once=64"),
    ],
)
def test_an_option_that_says_nothing_to_the_pooling_is_refused(
    options: dict[str, Any], idle: str
) -> None:
    with pytest.raises(ValueError, match=f"{idle} does nothing with pooling"):
        AdditiveSettings.of(options)


def test_options_of_another_kind_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="learning_rate is a positive number, got '1e-2'"):
        AdditiveSettings.of({"learning_rate": "1e-2"})
    with pytest.raises(TypeError, match="extra_decoder_kwargs is a dict of options, got list"):
        AdditiveSettings.of(["pooling"])  # type: ignore[arg-type]
    assert AdditiveSettings.of({"n_profiles": np.int64(3)}).n_profiles == 3


def test_networks_whose_rates_add_are_refused_for_real_numbers() -> None:
    with pytest.raises(ValueError, match="adds rates, and the data are real numbers"):
        decoder_of(shape_of(is_embedding=True), pooling="logsumexp")
