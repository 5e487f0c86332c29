"""What of a loss is kept for the history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from scvi import REGISTRY_KEYS
from scvi.module._constants import MODULE_KEYS
from scvi.module.base import LossOutput
from torch import Tensor

from betascvi.objectives import LossTerms, Step

if TYPE_CHECKING:
    from betascvi.module._vae import BetaVAEModule

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


def _is_one(pace: float | Tensor) -> bool:
    return isinstance(pace, float) and pace == 1.0


def loss_output(
    module: BetaVAEModule, terms: LossTerms, step: Step, kl: Tensor, tensors: dict[str, Any]
) -> LossOutput:
    """scvi-tools' record of a loss; ``kl`` is the raw one."""
    extra = history_entries(terms)
    if module.extra_payload_autotune:
        extra |= {
            "z": step.z,
            "batch": tensors[REGISTRY_KEYS.BATCH_KEY],
            "labels": tensors[REGISTRY_KEYS.LABELS_KEY],
        }
    return LossOutput(
        loss=terms.total() if _is_one(terms.pace) else terms.pace * terms.total(),
        reconstruction_loss=step.reconstruction.detach(),  # for the record alone
        kl_local={MODULE_KEYS.KL_Z_KEY: kl.detach()},
        extra_metrics=extra,
    )
