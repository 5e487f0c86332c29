"""Which anchors the design of the data cannot tell from another factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from betascvi._errors import NotIdentifiableError
from betascvi.factors._anchor import Anchor
from betascvi.factors._factor import CodedFactor
from betascvi.factors._overlap import Pair, overlap_of


def refuse_unidentifiable(anchors: Sequence[Anchor], factors: Sequence[CodedFactor]) -> None:
    """Refuse by name anchors whose effect no model can tell from that of another factor.

    Of two anchored factors: levels that fall into groups nothing links, two names for one split,
    and nesting that was not declared. Of an anchored and another registered one: the same, but for
    nesting only a level that has a single level of the other (a condition seen in one batch that
    holds nothing else). A combination that was not seen is no reason while the levels hang
    together. ``Anchor(..., accept_confounding=True)`` accepts.
    """
    anchored = {anchor.name: anchor for anchor in anchors}
    problems = []
    for first, second in combinations(factors, 2):
        asked = [anchored[f.name] for f in (first, second) if f.name in anchored]
        if asked and not any(anchor.accept_confounding for anchor in asked):
            pair = overlap_of([first, second]).pairs[0]
            problem = _problem(pair, asked, {f.name: f for f in (first, second)})
            problems += [problem] if problem else []
    if problems:
        raise NotIdentifiableError(
            " ".join(problems) + " Or accept that the effects cannot be told apart: "
            "bs.Anchor(name, accept_confounding=True)."
        )


def _problem(pair: Pair, asked: Sequence[Anchor], factors: Mapping[str, CodedFactor]) -> str | None:
    relation = pair.relation
    is_of_levels = all(f.kind == "categorical" for f in factors.values())
    # a number that is not anchored may be a property of a level, such as the age of a donor
    says_little = relation.kind == "unlabelled" or not is_of_levels
    if relation.is_identifiable or (says_little and len(asked) < 2):
        return None
    child, parent = relation.child, relation.parent
    if relation.kind != "nested" or child is None or parent is None:
        return pair.words
    declared = {anchor.name: anchor.within for anchor in asked}
    if child in declared:
        if declared[child] == parent:
            return None
        how = f"bs.Anchor({child!r}, within={parent!r})"
        return pair.words + (f" Declare it: {how}." if is_of_levels else "")
    return _seen_in_one(pair, factors[parent], factors[child])


def _seen_in_one(pair: Pair, parent: CodedFactor, child: CodedFactor) -> str | None:
    table = (pair.table if parent.name == pair.first else pair.table.T) > 0
    alone = table.sum(1) == 1
    if not alone.any():
        return None
    level = int(alone.argmax())
    only = child.levels[int(table[level].argmax())]
    return (
        f"{parent.name} and {child.name} cannot be told apart: {parent.name} "
        f"{parent.levels[level]!r} is seen in {child.name} {only!r} only, which holds nothing else."
    )
