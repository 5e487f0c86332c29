"""A weighted sum of means as one node of the autograd graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def weighted_means(weights: tuple[float, ...], values: tuple[Tensor, ...]) -> Tensor:
    """Sum of ``weight * value.mean()``: (...,) values of any shape, a scalar."""
    total: Tensor = _WeightedMeans.apply(weights, *values)  # type: ignore[no-untyped-call]
    return total


class _WeightedMeans(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: tuple[float, ...], *values: Tensor) -> Tensor:
        ctx.of_each = [
            (w, value.shape, value.dtype) for w, value in zip(weights, values, strict=True)
        ]
        total = values[0].new_zeros(())
        for weight, value in zip(weights, values, strict=True):
            total = total.add(value.mean(), alpha=weight)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(
            (gradient * (weight / max(shape.numel(), 1))).to(dtype).expand(shape)
            for weight, shape, dtype in ctx.of_each
        )
