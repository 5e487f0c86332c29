"""Which factors may be anchored, and where their anchors stand."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from betascvi import Anchor
from betascvi._errors import FactorError, NotIdentifiableError, UnknownFactorError
from betascvi.factors import (
    CodedFactor,
    as_anchors,
    overlap_weights,
    parents_of_levels,
    plan_blocks,
    refuse_unidentifiable,
)
from betascvi.factors._anchor_positions import GAP, level_positions


def levels(name: str, codes: Any, n: int | None = None) -> CodedFactor:
    codes = np.asarray(codes)
    n = n or int(codes.max()) + 1
    return CodedFactor(name, "categorical", codes, tuple(f"{name}{i}" for i in range(n)))


@pytest.mark.parametrize("n_levels", range(2, 10))
def test_anchors_of_up_to_nine_levels_are_a_centred_regular_simplex(n_levels: int) -> None:
    points = level_positions(n_levels, "f")

    assert points.shape == (n_levels, n_levels - 1)
    np.testing.assert_allclose(pdist(points), GAP)
    np.testing.assert_allclose(points.mean(0), 0.0, atol=1e-12)


def test_more_levels_share_eight_axes_with_a_warning_and_keep_the_gap(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="betascvi"):
        points = level_positions(29, "pool")

    assert points.shape == (29, 8)
    assert pdist(points).min() == pytest.approx(GAP)
    assert "29 levels" in caplog.text


def test_anchors_are_the_same_in_every_run() -> None:
    np.testing.assert_array_equal(level_positions(12, "f"), level_positions(12, "f"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"variance": 0.3}, "4 standard"),
        ({"variance": 0.0}, "variance"),
        ({"within": "batch"}, "itself"),
        ({"label_noise": 1.0}, "label_noise"),
        ({"mmd": -1.0}, "mmd is from 0 up"),
        ({"swap": float("inf")}, "swap is from 0 up"),
    ],
)
def test_an_anchor_that_cannot_be_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(FactorError, match=said):
        Anchor("batch", **arguments)


def test_a_factor_anchored_twice_is_refused() -> None:
    with pytest.raises(FactorError, match="anchored twice"):
        as_anchors(["batch", Anchor("batch")])


def test_the_name_of_the_free_block_is_taken() -> None:
    with pytest.raises(FactorError, match="free"):
        as_anchors(["free"])


def test_an_anchor_that_is_not_registered_is_refused_by_name() -> None:
    with pytest.raises(UnknownFactorError, match="'donor' is not a registered factor"):
        plan_blocks([Anchor("donor")], [levels("batch", [0, 1])], {})


def test_blocks_stand_one_after_the_other() -> None:
    factors = [levels("a", [0, 1, 2]), levels("b", [0, 1, 0])]

    plans = plan_blocks([Anchor("b"), Anchor("a")], factors, {})

    assert [(p.name, p.axes) for p in plans] == [("b", slice(0, 1)), ("a", slice(1, 3))]


def test_children_are_told_apart_within_their_parent_only() -> None:
    child, parent = levels("donor", [0, 1, 2, 3, 4]), levels("batch", [0, 0, 1, 1, 1])
    known = parents_of_levels(child, parent)
    assert known == [0, 0, 1, 1, 1]

    (plan,) = plan_blocks([Anchor("donor", within="batch")], [child, parent],
                          {"donor": {"batch": known}})  # fmt: skip

    assert plan.atoms.shape == (5, 2)
    np.testing.assert_allclose(pdist(plan.atoms[:2]), GAP)
    np.testing.assert_allclose(pdist(plan.atoms[2:]), GAP)


def test_within_a_factor_that_is_no_parent_is_anchored_as_it_stands_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    child, other = levels("donor", [0, 1, 0, 1]), levels("batch", [0, 0, 1, 1])
    assert parents_of_levels(child, other) is None

    (plan,) = plan_blocks([Anchor("donor", within="batch")], [child, other], {})
    (plain,) = plan_blocks([Anchor("donor")], [child, other], {})

    assert "'donor' occurs in several levels of 'batch'" in caplog.text
    np.testing.assert_array_equal(plan.atoms, plain.atoms)
    assert plan.parent_column is None


def test_nothing_is_nested_in_a_number() -> None:
    child = levels("donor", [0, 1, 0, 1])
    age = CodedFactor("age", "continuous", np.arange(4.0), ())

    with pytest.raises(FactorError, match="no levels"):
        plan_blocks([Anchor("donor", within="age")], [child, age], {})


def test_confounded_factors_are_refused_by_name_unless_accepted() -> None:
    first, second = levels("condition", [0, 0, 1, 1, 2]), levels("batch", [0, 1, 2, 3, 2])

    with pytest.raises(NotIdentifiableError, match="condition and batch cannot be told apart"):
        refuse_unidentifiable(as_anchors(["condition", "batch"]), [first, second])
    refuse_unidentifiable([Anchor("condition", accept_confounding=True), Anchor("batch")],
                          [first, second])  # fmt: skip


def test_a_condition_seen_in_one_batch_that_holds_nothing_else_is_refused() -> None:
    condition, batch = levels("condition", [0, 0, 1]), levels("batch", [0, 1, 2])

    with pytest.raises(NotIdentifiableError, match="'condition1' is seen in batch 'batch2' only"):
        refuse_unidentifiable([Anchor("condition")], [condition, batch])


def test_a_hole_in_a_connected_table_is_never_refused() -> None:
    condition, batch = levels("condition", [0, 1, 0, 1, 0]), levels("batch", [0, 0, 1, 1, 2])

    refuse_unidentifiable(as_anchors(["condition", "batch"]), [condition, batch])


def test_a_nested_pair_asks_to_be_declared() -> None:
    donor, batch = levels("donor", [0, 1, 2, 3]), levels("batch", [0, 0, 1, 1])

    with pytest.raises(NotIdentifiableError, match="within='batch'"):
        refuse_unidentifiable(as_anchors(["donor", "batch"]), [donor, batch])
    refuse_unidentifiable([Anchor("donor", within="batch"), Anchor("batch")], [donor, batch])


def test_a_parent_of_several_unanchored_children_is_no_problem() -> None:
    donor, batch = levels("donor", [0, 1, 2, 3]), levels("batch", [0, 0, 1, 1])

    refuse_unidentifiable([Anchor("batch")], [donor, batch])


def test_a_number_that_is_a_property_of_a_level_is_no_problem() -> None:
    donor = levels("donor", [0, 0, 1, 1, 2, 2])
    age = CodedFactor("age", "continuous", np.array([30.0, 30.0, 41.0, 41.0, 50.0, 50.0]))

    refuse_unidentifiable([Anchor("donor")], [donor, age])


def test_overlap_weights_turn_the_joint_into_the_product_of_marginals() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(2, size=4000)
    b = np.where(rng.random(4000) < 0.7, a, 1 - a)

    weights = overlap_weights([levels("a", a), levels("b", b)])

    w = weights.table[a, b]
    joint = np.array([[w[(a == i) & (b == j)].sum() for j in range(2)] for i in range(2)])
    joint /= joint.sum()
    np.testing.assert_allclose(joint, np.outer(joint.sum(1), joint.sum(0)), atol=1e-9)


def test_overlap_weights_leave_out_what_decides_another_factor() -> None:
    donor, batch = levels("donor", [0, 1, 2, 3]), levels("batch", [0, 0, 1, 1])

    assert overlap_weights([donor, batch]).columns == ()
