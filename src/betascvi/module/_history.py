"""What of a loss is kept for the history."""

from __future__ import annotations

import torch
from torch import Tensor

from betascvi.objectives import LossTerms

REPORT_SUFFIX = "_report"
"""Marks what an objective reports beside its terms, on the way to the history."""


def history_entries(terms: LossTerms) -> dict[str, Tensor]:
    """Raw penalties, their weights and further reports, as scalars by name."""
    entries: dict[str, Tensor] = {}
    for name, term in terms.penalties.items():
        entries[name] = term.value.detach().mean()
        entries[f"{name}_weight"] = torch.as_tensor(term.weight).detach().float()
    for name, value in terms.reports.items():
        entries[f"{name}{REPORT_SUFFIX}"] = value.detach().float()
    return entries
