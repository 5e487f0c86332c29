"""Value and gradient in one pass: the frame that every count likelihood fills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable

from betascvi.likelihoods._rate import NORMALISE, Normalise
from betascvi.likelihoods._rows import SparseRows


class Needs(NamedTuple):
    """Which gradients somebody will ask for."""

    logits: bool
    log_library: bool
    log_dispersion: bool
    dropout_logits: bool

    @property
    def rate(self) -> bool:
        """The logits and the library meet in the rate."""
        return self.logits or self.log_library


@dataclass(frozen=True)
class Parameters:
    """What a likelihood is evaluated at; all (cells, genes) but log_library and log_dispersion."""

    logits: torch.Tensor
    log_library: torch.Tensor  # (cells, 1)
    log_dispersion: torch.Tensor | None = None  # (genes,) or (cells, genes)
    dropout_logits: torch.Tensor | None = None


@dataclass
class Evaluation:
    """Negative log-likelihood per cell and its derivatives, element by element.

    Every derivative has the cells first; the one by a (genes,) dispersion is summed over the cells
    on the way back, when the weight of each cell is known.
    """

    nll: torch.Tensor
    by_logits: torch.Tensor | None = None
    by_log_library: torch.Tensor | None = None
    by_log_dispersion: torch.Tensor | None = None
    by_dropout_logits: torch.Tensor | None = None


Evaluate = Callable[[SparseRows, Parameters, Normalise, Needs], Evaluation]

_NAMES = tuple(field.name for field in fields(Parameters))


def fused(
    evaluate: Evaluate, rows: SparseRows, parameters: Parameters, normalise: Normalise
) -> torch.Tensor:
    """Apply ``evaluate`` as one node of the autograd graph; samples lead, then cells."""
    check(rows, parameters, normalise)
    *samples, n_cells, _ = parameters.logits.shape
    copies = torch.Size(samples).numel()
    tensors = [_flat(getattr(parameters, name), samples, n_cells) for name in _NAMES]
    many = rows.repeat(copies)
    nll: torch.Tensor = _Fused.apply(evaluate, many, normalise, torch.is_grad_enabled(), *tensors)
    return nll.reshape(*samples, n_cells)


def _flat(tensor: torch.Tensor | None, samples: list[int], n_cells: int) -> torch.Tensor | None:
    """One row per sample and cell; half precision is evaluated in single."""
    if tensor is None:
        return None
    if tensor.dtype not in (torch.float32, torch.float64):
        tensor = tensor.float()
    if tensor.ndim == 1 or not samples:
        return tensor
    width = tensor.shape[-1]
    return tensor.expand(*samples, n_cells, width).reshape(-1, width)


def check(rows: SparseRows, parameters: Parameters, normalise: Normalise) -> None:
    """Refuse shapes that do not belong together."""
    if normalise not in NORMALISE:
        raise ValueError(f"normalise must be one of {NORMALISE}; got {normalise!r}.")
    n_cells, n_genes = rows.shape
    logits = parameters.logits
    if tuple(logits.shape[-2:]) != rows.shape:
        raise ValueError(
            f"logits must end in (cells, genes) = {rows.shape}; got shape {tuple(logits.shape)}."
        )
    if tuple(parameters.log_library.shape[-2:]) != (n_cells, 1):
        raise ValueError(
            f"log_library must be (cells, 1) = {(n_cells, 1)}; "
            f"got shape {tuple(parameters.log_library.shape)}."
        )
    theta = parameters.log_dispersion
    if theta is not None and tuple(theta.shape[-2:]) not in {(n_genes,), rows.shape}:
        raise ValueError(
            f"log_dispersion must be (genes,) = ({n_genes},) or (cells, genes) = {rows.shape}; "
            f"got shape {tuple(theta.shape)}."
        )
    dropout = parameters.dropout_logits
    if dropout is not None and dropout.shape != logits.shape:
        raise ValueError(
            f"dropout_logits must have the shape of the logits, {tuple(logits.shape)}; "
            f"got {tuple(dropout.shape)}."
        )


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        evaluate: Evaluate,
        rows: SparseRows,
        normalise: Normalise,
        is_recording: bool,
        *tensors: torch.Tensor | None,
    ) -> torch.Tensor:
        needs = Needs(*(is_recording and needed for needed in ctx.needs_input_grad[4:]))
        outcome = evaluate(rows, Parameters(*tensors), normalise, needs)  # type: ignore[arg-type]  # zip
        ctx.ndims = [None if tensor is None else tensor.ndim for tensor in tensors]
        ctx.save_for_backward(
            *(
                getattr(outcome, f"by_{name}") if needed else None
                for name, needed in zip(_NAMES, needs, strict=True)
            )
        )
        return outcome.nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        gradients = [
            None if slope is None else weight @ slope if ndim == 1 else weight[:, None] * slope
            for slope, ndim in zip(ctx.saved_tensors, ctx.ndims, strict=True)
        ]
        return (None, None, None, None, *gradients)
