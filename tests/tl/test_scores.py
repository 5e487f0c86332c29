import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import betascvi as bs
from betascvi._errors import FactorError, UndefinedScoreError, UnknownFactorError
from betascvi.factors import CodedFactor
from betascvi.tl._draws import permutations, subsamples, thin
from betascvi.tl._figures import BinnedEmbedding, conditional_figures
from betascvi.tl._inputs import factors_of

LIGHT = bs.tl.Budget(n_null=39, n_resamples=20, n_null_fitted=2, n_resamples_fitted=2)
COUNTED = ["mig", "modularity"]


def _cells(n_cells=240, seed=0, **columns):
    rng = np.random.default_rng(seed)
    donor = rng.integers(0, 6, n_cells)
    obs = pd.DataFrame(
        {
            "condition": pd.Categorical.from_codes(rng.integers(0, 2, n_cells), ["ctrl", "stim"]),
            "donor": pd.Categorical.from_codes(donor, list("abcdef")),
            "batch": pd.Categorical.from_codes(donor // 3, ["b1", "b2"]),
            "angle": rng.uniform(0, 2 * np.pi, n_cells),
            "depth": rng.normal(size=n_cells),
            **columns,
        },
        index=[f"c{i}" for i in range(n_cells)],
    )
    adata = ad.AnnData(obs=obs)
    adata.obsm["X"] = rng.normal(size=(n_cells, 4))
    return adata


def _perfect(adata, *keys):
    columns = [bs.factors.code_factor(adata.obs[k], bs.Factor(k)).values for k in keys]
    adata.obsm["X"] = np.column_stack(columns).astype(float)
    return adata


def _score(adata, keys, **options):
    return bs.tl.score_disentanglement(adata, "X", keys, **{"budget": LIGHT, **options})


def _figure(table, metric, factor, given=""):
    (row,) = [r for r in table.rows if (r.metric, r.factor, r.given) == (metric, factor, given)]
    return row


def test_figures_are_those_of_the_metrics_on_the_same_arrays():
    adata = _cells()
    factors = factors_of(adata, ["condition", "donor", "depth"])
    z = adata.obsm["X"]

    table = _score(adata, ["condition", "donor", "depth"])

    assert _figure(table, "mig", "all").value == pytest.approx(float(bs.metrics.mig(z, factors)))
    assert _figure(table, "modularity", "all").value == pytest.approx(
        float(bs.metrics.modularity(z, factors))
    )
    assert _figure(table, "sap", "donor").value == pytest.approx(
        bs.metrics.sap(z, factors).per_factor[1]
    )
    dci = bs.metrics.dci(z, factors)
    frame = table.to_frame().set_index(["metric", "part", "factor"])["value"]
    assert frame["dci", "disentanglement", "all"] == pytest.approx(float(dci))
    assert frame["dci", "informativeness", "all"] == pytest.approx(dci.parts["informativeness"])


def test_six_metrics_stand_side_by_side_by_default():
    table = _score(_cells(), ["condition", "donor"])

    assert set(table.to_frame()["metric"]) == {
        "mig",
        "modularity",
        "dci",
        "sap",
        "explicitness",
        "condition_prediction",
    }


def test_perfect_code_reaches_the_ceiling_and_beats_its_null():
    adata = _perfect(_cells(), "condition", "donor")

    for row in _score(adata, ["condition", "donor"], metrics=COUNTED).rows:
        assert row.value == pytest.approx(row.ceiling, abs=1e-9)
        assert row.p_value == pytest.approx(1 / 40)


def test_ceiling_of_mig_is_what_correlated_factors_allow():
    adata = _cells()
    overlap = bs.tl.overlap(adata, ["condition", "donor"])

    table = _score(adata, ["condition", "donor"], metrics=["mig"])

    assert _figure(table, "mig", "donor").ceiling == overlap.ceilings["donor"]


def test_noise_does_not_beat_its_null():
    table = _score(_cells(seed=5), ["condition", "donor", "depth"], metrics=COUNTED)

    assert min(row.p_value for row in table.rows) > 0.02
    assert all(row.null_mean <= row.null_high for row in table.rows)


def test_donor_is_scored_within_its_batch_where_it_is_nested():
    adata = _cells()
    batch = adata.obs["batch"].cat.codes.to_numpy()
    adata.obsm["X"][:, 0] = (
        10 * batch
    )  # an axis that knows the batch, and nothing of the donors in it

    table = _score(adata, ["batch", "donor"], metrics=["mig"])

    assert _figure(table, "mig", "donor").p_value < 0.05
    assert _figure(table, "mig", "donor", given="batch").p_value > 0.05


def test_conditional_gap_of_a_code_that_holds_the_child_is_one():
    adata = _cells()
    noise = np.random.default_rng(1).normal(size=240)
    adata.obsm["X"] = np.column_stack([adata.obs["donor"].cat.codes, noise * 0]).astype(float)

    table = _score(adata, ["batch", "donor"], metrics=["mig"])

    assert _figure(table, "mig", "donor", given="batch").value == pytest.approx(1.0)


def test_null_within_strata_keeps_what_the_stratum_explains():
    adata = _cells()
    adata.obsm["X"][:, 0] = 10 * adata.obs["batch"].cat.codes

    plain = _score(adata, ["donor", "condition"], metrics=["mig"])
    within = _score(adata, ["donor", "condition"], metrics=["mig"], strata="batch")

    assert _figure(plain, "mig", "donor").p_value < 0.05
    assert _figure(within, "mig", "donor").p_value > 0.05


def test_missing_labels_are_left_out_for_their_factor_only_and_counted():
    adata = _cells()
    adata.obs.loc[adata.obs_names[:40], "condition"] = None

    table = _score(adata, ["condition", "donor"], metrics=["mig"])

    row = _figure(table, "mig", "condition")
    assert (row.n_cells, row.n_left_out) == (200, 40)
    assert _figure(table, "mig", "donor").n_cells == 240


def test_figures_that_do_not_exist_are_rows_with_a_reason():
    adata = _cells()
    adata.obsm["X"] = adata.obsm["X"][:, :1]

    frame = _score(adata, ["condition"]).to_frame()
    missing = frame[frame["value"].isna()]

    assert set(missing["metric"]) == {"mig", "modularity", "dci", "sap"}
    assert (missing["reason"].str.len() > 20).all()
    assert set(frame.loc[frame["value"].notna(), "reason"]) == {""}


def test_angles_and_numbers_are_scored():
    adata = _cells()
    adata.obsm["X"][:, :2] = np.column_stack(
        [np.cos(adata.obs["angle"]), np.sin(adata.obs["angle"])]
    )
    angle = bs.Factor("angle", kind="circular")

    table = _score(adata, [angle, "depth"], metrics=["explicitness", "mig"])

    assert _figure(table, "explicitness", "angle").value > 0.8
    assert _figure(table, "mig", "angle").p_value > 0 < _figure(table, "mig", "depth").p_value


def test_cells_beyond_the_budget_are_drawn_down_in_the_shares_of_their_levels():
    adata = _cells(1000)
    factors = factors_of(adata, ["condition", "donor"])

    rows = thin(factors, 200, np.random.default_rng(0))

    assert len(set(rows)) == 200
    for factor in factors:
        whole, kept = np.bincount(factor.values) / 5, np.bincount(factor.values[rows])
        assert np.abs(whole - kept).max() <= 12


def test_budget_is_stated_in_the_table():
    small = bs.tl.Budget(10, 10, 2, 2, max_cells=150, max_cells_fitted=100)

    table = _score(_cells(), ["condition", "donor"], metrics=["mig", "sap"], budget=small)

    assert (_figure(table, "mig", "all").n_cells, _figure(table, "mig", "all").n_null) == (150, 10)
    assert (_figure(table, "sap", "all").n_cells, _figure(table, "sap", "all").n_null) == (100, 2)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_permuted_labels_stay_in_their_stratum_and_with_the_cells_that_have_one(seed):
    adata = _cells(80, seed)
    adata.obs.loc[adata.obs_names[::7], "condition"] = None
    factors = factors_of(adata, ["condition", "donor"])
    strata = adata.obs["batch"].cat.codes.to_numpy()

    ((condition, donor),) = permutations(factors, strata, 1, np.random.default_rng(seed))

    assert np.array_equal(condition.known, factors[0].known)
    assert np.array_equal(donor.values // 3, factors[1].values // 3)
    assert sorted(condition.values) == sorted(factors[0].values)


def test_factors_known_for_the_same_cells_stay_as_dependent_as_they_are():
    factors = factors_of(_cells(80), ["batch", "donor"])

    ((batch, donor),) = permutations(factors, np.zeros(80, int), 1, np.random.default_rng(0))

    assert np.array_equal(donor.values // 3, batch.values)


def test_no_cell_stands_twice_in_a_subsample():
    for rows in subsamples(100, 5, np.random.default_rng(0)):
        assert len(np.unique(rows)) == len(rows) == 80


def test_same_seed_gives_the_same_table():
    keys, metrics = ["condition", "donor"], ["mig", "sap"]

    first, second = (_score(_cells(), keys, metrics=metrics, seed=4) for _ in "ab")

    pd.testing.assert_frame_equal(first.to_frame(), second.to_frame())


def test_table_is_stored_only_on_request_and_survives_a_file(tmp_path):
    adata = _cells()

    table = _score(adata, ["condition", "donor"], metrics=["mig"])
    assert "betascvi" not in adata.uns
    _score(adata, ["condition", "donor"], metrics=["mig"], key_added="scores")
    adata.write_h5ad(tmp_path / "scored.h5ad")

    stored = ad.read_h5ad(tmp_path / "scored.h5ad").uns["betascvi"]["scores"]
    assert stored["table"]["value"].tolist() == table.to_frame()["value"].tolist()
    assert json.loads(stored["settings"])["n_null"] == 39


def test_matrix_has_metrics_as_rows_and_factors_as_columns():
    matrix = _score(_cells(), ["condition", "donor"], metrics=["mig", "dci"]).matrix()

    assert list(matrix.columns) == ["all", "condition", "donor"]
    assert list(matrix.index)[:2] == ["mig", "dci disentanglement"]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        pytest.param(
            {"factor_keys": ["donors"]}, UnknownFactorError, "'donor'", id="typo in factor"
        ),
        pytest.param({"key": "X_scvi"}, UnknownFactorError, "There are", id="unknown embedding"),
        pytest.param(
            {"factor_keys": ["one"]}, FactorError, "'one' has a single level", id="one level"
        ),
        pytest.param({"factor_keys": []}, UnknownFactorError, "empty", id="no factor"),
        pytest.param({"metrics": ["mgi"]}, UnknownFactorError, "mig", id="unknown metric"),
        pytest.param(
            {"strata": "plate"}, UnknownFactorError, "strata 'plate'", id="unknown strata"
        ),
    ],
)
def test_what_is_not_there_is_refused_by_name(change, error, words):
    asked = {"key": "X", "factor_keys": ["donor", "condition"], **change}

    with pytest.raises(error, match=words):
        bs.tl.score_disentanglement(_cells(one="x"), **asked)


def test_nan_in_the_embedding_is_refused_with_the_way_out():
    adata = _cells()
    adata.obsm["X"][0, 0] = np.nan

    with pytest.raises(UndefinedScoreError, match=r"leave these cells out: adata\[np.isfinite"):
        _score(adata, ["condition"])


def test_negative_budget_is_refused():
    with pytest.raises(ValueError, match="n_null is 0 or more"):
        bs.tl.Budget(n_null=-1)


@pytest.mark.parametrize("key", ["condition", "donor", "depth", "angle"])
def test_one_factor_alone_is_scored_where_a_metric_is_defined_for_one(key):
    adata = _cells()

    table = _score(adata, [bs.Factor(key, "circular") if key == "angle" else key])

    for metric in ("mig", "sap", "explicitness", "condition_prediction"):
        row = _figure(table, metric, "all")
        assert np.isfinite(row.value)
        # the two axes of an angle tie, so that no code of it has a gap between the best and the next
        assert row.ceiling > row.value or (metric, key) == ("sap", "angle")
    assert "compares factors" in _figure(table, "modularity", "all").reason


@pytest.mark.parametrize("n_cells", [6, 30, 240])
@pytest.mark.parametrize("n_rare", [1, 2, 4])
def test_a_rare_level_leaves_a_figure_or_a_reason(n_cells, n_rare):
    rare = np.where(np.arange(n_cells) < n_rare, "x", "z")
    adata = _cells(n_cells, rare=pd.Categorical(rare))

    table = _score(adata, ["condition", "rare"])

    for row in table.rows:
        assert (row.value is not None and np.isfinite(row.value)) or row.reason
        assert row.value is not None or row.p_value is None


def test_a_level_for_every_cell_has_a_reason_at_once():
    adata = _cells(each=pd.Categorical([f"l{i}" for i in range(240)]))

    table = _score(adata, ["condition", "each"], metrics=["explicitness"])

    assert "'each' has no two levels" in _figure(table, "explicitness", "all").reason


def test_intervals_stay_within_what_a_score_can_be():
    adata = _perfect(_cells(60), "condition", "donor")

    rows = [row for row in _score(adata, ["condition", "donor"]).rows if row.low is not None]

    assert rows
    assert all(row.high <= 1.0 for row in rows)
    assert all(row.low >= 0.0 for row in rows if row.part != "informativeness")
    assert all(row.low <= row.value <= row.high for row in rows)


def test_a_child_that_does_not_vary_within_its_parent_has_no_conditional_figure() -> None:
    rng = np.random.default_rng(0)
    parent = CodedFactor("batch", "categorical", np.arange(60) % 3, ("a", "b", "c"))
    child = CodedFactor("donor", "categorical", np.arange(60) % 3, ("x", "y", "z"))

    with pytest.raises(UndefinedScoreError, match="donor does not vary within batch"):
        conditional_figures(BinnedEmbedding(rng.normal(size=(60, 2)), 10), child, parent)
