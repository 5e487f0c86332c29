from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from betascvi import BetaSCVI
from betascvi._errors import TrainingError
from betascvi._random_state import seeded
from betascvi.sweep import ENGINES, Spec, run
from betascvi.sweep._run import fingerprint, split_cells

_QUICK = {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 1}
_SMALL = {"n_latent": 3, "n_hidden": 8}


@pytest.fixture(scope="module")
def cells(tiny_source):
    adata = tiny_source.copy()
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["condition", "cell_type"])
    return adata


@pytest.fixture(scope="module")
def spec():
    return Spec(
        objectives=["beta_vae", "l_vae"], betas=[1.0], seeds=[0], model=_SMALL, train=_QUICK,
        held_out=0.25, metrics=["mig", "sap"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(cells, spec):
    """The two models of ``spec``, trained once for all tests."""
    return {
        one.label: model
        for one, model in ENGINES["sequential"](spec.runs(), cells, split_cells(cells.n_obs, 0.25))
    }


@pytest.fixture
def engine(trained):
    """Hands over trained models, and remembers what it was asked for."""

    def recorded(runs, _adata, _split):
        for one in runs:
            recorded.asked.append(one.label)
            yield one, trained[one.label]

    recorded.asked = []
    return recorded


def test_a_sweep_gives_one_row_a_run_with_bounds_axes_and_metrics(cells, spec, engine):
    frame = run(spec, cells, engine)

    assert frame["objective"].tolist() == ["BetaVAE", "LVAE"]
    assert frame["beta"].tolist()[0] == 1.0
    assert np.isnan(frame["beta"].tolist()[1])
    np.testing.assert_allclose(frame["elbo"], -frame["distortion"] - frame["rate"])
    np.testing.assert_allclose(frame["gap"], frame["elbo_train"] - frame["elbo"])
    assert frame["n_axes"].tolist() == [3, 3]
    assert frame["n_scored"].tolist() == [100, 100]
    assert frame[["mig", "sap"]].notna().all().all()


def test_rate_is_the_closed_form_kl_of_the_held_out_cells(cells, spec, engine, trained):
    frame = run(spec, cells, engine)

    model = trained["BetaVAE"]
    mean, variance = model.get_latent_representation(
        indices=model.validation_indices, return_dist=True
    )
    kl = 0.5 * (variance + mean**2 - 1 - np.log(variance)).sum(1).mean()
    assert frame["rate"][0] == pytest.approx(kl, abs=1e-2)


def test_finished_runs_are_read_and_not_repeated(cells, spec, engine, tmp_path):
    first = run(spec, cells, engine, out=tmp_path)
    again = run(spec, cells, engine, out=tmp_path)

    assert engine.asked == ["BetaVAE", "LVAE"]
    pd.testing.assert_frame_equal(first, again)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "runs.csv"), again, check_dtype=False)


def test_only_what_is_missing_is_run(cells, spec, engine, tmp_path):
    wider = Spec(**{**vars(spec), "objectives": ["beta_vae"]})
    run(wider, cells, engine, out=tmp_path)

    frame = run(spec, cells, engine, out=tmp_path)

    assert engine.asked == ["BetaVAE", "LVAE"]
    assert frame["objective"].tolist() == ["BetaVAE", "LVAE"]


def test_a_sweep_cut_short_leaves_whole_runs_only(cells, spec, trained, engine, tmp_path):
    def dies(runs, _adata, _split):
        yield runs[0], trained["BetaVAE"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec, cells, dies, out=tmp_path)

    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "row.json").read_text())["objective"] == "BetaVAE"
    run(spec, cells, engine, out=tmp_path)
    assert engine.asked == ["LVAE"]


def test_a_run_that_cannot_be_written_whole_is_not_there(
    cells, spec, engine, tmp_path, monkeypatch
):
    monkeypatch.setattr(pd.DataFrame, "to_csv", _refuse)

    with pytest.raises(OSError, match="disk is full"):
        run(spec, cells, engine, out=tmp_path)

    assert list(tmp_path.iterdir()) == []


def _refuse(*_args, **_kwargs):
    raise OSError("disk is full")


def test_a_training_that_stops_is_a_row_with_its_reason_and_is_tried_again(
    cells, spec, trained, engine, tmp_path
):
    def first_fails(runs, _adata, _split):
        yield runs[0], TrainingError("the loss is nan")
        yield runs[1], trained["LVAE"]

    frame = run(spec, cells, first_fails, out=tmp_path)

    assert frame["error"].tolist()[0] == "the loss is nan"
    assert np.isnan(frame["elbo"][0])
    assert np.isfinite(frame["elbo"][1])
    run(spec, cells, engine, out=tmp_path)
    assert engine.asked == ["BetaVAE"]


def test_models_are_kept_where_asked_for(cells, spec, engine, tmp_path):
    run(spec, cells, engine, out=tmp_path)
    run(spec, cells, engine, out=tmp_path, keep_models=True)

    assert engine.asked == ["BetaVAE", "LVAE"] * 2
    saved = next(tmp_path.glob("LVAE*/model"))
    assert BetaSCVI.load(str(saved), adata=cells).module.objective.scale > 0


def test_models_cannot_be_kept_without_a_folder(cells, spec, engine):
    with pytest.raises(ValueError, match="needs out="):
        run(spec, cells, engine, keep_models=True)


def test_an_unknown_engine_says_which_there_are(cells, spec):
    with pytest.raises(ValueError, match="no engine 'ray'; there is 'sequential'"):
        run(spec, cells, "ray")


def test_every_run_trains_on_the_same_cells(trained):
    one, other = trained["BetaVAE"], trained["LVAE"]

    assert np.array_equal(np.sort(one.train_indices), np.sort(other.train_indices))
    assert len(one.validation_indices) == 100


def test_the_same_seed_trains_the_same_model(cells, spec, trained):
    ((_, again),) = ENGINES["sequential"](spec.runs()[:1], cells, split_cells(cells.n_obs, 0.25))

    np.testing.assert_array_equal(
        again.get_latent_representation(), trained["BetaVAE"].get_latent_representation()
    )


def test_seeding_a_run_leaves_the_global_generators_as_they_were():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)

    with seeded(0):
        torch.rand(5)

    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("held_out", [0.001, 0.999])
def test_a_split_with_an_empty_side_is_refused(held_out):
    with pytest.raises(ValueError, match="leaves one side empty"):
        split_cells(100, held_out)


def _print_of(source, change=None, **setup):
    adata = source.copy()
    if change is not None:
        change(adata)
    BetaSCVI.setup_anndata(adata, layer="counts", **setup)
    return fingerprint(adata)


def _dealt(adata, key):
    order = np.random.default_rng(3).permutation(adata.n_obs)
    adata.obs[key] = adata.obs[key].to_numpy()[order]


def _counts_of_other_cells(adata):
    adata.layers["counts"] = adata.layers["counts"][np.arange(adata.n_obs)[::-1]]


@pytest.mark.parametrize(
    ("change", "setup"),
    [
        pytest.param(lambda a: _dealt(a, "condition"), {"factor_keys": ["condition"]}, id="labels"),
        pytest.param(lambda a: _dealt(a, "batch"), {"batch_key": "batch"}, id="batches"),
        pytest.param(_counts_of_other_cells, {}, id="counts"),
    ],
)
def test_rows_of_other_labels_batches_or_counts_are_not_taken_for_these(tiny_source, change, setup):
    before = _print_of(tiny_source, **setup)

    assert _print_of(tiny_source, **setup) == before
    assert _print_of(tiny_source, change, **setup) != before


def test_a_factor_that_held_out_cells_do_not_differ_in_ends_no_sweep(tiny_source, spec):
    adata = tiny_source.copy()
    training, _ = split_cells(adata.n_obs, 0.25)
    rare = np.full(adata.n_obs, "no", dtype=object)
    rare[training[:9]] = "yes"
    adata.obs["rare"] = rare
    BetaSCVI.setup_anndata(adata, layer="counts", factor_keys=["condition", "rare"])

    frame = run(replace(spec, objectives=["beta_vae"]), adata)

    assert frame["not_scored"].tolist() == ["rare"]
    assert np.isfinite(frame["mig"]).all()
