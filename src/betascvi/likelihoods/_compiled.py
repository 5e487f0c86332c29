"""The negative binomial under a softmax as one compiled pass over each row: CPU, single precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from betascvi.likelihoods._fused import Parameters
from betascvi.likelihoods._rows import SparseRows
from betascvi.likelihoods._softmax_rows import N_BLOCKS, evaluate_in_parallel, evaluate_serially
from betascvi.likelihoods._threads import runs_in_parallel

# Inside these, mu / theta and the products of the rising factorial stay normal numbers.
_LOG_THETA = (-30.0, 18.5)
_LOG_LIBRARY = (-30.0, 40.0)


def is_in_reach(at: Parameters) -> bool:
    """Whether the kernel serves: single precision on a CPU, one dispersion for each gene."""
    theta, logits, library = at.log_dispersion, at.logits, at.log_library
    if theta is None or not logits.numel() or library.requires_grad:
        return False
    return _is_served(logits) and are_in_reach(library, theta)


def are_in_reach(log_library: torch.Tensor, log_dispersion: torch.Tensor) -> bool:
    """The part of :func:`is_in_reach` that does not ask for logits."""
    if log_dispersion.ndim != 1 or not (_is_served(log_library) and _is_served(log_dispersion)):
        return False
    return _is_within(log_dispersion, _LOG_THETA) and _is_within(log_library, _LOG_LIBRARY)


def _is_served(tensor: torch.Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def _is_within(values: torch.Tensor, bounds: tuple[float, float]) -> bool:
    array = values.detach().numpy()
    return bool(array.min() > bounds[0] and array.max() < bounds[1])  # false for a NaN


def compiled_negative_binomial(
    rows: SparseRows, logits: torch.Tensor, log_library: torch.Tensor, log_dispersion: torch.Tensor
) -> torch.Tensor:
    """Negative log-likelihood per cell, (cells,), of (cells, genes) logits in reach."""
    nll: torch.Tensor = _Compiled.apply(
        rows, logits, log_library, log_dispersion, torch.is_grad_enabled()
    )
    return nll


def mean_cost_and_slopes(
    rows: SparseRows, logits: torch.Tensor, log_library: torch.Tensor, log_dispersion: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cost of each cell; slopes of their mean by logits and by log dispersion; not recorded."""
    usual = np.full(len(logits), 1.0 / len(logits), np.float32)
    return _evaluate(rows, logits, log_library, log_dispersion, usual)


class _Compiled(torch.autograd.Function):
    """Forward works out the gradients as well, as if the cells' mean were differentiated."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: SparseRows,
        logits: torch.Tensor,
        log_library: torch.Tensor,
        log_dispersion: torch.Tensor,
        is_recording: bool,
    ) -> torch.Tensor:
        nll, *slopes = mean_cost_and_slopes(rows, logits, log_library, log_dispersion)
        if is_recording:
            ctx.rows = rows
            ctx.slopes = slopes
            ctx.save_for_backward(logits, log_library, log_dispersion)
        return nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weights = weight.numpy()
        is_even = bool((weights == weights[0]).all())
        slopes, ctx.slopes = ctx.slopes, None  # they are overwritten: a second pass starts anew
        if slopes is None or not is_even:
            logits, library, theta = ctx.saved_tensors
            _, *slopes = _evaluate(ctx.rows, logits, library, theta, np.ascontiguousarray(weights))
            return None, slopes[0], None, slopes[1], None
        scale = float(weights[0] / np.float32(1.0 / len(weights)))
        if scale != 1.0:
            for slope in slopes:
                slope.mul_(scale)
        return None, slopes[0], None, slopes[1], None


def _evaluate(
    rows: SparseRows,
    logits: torch.Tensor,
    log_library: torch.Tensor,
    log_dispersion: torch.Tensor,
    weight: np.ndarray[Any, np.dtype[np.float32]],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Value; slopes, weighted, by logits and (summed over cells) by log theta."""
    n_cells, n_genes = rows.shape
    logits = logits.detach().contiguous()
    nll, slope = np.empty(n_cells), torch.empty_like(logits)
    by_theta = np.empty((N_BLOCKS, n_genes), np.float32)
    log_theta = log_dispersion.detach().numpy()
    evaluate = evaluate_in_parallel if runs_in_parallel() else evaluate_serially
    evaluate(
        logits.numpy(),
        np.exp(log_library.detach().double().numpy().ravel()),
        (np.exp(log_theta), np.exp(-log_theta)),
        weight,
        (rows.bounds.numpy(), rows.col.numpy(), rows.value.to(logits.dtype).numpy()),
        (nll, slope.numpy(), by_theta),
    )
    nll += rows.log_factorial.numpy()
    return torch.from_numpy(nll).float(), slope, torch.from_numpy(by_theta.sum(0))
