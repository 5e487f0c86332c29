import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

import betascvi as bs
from betascvi.factors import CodedFactor, overlap_of
from betascvi.pl._palette import PAPER
from betascvi.tl import Leak, Leakage, ScoreRow, ScoreTable
from betascvi.tl._leak import Reading


@pytest.fixture(autouse=True)
def _no_window():
    mpl.use("Agg")
    yield
    plt.close("all")


def _texts(ax):
    return [text.get_text() for text in ax.texts]


def _names(ticks):
    return [tick.get_text() for tick in ticks]


def _tiles(ax):
    return [p for p in ax.patches if isinstance(p, Rectangle) and p.get_fill()]


def _frames(ax):
    return [p for p in ax.patches if isinstance(p, Rectangle) and not p.get_fill()]


@pytest.fixture
def table():
    row = {"null_mean": 0.01, "p_value": 0.01, "ceiling": 0.9}
    return ScoreTable(
        "X_scVI",
        (
            ScoreRow("mig", "headline", "all", "", 0.4, **row),
            ScoreRow("mig", "headline", "donor", "", 0.3, **row | {"p_value": 0.6}),
            ScoreRow("mig", "headline", "donor", "batch", 0.2, null_mean=0.0, p_value=0.01),
            ScoreRow("dci", "completeness", "all", "", None, reason="one factor"),
        ),
    )


def test_scores_are_written_with_null_and_perfect_code(table):
    ax = bs.pl.scores(table)

    assert _texts(ax) == ["0.40", "0.01 → 0.90", "0.30", "0.01 → 0.90", "0.20", "0.00 → ?", "–"]


def test_scores_have_a_row_a_metric_and_a_column_a_factor(table):
    ax = bs.pl.scores(table)

    assert _names(ax.get_yticklabels()) == ["MIG", "DCI completeness"]
    assert _names(ax.get_xticklabels()) == ["all factors", "donor", "donor in\nbatch"]


def test_score_that_chance_explains_is_pale(table):
    faces = [tile.get_facecolor() for tile in _tiles(bs.pl.scores(table))]

    assert [face == to_rgba(PAPER) for face in faces] == [False, True, False, True]


def test_scores_read_back_from_a_file_are_drawn_alike(table, tmp_path):
    table.to_frame().to_csv(tmp_path / "scores.csv", index=False)

    ax = bs.pl.scores(pd.read_csv(tmp_path / "scores.csv"))

    assert _texts(ax) == _texts(bs.pl.scores(table))


def test_axes_given_are_the_axes_drawn_into(table):
    _, ax = plt.subplots()

    assert bs.pl.scores(table, ax=ax) is ax


@pytest.fixture
def leaks():
    def leak(block, factor, value, low, reason=""):
        reading = None if reason else Reading(value, low, value + 0.1, 0.05, 0, 0, "all", "trees")
        implied = 0.3 if (block, factor) == ("condition", "batch") else None
        return Leak(
            block, factor, "categorical", block == factor, 2, 90, 0, reading, implied, reason
        )

    return Leakage(
        "X",
        (
            leak("condition", "condition", 0.95, 0.9),
            leak("condition", "batch", 0.4, 0.35),
            leak("free", "condition", -0.01, -0.05),
            leak("free", "batch", 0, 0, "too few"),
        ),
    )


def test_leaks_are_written_with_their_interval_and_what_was_to_be_expected(leaks):
    texts = _texts(bs.pl.leakage(leaks))

    assert texts[:4] == ["0.95", "0.90 to 1.00", "0.40", "0.35 to 0.50\nexpected 0.30"]
    assert texts[4:] == ["−0.01", "−0.05 to 0.09", "–"]


def test_own_factor_of_a_block_is_framed_and_no_other(leaks):
    (frame,) = _frames(bs.pl.leakage(leaks))

    assert (frame.get_x() + frame.get_width() / 2) == pytest.approx(0)
    assert (frame.get_y() + frame.get_height() / 2) == pytest.approx(0)


def test_blocks_are_named_with_their_number_of_axes(leaks):
    assert _names(bs.pl.leakage(leaks).get_yticklabels()) == ["condition (2)", "free (2)"]


def test_larger_leak_is_darker(leaks):
    frame = leaks.to_frame().assign(is_own=False, leak=[0.2, 0.5, 0.9, 0.7], low=0.1)

    shade = [sum(tile.get_facecolor()[:3]) for tile in _tiles(bs.pl.leakage(frame))]

    assert np.argsort(shade).tolist() == [2, 3, 1, 0]


@pytest.fixture
def nested():
    donor = np.arange(24) % 4
    other = np.arange(24) // 12
    return overlap_of(
        [
            CodedFactor("donor", "categorical", donor, tuple("abcd")),
            CodedFactor("batch", "categorical", donor // 2, tuple("xy")),
            CodedFactor("sex", "categorical", other, tuple("fm")),
        ]
    )


def test_overlap_shows_what_the_column_explains_of_the_row(nested):
    texts = _texts(bs.pl.overlap(nested))

    assert texts[:2] == ["0.50", "in batch"]
    assert texts[4:6] == ["1.00", "holds donor"]


def test_pairs_that_cannot_be_told_apart_are_framed(nested):
    centres = {
        (round(f.get_y() + f.get_height() / 2), round(f.get_x() + f.get_width() / 2))
        for f in _frames(bs.pl.overlap(nested))
    }

    assert centres == {(0, 1), (1, 0)}


def test_last_column_holds_the_ceilings(nested):
    ax = bs.pl.overlap(nested)

    assert _names(ax.get_xticklabels())[-1] == "ceiling"
    assert [t.get_text() for t in ax.texts if t.get_position()[0] == 3] == ["0.50", "0.00", "1.00"]
