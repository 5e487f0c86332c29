"""Traversals: the path, what is held, and the genes that follow."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import betascvi as bs
from betascvi import BetaSCVI
from betascvi._errors import FactorError, UnknownFactorError
from betascvi.model._block_moves import BlockMove
from betascvi.tl import _traversal, _traversal_path
from betascvi.tl._encoded import encode
from betascvi.tl._traversal_path import path_along, paths_along
from betascvi.tl._traversal_sets import scores_of
from betascvi.tl._traversal_start import start_of

QUICK: dict[str, Any] = {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False}
SIMPLEX = np.array([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])


@pytest.fixture(scope="module")
def model() -> BetaSCVI:
    from betascvi.datasets import Levels, Sequencing, simulated_atlas

    adata = simulated_atlas(
        n_cells=400, n_genes=60, seed=0, levels=Levels(n_cell_types=3, n_donors=4),
        sequencing=Sequencing(counts_per_gene=2.0),
    )  # fmt: skip
    BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    fitted = BetaSCVI(adata, n_hidden=16, n_latent=4)
    fitted.train(**QUICK)
    return fitted


def block(kind: Any, **more: Any) -> BlockMove:
    given: dict[str, Any] = {
        "anchors": SIMPLEX, "share": np.ones(3) / 3, "levels": ("a", "b", "c"),
        "axes": slice(0, 2), **more,
    }  # fmt: skip
    return BlockMove("dose", kind, **given)


def with_block(monkeypatch: pytest.MonkeyPatch, move: BlockMove) -> None:
    monkeypatch.setattr(_traversal_path, "block_moves", lambda _: {move.name: move})


def test_one_cell_goes_along_the_axis_and_keeps_everything_else(model: BetaSCVI) -> None:
    found = bs.tl.traverse(model, model.adata, axis=2, span=(-2, 2), at=7, n_steps=3)

    z = np.repeat(model.get_latent_representation()[[7]], 3, axis=0)
    z[:, 2] = [-2.0, 0.0, 2.0]
    batch = str(model.adata.obs["batch"].iloc[7])
    np.testing.assert_allclose(found.expression, model.decode(z, {"batch": batch}), rtol=1e-4)
    np.testing.assert_array_equal(found.steps, [-2, 0, 2])
    assert (found.axis, found.kind, found.n_cells) == ("free_3", "line", 1)


def test_genes_are_ranked_by_the_size_of_their_effect_with_cells_around_it(
    model: BetaSCVI,
) -> None:
    found = bs.tl.traverse(model, model.adata, axis=0)

    sizes = found.effects["effect"].abs().to_numpy()
    assert (np.diff(sizes) <= 0).all()
    assert (found.effects["low"] <= found.effects["high"]).all()
    inside = found.effects["effect"].between(found.effects["low"], found.effects["high"])
    assert inside.mean() > 0.9
    assert len(found.top(5)) == 5
    assert found.to_frame().shape == (7, 60)


def test_the_effect_of_a_cell_is_the_log_ratio_of_its_ends(model: BetaSCVI) -> None:
    found = bs.tl.traverse(model, model.adata, axis=1, at=str(model.adata.obs_names[3]))

    ends = np.log2(1 + found.expression[[0, -1]])
    expected = dict(zip(found.genes, ends[1] - ends[0], strict=True))
    np.testing.assert_allclose(
        found.effects["effect"], [expected[gene] for gene in found.effects.index], atol=1e-4
    )


def test_a_group_is_the_mean_of_its_cells(model: BetaSCVI) -> None:
    in_group = np.flatnonzero(model.adata.obs["cell_type"] == "type_1")

    found = bs.tl.traverse(model, model.adata, axis=0, at={"cell_type": "type_1"})

    alone = [bs.tl.traverse(model, model.adata, axis=0, at=int(i)).expression for i in in_group[:3]]
    assert found.n_cells == min(len(in_group), 200)
    assert found.start == "cell_type=type_1"
    assert alone[0].shape == found.expression.shape


def test_a_line_in_a_block_goes_through_standard_deviations_of_the_number(
    model: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_block(monkeypatch, block("continuous", axes=slice(0, 1), scale=(10.0, 2.0)))

    path = path_along(model, "dose", (-1.0, 1.0), 3)

    assert path.labels == ("8", "10", "12")
    np.testing.assert_array_equal(path.at(np.full((2, 4), 9.0), 2), [[1, 9, 9, 9]] * 2)


def test_levels_are_visited_one_after_the_other(
    model: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_block(monkeypatch, block("categorical"))

    path = path_along(model, 1, (-3.0, 3.0), 7)  # an axis of the block stands for the block

    z = np.zeros((1, 4))
    assert [label for label in path.labels if label] == ["a", "b", "c"]
    np.testing.assert_allclose(path.at(z, 0)[0, :2], SIMPLEX[0])
    np.testing.assert_allclose(path.at(z, 2)[0, :2], (SIMPLEX[0] + SIMPLEX[1]) / 2)
    np.testing.assert_allclose(path.at(z, 4)[0, :2], SIMPLEX[1])
    np.testing.assert_allclose(path.at(z, 8)[0, :2], SIMPLEX[2])


def test_a_circle_comes_back_to_where_it_began(
    model: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_block(monkeypatch, block("circular", levels=()))

    found = bs.tl.traverse(model, model.adata, axis="dose", at=0, n_steps=9)

    assert found.kind == "circle"
    np.testing.assert_allclose(found.expression[0], found.expression[-1], rtol=1e-3)
    assert (found.effects["effect"] >= 0).all()


def test_memory_does_not_grow_with_the_steps_and_each_gene_keeps_its_own_ends(
    model: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tuple(f"l{k}" for k in range(40))
    spots = np.random.default_rng(0).normal(size=(40, 2))
    with_block(monkeypatch, block("categorical", anchors=spots, levels=names))

    tracemalloc.start()
    try:
        found = bs.tl.traverse(model, model.adata, "dose")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    n_steps, one_step = 4 * 39 + 1, 200 * 60 * 8
    assert found.expression.shape == (n_steps, 60)
    assert peak < 0.2 * n_steps * one_step
    curves = pd.DataFrame(found.expression, columns=list(found.genes))
    labels = pd.Series([w or f"{s:.2f}" for w, s in zip(found.labels, found.steps, strict=True)])
    assert list(found.effects["to"]) == list(labels[curves.idxmax()[found.effects.index]])
    assert list(found.effects["from"]) == list(labels[curves.idxmin()[found.effects.index]])


def test_gene_sets_are_scored_at_every_step(model: BetaSCVI) -> None:
    first = bs.tl.traverse(model, model.adata, axis=0)
    rising = list(first.effects.query("effect > 0").index[:5])

    found = bs.tl.traverse(model, model.adata, axis=0, gene_sets={"rising": rising})

    assert found.scores is not None
    assert found.scores["rising"].iloc[-1] > found.scores["rising"].iloc[0]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"axis": 4}, UnknownFactorError, "go from 0 to 3"),
        ({"axis": "free_9"}, UnknownFactorError, "no axis 'free_9'"),
        ({"axis": 0, "span": (3, -3)}, ValueError, "a lower and a higher"),
        ({"axis": 0, "n_steps": 1}, ValueError, "from 2 up"),
        ({"axis": 0, "at": 400}, UnknownFactorError, "no cell 400"),
        ({"axis": 0, "at": {"celltype": "B"}}, UnknownFactorError, "no column"),
        ({"axis": 0, "at": -401}, UnknownFactorError, "no cell -401"),
        ({"axis": 0, "at": {"cell_type": "typ_1"}}, UnknownFactorError, "did you mean 'type_1'"),
        ({"axis": 0, "at": 2.7}, ValueError, "got 2.7"),
        ({"axis": 0, "at": [1, 2]}, ValueError, "the position or the name"),
        ({"axis": 1.5}, ValueError, "got 1.5"),
        ({"axis": True}, ValueError, "got True"),
        ({"axis": None}, ValueError, "got None"),
        ({"axis": 0, "span": 3}, ValueError, "a lower and a higher"),
        ({"axis": 0, "n_steps": 2.5}, ValueError, "got 2.5"),
        ({"axis": 0, "gene_sets": ["ISG15"]}, ValueError, "maps names to genes"),
        ({"axis": 0, "gene_sets": {"ifn": "ISG15"}}, ValueError, "a list of genes"),
        ({"axis": 0, "gene_sets": {"ifn": ["ISG15"]}}, UnknownFactorError, "none of the 1 genes"),
    ],
)
def test_bad_input_is_refused(
    model: BetaSCVI, arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        bs.tl.traverse(model, model.adata, **arguments)


def test_cells_are_counted_from_the_end_where_positions_are_negative(model: BetaSCVI) -> None:
    found = bs.tl.traverse(model, model.adata, axis=0, at=-1, n_steps=2)

    assert found.start == f"cell {model.adata.obs_names[-1]}"


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
def test_a_name_that_two_cells_bear_is_refused() -> None:
    twice = AnnData(obs=pd.DataFrame(index=["a", "b", "a"]))

    with pytest.raises(ValueError, match="2 cells are named 'a'"):
        start_of(twice, "a", np.random.default_rng(0))


def test_levels_that_no_cell_has_together_are_refused() -> None:
    obs = pd.DataFrame({"kind": ["B", "T"], "batch": ["1", "2"]}, index=["a", "b"])

    with pytest.raises(ValueError, match="fits none of 2"):
        start_of(AnnData(obs=obs), {"kind": "B", "batch": "2"}, np.random.default_rng(0))


def test_a_level_may_be_a_number() -> None:
    cells = AnnData(obs=pd.DataFrame({"age": [30.0, 31.0, 30.0]}, index=list("abc")))

    rows, _ = start_of(cells, {"age": 30}, np.random.default_rng(0))

    assert rows.tolist() == [0, 2]


def test_a_set_of_all_genes_is_refused_before_anything_is_decoded(
    model: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_traversal, "predictive", lambda *_: pytest.fail("decoded"))

    with pytest.raises(ValueError, match="holds all 60 genes of the model"):
        bs.tl.traverse(model, model.adata, axis=0, gene_sets={"all": list(model.adata.var_names)})


def test_a_set_whose_controls_were_all_drawn_from_itself_is_scored() -> None:
    mean = np.random.default_rng(0).gamma(2.0, 5.0, size=(5, 60))
    genes = [f"g{i}" for i in range(60)]

    for n in (1, 2, 50, 58):
        scores = scores_of(mean, genes, {"set": genes[:n]}, seed=0)
        assert np.isfinite(scores["set"]).all()


def test_models_go_to_the_same_levels_whatever_their_order(
    model: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = {"levels": ("c", "a", "b"), "anchors": SIMPLEX[[2, 0, 1]]}
    moves = iter([block("categorical"), block("categorical", **turned)])
    monkeypatch.setattr(_traversal_path, "block_moves", lambda _: {"dose": next(moves)})

    first, second = paths_along([model, model], "dose", (-3.0, 3.0), 7)

    assert first.labels == second.labels
    for step in range(len(first.steps)):
        z = np.zeros((1, 4))
        np.testing.assert_array_equal(first.at(z, step), second.at(z, step))


def test_curves_of_models_with_levels_in_another_order_are_not_averaged_in_reverse(
    model: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = block("categorical", levels=("c", "b", "a"), anchors=SIMPLEX[::-1])
    moves = iter([block("categorical"), turned])
    monkeypatch.setattr(_traversal_path, "block_moves", lambda _: {"dose": next(moves)})
    monkeypatch.setattr(BetaSCVI, "blocks", {"dose": slice(0, 2), "free": slice(2, 4)})

    found = bs.tl.traverse([model, model], model.adata, "dose")

    assert found.n_models == 2
    assert found.effects["effect"].abs().max() > 0
    np.testing.assert_allclose(found.effects["sd_over_models"], 0.0, atol=1e-6)


def test_models_go_to_the_same_values_whatever_their_scale(
    model: BetaSCVI, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = block("continuous", axes=slice(0, 1), scale=(10.0, 2.0))
    moves = iter([one, replace(one, scale=(8.0, 4.0))])
    monkeypatch.setattr(_traversal_path, "block_moves", lambda _: {"dose": next(moves)})

    first, second = paths_along([model, model], "dose", (-1.0, 1.0), 3)

    np.testing.assert_array_equal(first.steps, [8, 10, 12])
    assert [second.at(np.zeros((1, 4)), k)[0, 0] for k in range(3)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            block("categorical", levels=("a", "b", "zz")),
            "the levels .*'c'.* and .*'zz'.* in model 1",
        ),
        (block("circular", levels=()), "categorical in the first model and circular in model 1"),
    ],
)
def test_models_of_other_levels_are_refused(
    model: BetaSCVI, monkeypatch: pytest.MonkeyPatch, other: BlockMove, words: str
) -> None:
    moves = iter([block("categorical"), other])
    monkeypatch.setattr(_traversal_path, "block_moves", lambda _: {"dose": next(moves)})

    with pytest.raises(FactorError, match=words):
        paths_along([model, model], "dose", (-3.0, 3.0), 7)


def test_models_of_other_genes_are_refused(model: BetaSCVI) -> None:
    class Other:
        adata = AnnData(var=pd.DataFrame(index=[*model.adata.var_names[:-1], "ISG15"]))
        module = model.module

    known = encode(model, model.adata, [0, 1])
    with pytest.raises(ValueError, match=r"model 1 has 'ISG15' \(one of 1 that differ\)"):
        _traversal._genes_of([known, replace(known, model=Other())])


def test_a_free_axis_of_several_seeds_is_refused(model: BetaSCVI) -> None:
    with pytest.raises(ValueError, match="is not that of another"):
        bs.tl.traverse([model, model], model.adata, axis=0)


def test_with_size_factors_expression_is_of_10_000_counts_too(model: BetaSCVI) -> None:
    adata = model.adata.copy()
    totals = np.asarray(adata.layers["counts"].sum(1)).ravel()
    adata.obs["size"] = totals / totals.mean()
    BetaSCVI.setup_anndata(adata, layer="counts", size_factor_key="size")
    sized = BetaSCVI(adata, n_hidden=16, n_latent=4)
    sized.train(**QUICK)

    found = bs.tl.traverse(sized, adata, axis=0)

    np.testing.assert_allclose(found.expression.sum(1), 1e4, rtol=1e-4)


def test_gene_sets_leave_numpy_s_generator_as_it_was(model: BetaSCVI) -> None:
    genes = [str(name) for name in model.adata.var_names[:5]]
    np.random.seed(123)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(123)  # noqa: NPY002

    bs.tl.traverse(model, model.adata, axis=0, gene_sets={"five": genes})

    assert np.random.random() == expected  # noqa: NPY002
