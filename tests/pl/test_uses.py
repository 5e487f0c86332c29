"""Plots of traversals, counterfactuals and corrections draw the numbers of their records."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from betascvi import pl
from betascvi.tl import Correction, Counterfactual, Traversal


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def a_traversal(kind: str = "line", **more: object) -> Traversal:
    steps = np.linspace(-3, 3, 5)
    expression = np.exp(np.outer(steps, [0.1, -0.4, 0.7])) * 10
    effects = pd.DataFrame(
        {
            "effect": [5.0, -3.0, 0.8], "low": [4.0, -4.0, 0.2], "high": [6.0, -2.0, 1.0],
            "sd_over_models": 0.0, "from": "-3", "to": "+3",
        },
        index=pd.Index(["g2", "g1", "g0"], name="gene"),
    )  # fmt: skip
    given = {"scores": None, "start": "all cells", "n_cells": 200, **more}
    labels = ("-3", "-1.5", "+0", "+1.5", "+3")
    return Traversal(
        "free_4", kind, steps, labels, expression, ("g0", "g1", "g2"), effects, **given
    )


def matrices() -> AnnData:
    rng = np.random.default_rng(0)
    before = rng.gamma(2.0, 5.0, size=(40, 6)).astype(np.float32)
    after = before.copy()
    after[:, 2] *= 4.0
    obs = pd.DataFrame(
        {"batch": ["a", "b"] * 20, "cell_type": ["B"] * 40}, index=[f"c{i}" for i in range(40)]
    )
    var = pd.DataFrame(index=[f"g{i}" for i in range(6)])
    return AnnData(after, obs=obs, var=var, layers={"factual": before})


def a_counterfactual(statistics: pd.DataFrame | None = None, **more: object) -> Counterfactual:
    cells = None if statistics is not None else matrices()
    output = "mean" if statistics is None else "statistics"
    return Counterfactual(
        {"condition": "stim"}, output, 40, None, pd.DataFrame(), (), more.get("cells", cells),
        statistics=statistics,
    )  # fmt: skip


def statistics() -> pd.DataFrame:
    groups = np.repeat(["B", "T"], 3)
    middle = np.array([2.0, 0.1, -1.5, 1.0, 0.0, -3.0])
    return pd.DataFrame(
        {
            "group": groups, "gene": ["g0", "g1", "g2"] * 2, "n_cells": 20, "mean_factual": 1.0,
            "mean_counterfactual": 2.0, "log2_fold_change": middle, "low": middle - 0.5,
            "high": middle + 0.5,
        }
    )  # fmt: skip


def test_a_traversal_draws_the_curves_of_the_genes_that_move_most() -> None:
    record = a_traversal()

    curves, effects = pl.traversal(record, n_genes=2)

    drawn = {line.get_label(): line.get_ydata() for line in curves.get_lines()}
    np.testing.assert_array_equal(drawn["g2"], record.expression[:, 2])
    assert [label.get_text() for label in effects.get_yticklabels()] == ["g2", "g1"]
    assert "all cells" in curves.get_title(loc="left")


def test_gene_sets_get_a_panel_of_their_own() -> None:
    scores = pd.DataFrame({"interferon": np.arange(5.0)})

    panels = pl.traversal(a_traversal(scores=scores))

    np.testing.assert_array_equal(panels[2].get_lines()[0].get_ydata(), np.arange(5.0))


def test_a_circle_says_where_each_gene_is_highest() -> None:
    _, effects = pl.traversal(a_traversal("circle"))

    assert effects.get_yticklabels()[0].get_text() == "g2 (-3 → +3)"


def test_a_forest_names_the_genes_that_surely_change_in_any_group() -> None:
    ax = pl.counterfactual(a_counterfactual(statistics()), n_genes=2)

    assert [label.get_text() for label in ax.get_yticklabels()] == ["g2", "g0"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["B (n = 20)", "T (n = 20)"]
    assert ax.get_title(loc="left") == "condition → stim (40 cells)"


def test_where_no_gene_surely_changes_the_largest_for_their_intervals_are_named() -> None:
    unsure = statistics()
    unsure["low"], unsure["high"] = unsure["log2_fold_change"] - 5, unsure["log2_fold_change"] + 5

    ax = pl.counterfactual(a_counterfactual(unsure), n_genes=2)

    assert [label.get_text() for label in ax.get_yticklabels()] == ["g2", "g0"]
    unsure.loc[unsure["gene"] == "g1", ["low", "high"]] = [-0.01, 0.11]
    ax = pl.counterfactual(a_counterfactual(unsure), n_genes=2)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["g1", "g2"]


def test_one_group_may_be_named_by_itself() -> None:
    named = statistics().replace({"group": {"T": "T cells"}})

    ax = pl.counterfactual(a_counterfactual(named), groups="T cells")

    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["T cells (n = 20)"]


def test_no_group_and_no_gene_are_refused() -> None:
    with pytest.raises(ValueError, match="groups is empty"):
        pl.counterfactual(a_counterfactual(statistics()), groups=[])
    for n_genes in (0, -1, 2.5):
        with pytest.raises(ValueError, match="from 1 up"):
            pl.counterfactual(a_counterfactual(), n_genes=n_genes)
        with pytest.raises(ValueError, match="from 1 up"):
            pl.traversal(a_traversal(), n_genes=n_genes)


def test_eighty_names_stand_beside_the_axes_none_on_another() -> None:
    rng = np.random.default_rng(0)
    before = rng.gamma(2.0, 5.0, size=(40, 80))
    cells = AnnData(before * rng.gamma(4.0, 0.25, size=80), layers={"factual": before})

    ax = pl.counterfactual(a_counterfactual(cells=cells), n_genes=80)
    ax.figure.canvas.draw()

    heights = sorted(text.xyann[1] for text in ax.texts)
    assert len(heights) == 80
    assert heights[0] >= 0
    assert heights[-1] <= 1
    points = ax.texts[0].get_fontsize() / 72 * ax.figure.dpi
    assert min(np.diff(heights)) * ax.bbox.height >= points


def test_values_below_zero_are_compared_as_they_are() -> None:
    cells = matrices()
    cells.X, cells.layers["factual"] = cells.X - 20, cells.layers["factual"] - 20

    ax = pl.counterfactual(a_counterfactual(cells=cells), n_genes=1)

    points = ax.get_lines()[1]
    np.testing.assert_allclose(points.get_xdata(), cells.layers["factual"].mean(0))
    assert ax.get_xlabel() == "as the cells are: mean expected value"
    assert ax.get_xlim()[0] < min(points.get_xdata())


def test_a_traversal_says_what_its_steps_and_its_values_are() -> None:
    free, effects = pl.traversal(a_traversal())
    assert free.get_xlabel() == "free_4 (prior standard deviations)"
    assert free.get_ylabel() == "expected counts per 10,000"
    assert "log2" in effects.get_xlabel()

    factor, effects = pl.traversal(a_traversal(is_factor=True, is_counts=False))
    assert factor.get_xlabel() == "free_4"
    assert factor.get_ylabel() == "expected value"
    assert effects.get_xlabel().startswith("change of the expected value")


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(ValueError, match="no group 'NK'"):
        pl.counterfactual(a_counterfactual(statistics()), groups=["NK"])


def test_gene_means_lie_before_against_after_and_the_changed_one_is_named() -> None:
    ax = pl.counterfactual(a_counterfactual(), n_genes=1)

    points = ax.get_lines()[1]
    np.testing.assert_allclose(points.get_xdata(), _log_means(matrices().layers["factual"]))
    np.testing.assert_allclose(points.get_ydata(), _log_means(matrices().X))
    assert "g2" in [text.get_text() for text in ax.texts]


def test_without_the_reconstruction_there_is_nothing_to_compare() -> None:
    alone = matrices()
    del alone.layers["factual"]

    with pytest.raises(ValueError, match="nothing to compare"):
        pl.counterfactual(a_counterfactual(cells=alone))


def a_correction() -> Correction:
    return Correction(
        "batch", "covariate", "the average of 2 levels", np.zeros((40, 2)), ("a", "b"), (), None,
        (0.4, 0.1), (), matrices(),
    )  # fmt: skip


def test_a_correction_shows_the_same_cells_before_and_after_on_the_same_scale() -> None:
    before, after = pl.correction(a_correction())

    assert before.get_xlim() == after.get_xlim()
    assert "before" in before.get_title(loc="left")
    assert "average of 2 levels" in after.get_title(loc="left")


def test_a_second_colour_gets_two_more_panels_and_an_unknown_one_is_refused() -> None:
    assert len(pl.correction(a_correction(), color="cell_type")) == 4

    with pytest.raises(KeyError, match="no column of obs"):
        pl.correction(a_correction(), color="donor")


def _log_means(matrix: np.ndarray) -> np.ndarray:
    return np.log1p((1e4 * matrix / matrix.sum(1, keepdims=True)).mean(0))
