"""Two factors counted against each other: tables, information, and the graph of their levels."""

from __future__ import annotations

import numpy as np


def contingency(
    first: np.ndarray, second: np.ndarray, n_levels: tuple[int, int] | None = None
) -> np.ndarray:
    """Cells counted by the codes of two factors.

    Parameters
    ----------
    first, second
        (cells,) whole-number codes; a negative code is a missing label.
    n_levels
        Rows and columns of the table; ``None`` makes it as large as the codes that occur.

    Returns
    -------
    (levels of first, levels of second) counts of the cells whose two labels are known.
    """
    known = (first >= 0) & (second >= 0)
    first, second = first[known].astype(np.int64), second[known].astype(np.int64)
    largest = (int(first.max(initial=-1)), int(second.max(initial=-1)))
    shape = n_levels or (largest[0] + 1, largest[1] + 1)
    flat = np.bincount(first * shape[1] + second, minlength=shape[0] * shape[1])
    return flat.reshape(shape)


def entropy(counts: np.ndarray) -> float:
    """Plug-in entropy of a table of counts, in nats: - sum_i p_i log p_i."""
    total = counts.sum()
    if total == 0:
        return 0.0
    share = counts[counts > 0] / total
    return float(max(0.0, -(share * np.log(share)).sum()))


def mutual_information(table: np.ndarray) -> float:
    """Plug-in mutual information of a contingency table, in nats; never below zero.

    It is biased upwards by about (rows - 1)(columns - 1) / (2 cells): see
    :func:`chance_information`.
    """
    information = entropy(table.sum(1)) + entropy(table.sum(0)) - entropy(table)
    return max(0.0, information)


def chance_information(table: np.ndarray) -> float:
    """What independent factors would score by chance: (r - 1)(c - 1) / (2 n) nats."""
    table = occupied(table)
    n_rows, n_columns = table.shape
    total = table.sum()
    return float((n_rows - 1) * (n_columns - 1) / (2 * total)) if total else 0.0


def cramers_v(table: np.ndarray) -> float:
    """Cramer's V = sqrt(chi2 / (n (min(r, c) - 1))): 0 independent, 1 one decides the other."""
    table = occupied(table)
    if min(table.shape) < 2:
        return 0.0
    total = table.sum()
    expected = table.sum(1, keepdims=True) * (table.sum(0, keepdims=True) / total)
    chi2 = ((table - expected) ** 2 / expected).sum()
    return float(np.sqrt(min(1.0, chi2 / (total * (min(table.shape) - 1)))))


def occupied(table: np.ndarray) -> np.ndarray:
    """The table without the levels that no cell has."""
    if table.size == 0:
        return table
    rows, columns = table.sum(1) > 0, table.sum(0) > 0
    return np.asarray(table[np.ix_(rows, columns)])


def connected_parts(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components of the graph that joins two levels when some cell has both.

    Returns
    -------
    Component of each row level and of each column level, numbered from 0; -1 for a level
    that no cell has.
    """
    seen = table > 0
    rows = np.where(seen.any(1), np.arange(table.shape[0]), -1)
    columns = np.full(table.shape[1], -1)
    for _ in range(table.shape[0] + 1):  # the smallest row number spreads one step a round
        spread = np.where(seen, rows[:, None], np.iinfo(np.int64).max)
        columns = np.where(seen.any(0), spread.min(0, initial=np.iinfo(np.int64).max), -1)
        back = np.where(seen, columns[None, :], np.iinfo(np.int64).max)
        joined = np.where(seen.any(1), back.min(1, initial=np.iinfo(np.int64).max), -1)
        if np.array_equal(joined, rows):
            break
        rows = joined
    order = {int(part): i for i, part in enumerate(np.unique(rows[rows >= 0]))}
    order[-1] = -1
    return (
        np.array([order[int(part)] for part in rows], dtype=int),
        np.array([order[int(part)] for part in columns], dtype=int),
    )


def decides(table: np.ndarray) -> bool:
    """True where the row level of a cell leaves one column level possible."""
    return bool(((table > 0).sum(1) <= 1).all())
