"""Columns of covariates' levels, when a query brings new levels along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from scvi.nn import FCLayers
from torch import Tensor, nn

from betascvi.module._covariate_shift import CovariateShift


@torch.no_grad()
def put_new_levels_in_place(module: nn.Module, n_before: Sequence[int]) -> None:
    """Move the columns of new levels behind those of their own covariate.

    A layer reads one-hot levels side by side: those of the batch, then those of each categorical
    covariate. Query mapping in scvi-tools adds the columns of new levels behind all others, so
    that with a new batch each level of the next covariate would be read by its neighbour's.

    Parameters
    ----------
    module
        With the reference's weights, padded.
    n_before
        Levels in the reference: of the batch, then of each covariate.
    """
    for weight, n_after in _weights_of_levels(module):
        before = n_before[len(n_before) - len(n_after) :]
        weight.copy_(_in_place(weight, before, n_after))


def _weights_of_levels(module: nn.Module) -> Iterator[tuple[Tensor, Sequence[int]]]:
    """Weights that read levels, with the columns that each covariate has; none of a single level."""
    for part in module.modules():
        if isinstance(part, FCLayers):
            for i, layer in enumerate(part.fc_layers):
                if part.inject_into_layer(i):
                    linear = cast("nn.Linear", cast("nn.Sequential", layer)[0])
                    yield linear.weight, part.n_cat_list
        elif isinstance(part, CovariateShift):
            yield cast("Tensor", part.fc_layers[0].weight), part.n_levels


def _in_place(weight: Tensor, n_before: Sequence[int], n_after: Sequence[int]) -> Tensor:
    had = [n if n > 1 else 0 for n in n_before]
    old = weight.shape[1] - sum(n_after)
    new = old + sum(had)
    order = list(range(old))
    alone = []
    for n_had, n_has in zip(had, n_after, strict=True):
        if n_has and not n_had:
            alone.append(len(order))
        order += [*range(old, old + n_had), *range(new, new + n_has - n_had)]
        old, new = old + n_had, new + n_has - n_had
    out = weight[:, order]
    out[:, alone] = 0.0  # a level that was the only one had no column: its cells stay as they were
    return out
