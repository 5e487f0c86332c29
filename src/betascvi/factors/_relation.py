"""How two factors stand to each other, in one word and in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from betascvi.factors._contingency import (
    chance_information,
    connected_parts,
    decides,
    mutual_information,
    occupied,
)
from betascvi.factors._factor import CodedFactor

RelationKind = Literal[
    "crossed", "holes", "nested", "same", "disconnected", "measured", "unlabelled"
]
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Relation:
    """How two factors stand to each other.

    ``crossed``: every combination was seen. ``holes``: some were not, but the levels hang
    together, so effects can be told apart where they add up. ``nested``: the parent's level
    follows from the child's. ``same``: each follows from the other. ``disconnected``: the
    graph of levels falls into parts. ``measured``: at least one is a number and neither
    decides the other. ``unlabelled``: no cell has both labels.
    """

    kind: RelationKind
    words: str
    n_parts: int = 1
    child: str | None = None
    parent: str | None = None

    @property
    def is_identifiable(self) -> bool:
        """False where no model can tell the two effects apart without being told more."""
        return self.kind in ("crossed", "holes", "measured")


def relate(first: CodedFactor, second: CodedFactor, table: np.ndarray) -> Relation:
    """Name the relation of two factors from their codes and their contingency table."""
    both = first.known & second.known
    if not both.any():
        words = f"{first.name} and {second.name}: no cell has both labels, nothing can be said."
        return Relation("unlabelled", words, n_parts=0)
    n_first, n_second = _n_values(first, both), _n_values(second, both)
    if min(n_first, n_second) < 2:
        constant = first.name if n_first < 2 else second.name
        words = (
            f"{first.name} and {second.name}: {constant} does not vary over the cells "
            "that have both labels, nothing can be said."
        )
        return Relation("unlabelled", words)
    down, up = _decides(first, second, both, table), _decides(second, first, both, table.T)
    if down and up:
        words = (
            f"{first.name} and {second.name} are the same split of the cells "
            f"({n_first} values each): keep one of them."
        )
        return Relation("same", words, n_parts=n_first, child=first.name, parent=second.name)
    if down or up:
        child, parent = (first, second) if down else (second, first)
        return _nested(child.name, parent.name, min(n_first, n_second))
    if first.kind == second.kind == "categorical":
        return _crossing(first, second, table)
    return _measured(first, second, both, table)


def _nested(child: str, parent: str, n_parts: int) -> Relation:
    words = (
        f"{child} is nested in {parent}: the {child} of a cell decides its {parent}, so what "
        f"differs between the levels of {parent} may be owed to the {child}s in them; "
        f"read {child} within {parent}."
    )
    return Relation("nested", words, n_parts=n_parts, child=child, parent=parent)


def _crossing(first: CodedFactor, second: CodedFactor, table: np.ndarray) -> Relation:
    rows, columns = connected_parts(table)
    n_parts = int(rows.max()) + 1
    if n_parts > 1:
        split = "; ".join(
            f"{_named(first, rows == part)} only with {_named(second, columns == part)}"
            for part in range(min(n_parts, _SHOWN))
        )
        words = (
            f"{first.name} and {second.name} cannot be told apart: {split}"
            f"{'; ...' if n_parts > _SHOWN else ''}; no level links these {n_parts} groups."
        )
        return Relation("disconnected", words, n_parts=n_parts)
    seen = occupied(table) > 0
    if seen.all():
        return Relation("crossed", f"{first.name} and {second.name}: every combination was seen.")
    words = (
        f"{first.name} and {second.name}: {int((~seen).sum())} of {seen.size} combinations were "
        "not seen, but the levels hang together"
    )
    single = [*_seen_once(first, second, table), *_seen_once(second, first, table.T)]
    return Relation("holes", "; ".join([words, *single]) + ".")


def _measured(
    first: CodedFactor, second: CodedFactor, both: np.ndarray, table: np.ndarray
) -> Relation:
    levels, number = (first, second) if first.kind == "categorical" else (second, first)
    parts = 1
    if levels.kind == "categorical" and number.kind == "continuous":
        parts = _n_range_groups(levels.values[both], number.values[both])
    if parts > 1:
        words = (
            f"{levels.name} and {number.name} cannot be told apart: the ranges of {number.name} "
            f"fall into {parts} groups of {levels.name} levels that do not overlap."
        )
        return Relation("disconnected", words, n_parts=parts)
    information, chance = mutual_information(table), chance_information(table)
    words = (
        f"{first.name} and {second.name}: not a table of levels; they share {information:.2f} nats "
        f"(independent factors would show {chance:.2f})."
    )
    return Relation("measured", words)


def _n_values(factor: CodedFactor, rows: np.ndarray) -> int:
    return len(np.unique(factor.values[rows]))


def _decides(child: CodedFactor, parent: CodedFactor, both: np.ndarray, table: np.ndarray) -> bool:
    """Whether the child's value leaves one value of the parent possible."""
    if child.kind == parent.kind == "categorical":
        return decides(table)
    values, index = np.unique(child.values[both], return_inverse=True)
    if len(values) > index.size / 2:
        return False  # nearly every cell has a value of its own, which decides anything
    target = parent.values[both].astype(float)
    low, high = np.full(len(values), np.inf), np.full(len(values), -np.inf)
    np.minimum.at(low, index, target)
    np.maximum.at(high, index, target)
    return bool(np.all(low == high))


def _n_range_groups(codes: np.ndarray, values: np.ndarray) -> int:
    """Groups of levels whose ranges of values overlap."""
    ranges = sorted((values[codes == c].min(), values[codes == c].max()) for c in np.unique(codes))
    n_groups, reach = 1, ranges[0][1]
    for low, high in ranges[1:]:
        n_groups += int(low > reach)
        reach = max(reach, high)
    return n_groups


def _seen_once(rows: CodedFactor, columns: CodedFactor, table: np.ndarray) -> list[str]:
    seen = table > 0
    once = seen.sum(1) == 1
    if not once.any():
        return []
    if once.sum() == 1:
        only = columns.levels[int(np.flatnonzero(seen[once][0])[0])]
        return [f"{_named(rows, once)} is seen in one {columns.name} only ({only!r})"]
    return [f"{int(once.sum())} levels are seen in one {columns.name} only ({_named(rows, once)})"]


def _named(factor: CodedFactor, chosen: np.ndarray) -> str:
    levels = [repr(factor.levels[i]) for i in np.flatnonzero(chosen)]
    more = f" and {len(levels) - _SHOWN} more" if len(levels) > _SHOWN else ""
    return f"{factor.name} {', '.join(levels[:_SHOWN])}{more}"
