import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import betascvi as bs
from betascvi._errors import FactorError, UndefinedScoreError, UnknownFactorError

LIGHT = bs.tl.Probing(n_folds=3, null="logistic", probes=("logistic", "neighbors"), n_resamples=50)


def _cells(n_cells=300, seed=0, **columns):
    rng = np.random.default_rng(seed)
    condition = rng.integers(0, 2, n_cells)
    donor = rng.integers(0, 6, n_cells)
    obs = pd.DataFrame(
        {
            "condition": pd.Categorical.from_codes(condition, ["ctrl", "stim"]),
            "donor": pd.Categorical.from_codes(donor, list("abcdef")),
            "angle": rng.uniform(0, 2 * np.pi, n_cells),
            "depth": rng.normal(size=n_cells),
            **columns,
        },
        index=[f"c{i}" for i in range(n_cells)],
    )
    adata = AnnData(obs=obs)
    adata.obsm["X"] = rng.normal(size=(n_cells, 4))
    return adata


def _only(record):
    (leak,) = record.leaks
    return leak


def test_block_that_holds_the_factor_leaks_all_of_it():
    adata = _cells()
    adata.obsm["X"][:, 0] += 20 * adata.obs["condition"].cat.codes

    leak = _only(bs.tl.leakage(adata, "X", ["condition"], probing=LIGHT))

    assert leak.reading.leak == pytest.approx(1.0, abs=0.06)
    assert leak.reading.p_value == pytest.approx(1 / 21)


def test_noise_leaks_nothing_on_average():
    readings = [
        _only(bs.tl.leakage(_cells(150, seed), "X", ["condition"], probing=LIGHT)).reading
        for seed in range(8)
    ]

    assert np.mean([r.leak for r in readings]) == pytest.approx(0.0, abs=0.1)


def test_what_no_line_can_see_is_found_by_the_other_probes():
    adata = _cells(400)
    z = adata.obsm["X"]
    adata.obs["xor"] = np.where((z[:, 0] > 0) ^ (z[:, 1] > 0), "yes", "no")

    linear = bs.tl.Probing(null="logistic", probes=("logistic",))
    every = bs.tl.Probing(null="logistic")
    blind = _only(bs.tl.leakage(adata, "X", ["xor"], probing=linear)).reading
    seeing = _only(bs.tl.leakage(adata, "X", ["xor"], probing=every)).reading

    assert blind.leak < 0.2
    assert seeing.leak > 0.8


def test_angle_is_read_from_its_cosine_and_sine():
    adata = _cells()
    angle = bs.Factor("angle", kind="circular")
    adata.obsm["X"][:, :2] = np.column_stack(
        [np.cos(adata.obs["angle"]), np.sin(adata.obs["angle"])]
    )

    blocks = {"angle": [0, 1], "free": [2, 3]}
    own, free = bs.tl.leakage(adata, "X", [angle], blocks=blocks, probing=LIGHT).leaks

    assert own.reading.leak > 0.95
    assert own.is_own
    assert not free.is_own
    assert abs(free.reading.leak) < 0.15


def test_number_read_perfectly_leaks_one():
    adata = _cells()
    adata.obsm["X"][:, 2] = adata.obs["depth"]

    assert _only(bs.tl.leakage(adata, "X", ["depth"], probing=LIGHT)).reading.leak > 0.9


def test_blocks_are_those_that_embed_wrote():
    adata = _cells()
    adata.uns["betascvi"] = {
        "X": {
            "axes": ["condition", "f0", "f1", "f2"],
            "blocks": {"condition": [0, 1], "free": [1, 4]},
        }
    }

    record = bs.tl.leakage(adata, "X", ["condition"], probing=LIGHT)

    assert [(leak.block, leak.n_axes) for leak in record.leaks] == [("condition", 1), ("free", 3)]


def test_every_axis_can_be_looked_at_alone():
    adata = _cells()
    adata.obsm["X"][:, 3] += 20 * adata.obs["condition"].cat.codes

    matrix = bs.tl.leakage(adata, "X", ["condition"], blocks="axes", probing=LIGHT).matrix()

    assert matrix["condition"].idxmax() == "X_3"
    assert matrix.shape == (4, 1)


def test_dependence_of_factors_is_said_beside_the_leak_it_implies():
    adata = _cells(400)
    same = adata.obs["condition"].cat.codes.to_numpy() == 1
    flip = np.random.default_rng(1).random(400) < 0.1
    adata.obs["batch"] = np.where(same ^ flip, "b1", "b2")
    adata.obsm["X"][:, 0] = 20 * same

    blocks = {"condition": [0], "free": [1, 2, 3]}
    record = bs.tl.leakage(adata, "X", ["batch", "condition"], blocks=blocks, probing=LIGHT)
    frame = record.to_frame().set_index(["block", "factor"])

    assert frame.loc[("condition", "batch"), "leak"] == pytest.approx(
        frame.loc[("condition", "batch"), "implied"], abs=0.05
    )
    assert np.isnan(frame.loc[("free", "batch"), "implied"])


def test_held_out_donors_do_not_reward_what_only_one_donor_shows():
    rng = np.random.default_rng(0)
    donor = np.repeat(np.arange(12), 25)
    condition = (donor % 2).astype(str)
    adata = _cells(donor=donor.astype(str), condition=condition)
    adata.obsm["X"] = rng.normal(size=(12, 4))[donor] * 3 + rng.normal(size=(300, 4)) * 0.3

    by_cell = _only(bs.tl.leakage(adata, "X", ["condition"], probing=LIGHT)).reading
    by_donor = _only(
        bs.tl.leakage(adata, "X", ["condition"], groups="donor", probing=LIGHT)
    ).reading

    assert by_cell.score > 0.8
    assert by_donor.p_value > 0.05
    assert by_donor.high - by_donor.low > 2 * (by_cell.high - by_cell.low)


def test_missing_labels_and_rare_levels_are_left_out_and_counted():
    labels = np.array(["a"] * 150 + ["b"] * 140 + ["rare"] * 2 + [None] * 8, dtype=object)

    leak = _only(bs.tl.leakage(_cells(label=labels), "X", ["label"], probing=LIGHT))

    assert (leak.n_cells, leak.n_left_out) == (290, 10)


def test_factor_that_follows_the_held_out_group_has_a_reason_instead_of_a_figure():
    record = bs.tl.leakage(_cells(), "X", ["donor"], groups="donor", probing=LIGHT)

    row = record.to_frame().iloc[0]

    assert np.isnan(row["leak"])
    assert "nothing to tell apart" in row["reason"]


def test_cells_beyond_the_limit_are_drawn_down():
    small = bs.tl.Probing(null="logistic", probes=("logistic",), max_cells=100)

    assert _only(bs.tl.leakage(_cells(), "X", ["donor"], probing=small)).n_cells == 100


def test_same_seed_gives_the_same_reading():
    first, second = (bs.tl.leakage(_cells(), "X", ["donor"], probing=LIGHT, seed=3) for _ in "ab")

    pd.testing.assert_frame_equal(first.to_frame(), second.to_frame())


def test_nan_in_the_embedding_is_refused_with_the_number_of_cells():
    adata = _cells()
    adata.obsm["X"][:3, 1] = np.nan

    with pytest.raises(UndefinedScoreError, match="3 cells"):
        bs.tl.leakage(adata, "X", ["condition"])


def test_unknown_embedding_is_refused_with_the_closest_name():
    adata = _cells()
    adata.obsm["X_scVI"] = adata.obsm["X"]

    with pytest.raises(UnknownFactorError, match="did you mean 'X_scVI'"):
        bs.tl.leakage(adata, "X_scvi", ["condition"])


def test_block_beyond_the_embedding_is_refused():
    with pytest.raises(UnknownFactorError, match="has 4 axes"):
        bs.tl.leakage(_cells(), "X", ["condition"], blocks={"free": [3, 4]})


def test_factor_with_one_level_is_refused_by_name():
    with pytest.raises(FactorError, match="'only' has a single level"):
        bs.tl.leakage(_cells(only="x"), "X", ["only"])


def test_too_few_permutations_are_refused():
    with pytest.raises(ValueError, match="20 permutations"):
        bs.tl.Probing(n_permutations=5)


@pytest.mark.parametrize("blocks", ["free", ["free"]])
def test_blocks_that_embed_wrote_are_asked_for_by_name(blocks):
    adata = _cells()
    adata.uns["betascvi"] = {"X": {"blocks": {"condition": [0, 1], "free": [1, 4]}}}

    found = bs.tl.leakage(adata, "X", ["condition"], blocks=blocks, probing=LIGHT)
    same = bs.tl.leakage(adata, "X", ["condition"], blocks={"free": slice(1, 4)}, probing=LIGHT)

    pd.testing.assert_frame_equal(found.to_frame(), same.to_frame())
    with pytest.raises(UnknownFactorError, match=r"names of blocks .*'condition', 'free'"):
        bs.tl.leakage(adata, "X", ["condition"], blocks="fre")


def test_a_sparse_embedding_is_refused_in_a_sentence():
    adata = _cells()
    adata.obsm["X"] = sparse.csr_matrix(adata.obsm["X"])

    with pytest.raises(UndefinedScoreError, match=r"is sparse; an embedding is dense"):
        bs.tl.leakage(adata, "X", ["condition"])


def test_a_block_may_be_a_mask_over_the_axes():
    adata = _cells()
    adata.obsm["X"][:, 0] += 20 * adata.obs["condition"].cat.codes
    masks = {"noise": [False, False, True, True], "told": [True, False, False, False]}

    noise, told = bs.tl.leakage(adata, "X", ["condition"], blocks=masks, probing=LIGHT).leaks

    assert (noise.n_axes, told.n_axes) == (2, 1)
    assert noise.reading.leak < 0.3 < 0.9 < told.reading.leak
    with pytest.raises(ValueError, match="a mask of 2 values for 4 axes"):
        bs.tl.leakage(adata, "X", ["condition"], blocks={"noise": [True, False]})


@pytest.mark.parametrize("seed", [0, 5])  # all three donors of seed 5 shared a fold
def test_a_level_in_few_donors_is_read_whichever_fold_they_are_in(seed):
    donors = np.repeat([f"d{i:02d}" for i in range(50)], 6)
    rare = np.where((np.arange(300) < 18) & (np.arange(300) % 2 == 0), "yes", "no")
    adata = _cells(donor=donors, rare=rare)

    light = bs.tl.Probing(n_folds=5, null="logistic", probes=("logistic",), n_resamples=20)
    leak = _only(bs.tl.leakage(adata, "X", ["rare"], groups="donor", seed=seed, probing=light))

    assert leak.reading is not None
