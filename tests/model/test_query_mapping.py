"""New cells on a trained reference: new batches, frozen weights, missing labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anndata import AnnData

import betascvi as bs
from betascvi import BetaSCVI, Factor
from betascvi.objectives import BetaVAE
from betascvi.presets import unsupervised


@pytest.fixture(scope="module")
def reference(make_model: Callable[..., BetaSCVI], quick: dict[str, Any]) -> BetaSCVI:
    model = make_model(
        {
            "batch_key": "batch",
            "factor_keys": ["donor", "age", Factor("phase_angle", "circular")],
        },
        objective=BetaVAE(beta=2.0),
        encode_covariates=True,
    )
    model.train(**quick)
    return model


@pytest.fixture
def query(adata: AnnData) -> AnnData:
    cells = adata[:50].copy()
    cells.obs["batch"] = "a new batch"
    return cells


def load(query: AnnData, reference: BetaSCVI, **arguments: Any) -> BetaSCVI:
    return BetaSCVI.load_query_data(query, reference, accelerator="cpu", **arguments)


def test_a_new_batch_extends_the_reference(reference: BetaSCVI, query: AnnData) -> None:
    model = load(query, reference)

    assert model.module.n_batch == reference.module.n_batch + 1
    assert model.module.objective == BetaVAE(beta=2.0)


def test_a_query_model_trains_and_encodes(
    reference: BetaSCVI, query: AnnData, quick: dict[str, Any]
) -> None:
    model = load(query, reference)

    model.train(**quick, plan_kwargs={"weight_decay": 0.0})

    z = model.get_latent_representation()
    assert z.shape == (50, 4)
    assert np.isfinite(z).all()


def test_training_on_the_query_leaves_the_reference_cells_where_they_were(
    reference: BetaSCVI, query: AnnData, quick: dict[str, Any], adata: AnnData
) -> None:
    model = load(query, reference)

    model.train(**quick | {"max_epochs": 3}, plan_kwargs={"weight_decay": 0.0})

    np.testing.assert_allclose(
        model.get_latent_representation(adata), reference.get_latent_representation(), atol=1e-4
    )


def test_training_on_the_query_moves_the_weights_of_new_batches_alone(
    reference: BetaSCVI, query: AnnData, quick: dict[str, Any]
) -> None:
    # of one batch alone batch norm takes the constant out, and the gradient is rounding
    query.obs["batch"] = np.where(np.arange(50) < 25, "a new batch", "another one")
    model = load(query, reference)
    name = "decoder.px_decoder.fc_layers.Layer 0.0.weight"
    before = model.module.state_dict()[name].clone()

    model.train(**quick, plan_kwargs={"weight_decay": 0.0})

    moved = (model.module.state_dict()[name] != before).any(0)
    assert moved.tolist() == [False] * (before.shape[1] - 2) + [True, True]


def test_a_query_can_be_mapped_without_training(reference: BetaSCVI, query: AnnData) -> None:
    model = load(query, reference)
    model.is_trained_ = True

    assert np.isfinite(model.get_latent_representation()).all()


def test_an_unfrozen_query_model_trains_all_its_weights(
    reference: BetaSCVI, query: AnnData, quick: dict[str, Any]
) -> None:
    model = load(query, reference, unfrozen=True)
    before = {k: v.clone() for k, v in model.module.named_parameters()}

    model.train(**quick)

    after = dict(model.module.named_parameters())
    assert [k for k, v in before.items() if torch.equal(after[k], v)] == []


def test_the_reference_may_be_a_folder(reference: BetaSCVI, query: AnnData, tmp_path: Path) -> None:
    reference.save(tmp_path / "reference")

    model = BetaSCVI.load_query_data(query, str(tmp_path / "reference"), accelerator="cpu")

    assert model.module.objective == BetaVAE(beta=2.0)


def test_a_query_model_is_saved_and_loaded(
    reference: BetaSCVI, query: AnnData, quick: dict[str, Any], tmp_path: Path
) -> None:
    model = load(query, reference)
    model.train(**quick)
    model.save(tmp_path / "query")

    again = BetaSCVI.load(tmp_path / "query", adata=query, accelerator="cpu")

    np.testing.assert_allclose(
        again.get_latent_representation(), model.get_latent_representation(), rtol=1e-5, atol=1e-6
    )


def test_a_query_may_lack_a_factor(reference: BetaSCVI, query: AnnData) -> None:
    del query.obs["donor"]

    model = load(query, reference)

    codes = model.adata_manager.get_from_registry("betascvi_factors")
    assert np.isnan(codes[:, 0]).all()
    assert np.isfinite(codes[:, 1]).all()


def test_levels_the_reference_has_not_seen_are_missing_labels_with_one_warning(
    reference: BetaSCVI, query: AnnData
) -> None:
    query.obs["donor"] = ["someone new"] * 10 + list(query.obs["donor"].astype(str)[10:])

    with pytest.warns(UserWarning, match="'donor': 10 cells") as caught:
        model = load(query, reference)

    codes = model.adata_manager.get_from_registry("betascvi_factors")
    assert np.isnan(codes[:10, 0]).all()
    assert np.isfinite(codes[10:, 0]).all()
    assert len([w for w in caught if "donor" in str(w.message)]) == 1


def test_known_levels_keep_the_codes_of_the_reference(
    reference: BetaSCVI, query: AnnData, adata: AnnData
) -> None:
    donors = adata.obs["donor"].astype(str)
    query.obs["donor"] = donors[:50].to_numpy()[::-1]

    model = load(query, reference)

    ours = model.adata_manager.get_from_registry("betascvi_factors")[::-1, 0]
    theirs = reference.adata_manager.get_from_registry("betascvi_factors")[:50, 0]
    np.testing.assert_array_equal(ours, theirs)


def test_a_query_with_other_genes_is_brought_into_line(reference: BetaSCVI, query: AnnData) -> None:
    shuffled = query[:, ::-1][:, :55].copy()

    BetaSCVI.prepare_query_anndata(shuffled, reference)

    assert list(shuffled.var_names) == list(reference.adata.var_names)


def test_expression_of_the_query_decodes_under_the_new_batch(
    reference: BetaSCVI, query: AnnData, quick: dict[str, Any]
) -> None:
    model = load(query, reference)
    model.train(**quick)

    mu = model.decode(model.get_latent_representation(), {"batch": "a new batch"})

    np.testing.assert_allclose(mu.sum(1), 1e4, rtol=1e-4)


def test_a_query_trains_with_the_statistics_of_the_reference(
    reference: BetaSCVI, query: AnnData, quick: dict[str, Any]
) -> None:
    model = load(query, reference)
    seen: list[bool] = []
    norms = [m for m in model.module.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert norms
    norms[0].register_forward_hook(
        lambda norm, _inputs, _out: seen.append(norm.training or not model.module.training)
    )

    model.train(**quick)

    # positions in training are those that inference gives; dropout is on all the same
    assert seen
    assert not all(seen)
    assert not any(norm.training for norm in norms if norm.momentum == 0)


def test_a_query_that_could_learn_nothing_of_its_batch_says_so(
    make_model: Callable[..., BetaSCVI],
    query: AnnData,
    quick: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_model({"batch_key": "batch"}, decoder="additive", batch_representation="embedding")
    model.train(**quick)

    load(query, model)

    assert "the embedding of a new batch stays as it was drawn" in caplog.text


@pytest.mark.parametrize(
    "arguments",
    [{}, {"encode_covariates": True, "n_layers": 2}, {"decoder": "additive"}],
    ids=["joint", "encoded and deep", "additive"],
)
@pytest.mark.parametrize("batch_key", ["batch", "one"])
def test_a_new_batch_leaves_the_covariates_behind_it_in_their_columns(
    quick: dict[str, Any], source: AnnData, arguments: dict[str, Any], batch_key: str
) -> None:
    cells = source.copy()
    cells.obs["one"] = "the only one"
    BetaSCVI.setup_anndata(
        cells, layer="counts", batch_key=batch_key,
        categorical_covariate_keys=["condition", "site"],
    )  # fmt: skip
    reference = BetaSCVI(cells, n_hidden=16, n_latent=4, **arguments)
    reference.train(**quick | {"max_epochs": 3})
    query = cells[:50].copy()
    query.obs[batch_key] = "a new batch"
    query.obs["condition"] = "new too"

    model = load(query, reference)
    model.is_trained_ = True

    z = reference.get_latent_representation(cells[50:60].copy())
    np.testing.assert_allclose(model.get_latent_representation(cells[50:60].copy()), z, atol=1e-5)
    was = {"condition": "stim", "site": "south"}
    batch = str(cells.obs[batch_key].iloc[0])
    before = reference.decode(z, was if batch_key == "one" else {"batch": batch, **was})
    np.testing.assert_allclose(model.decode(z, {batch_key: batch, **was}), before, rtol=1e-4)


def test_a_query_trains_without_weight_decay_unless_it_is_asked_for(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], query: AnnData, adata: AnnData
) -> None:
    preset = unsupervised(4)
    reference = make_model({"batch_key": "batch"}, **{**preset.model, "n_hidden": 16})
    reference.train(**{**preset.train, **quick, "max_epochs": 5})
    shifts = reference.module.decoder.shift.fc_layers[0].weight.detach().numpy()
    model = load(query, reference)

    model.train(**{**preset.train, **quick, "max_epochs": 20})

    learned = model.module.decoder.shift.fc_layers[0].weight.detach().numpy()
    np.testing.assert_array_equal(learned[:, : shifts.shape[1]], shifts)
    assert np.abs(learned[:, shifts.shape[1] :]).max() > 0
    np.testing.assert_allclose(
        model.get_latent_representation(adata), reference.get_latent_representation(), atol=1e-5
    )


def test_a_query_without_labels_keeps_the_temperatures_of_the_reference(
    make_model: Callable[..., BetaSCVI], quick: dict[str, Any], query: AnnData
) -> None:
    reference = make_model(
        {"batch_key": "batch", "factor_keys": ["condition"]}, anchors=["condition"]
    )
    reference.train(**quick)
    reference.temperatures_ = {"condition": 3.0}  # as fitted to more labels than these cells have
    query.obs["condition"] = None
    model = load(query, reference)

    model.train(**quick)

    assert model.temperatures_ == {"condition": 3.0}


def test_what_the_reference_may_have_seen_is_not_said_to_be_unseen(
    make_model: Callable[..., BetaSCVI], adata: AnnData, quick: dict[str, Any]
) -> None:
    reference = make_model({"batch_key": "batch", "factor_keys": ["cell_type"]})
    reference.train(**quick)
    query = adata[:50].copy()
    query.obs["batch"] = "a new batch"
    mapped = load(query, reference)
    mapped.train(**quick)

    with pytest.warns(UserWarning, match="never seen|mapped from") as said:
        notes = bs.tl.counterfactual(mapped, query, {"batch": adata.obs["batch"].iloc[0]}).notes

    assert any("among the query's training cells" in note for note in notes)
    assert any("mapped from a reference" in note for note in notes)
    assert set(notes) <= {str(warning.message) for warning in said}
