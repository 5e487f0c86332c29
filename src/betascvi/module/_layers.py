"""scvi-tools' layers, run without the copies they make where there are no covariates."""

from __future__ import annotations

import torch
from scvi.nn import FCLayers
from torch import Tensor, nn
from torch.nn import functional

from betascvi.likelihoods import SparseRows
from betascvi.module._first_product import product, skips_zeros
from betascvi.module._hidden_block import recognised, run_block


def run_layers(
    layers: FCLayers, x: Tensor | SparseRows, *covariates: Tensor, draws_as_torch: bool = True
) -> Tensor:
    """What ``layers(x, *covariates)`` gives; ``x`` may be the non-zeros of a matrix.

    scvi-tools joins input and covariates at each layer, which copies the whole minibatch also
    where there is no covariate to join; at 2,000 genes that is as long as a matrix product.
    Without ``draws_as_torch`` dropout may take its mask from fewer random bits than torch does.
    """
    if isinstance(x, Tensor) and (x.dim() != 2 or len(layers.n_cat_list) > len(covariates)):
        return layers(x, *covariates)
    beside = one_hots(layers, covariates)
    blocks = list(enumerate(layers.fc_layers))
    if isinstance(x, SparseRows):
        started = None if beside else _through_first(layers.fc_layers[0], x, draws_as_torch)
        if started is None:
            x = x.dense()
        else:
            x, blocks = started, blocks[1:]
    for i, block in blocks:
        if beside and layers.inject_into_layer(i):
            x = torch.cat((x, *beside), dim=-1)
        x = _through(block, x, draws_as_torch)
    return x


def one_hots(layers: FCLayers, covariates: tuple[Tensor, ...]) -> list[Tensor]:
    """Categorical covariates as scvi-tools' layers join them to their input."""
    return [
        code if code.shape[1] == n else functional.one_hot(code.squeeze(-1), n)
        for n, code in zip(layers.n_cat_list, covariates, strict=False)
        if n > 1
    ]


def _through(block: nn.Sequential, x: Tensor, draws_as_torch: bool) -> Tensor:
    usual = recognised(block, x, draws_as_torch)
    if usual is not None:
        return run_block(usual, x)
    for layer in block:
        x = x if layer is None else layer(x)
    return x


def _through_first(block: nn.Sequential, x: SparseRows, draws_as_torch: bool) -> Tensor | None:
    """The first block's output from the non-zeros; None where it has to be asked for the dense."""
    first, *rest = list(block)
    if not isinstance(first, nn.Linear) or not skips_zeros(first, x):
        return None
    usual = recognised(block, x, draws_as_torch)
    if usual is not None:
        return run_block(usual, x)
    if torch.is_grad_enabled():
        return None
    return _through(nn.Sequential(*rest), product(x, first.weight, first.bias), draws_as_torch)
