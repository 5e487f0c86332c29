"""scvi-tools' layers, run without the copies they make where there are no covariates."""

from __future__ import annotations

import torch
from scvi.nn import FCLayers
from torch import Tensor
from torch.nn import functional

from betascvi.likelihoods import SparseRows
from betascvi.module._first_product import linear_of_non_zeros, multiplies_non_zeros
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
    beside = [
        code if code.shape[1] == n else functional.one_hot(code.squeeze(-1), n)
        for n, code in zip(layers.n_cat_list, covariates, strict=False)
        if n > 1
    ]
    first = layers.fc_layers[0]
    blocks = list(layers.fc_layers)
    if isinstance(x, SparseRows) and not beside and multiplies_non_zeros(first[0], x):
        blocks[0] = first[1:]
        hidden = linear_of_non_zeros(first[0], x)
    else:
        hidden = x.dense() if isinstance(x, SparseRows) else x
    for i, block in enumerate(blocks):
        if beside and layers.inject_into_layer(i):
            hidden = torch.cat((hidden, *beside), dim=-1)
        usual = recognised(block, hidden, draws_as_torch)
        if usual is not None:
            hidden = run_block(usual, hidden)
            continue
        for layer in block:
            hidden = hidden if layer is None else layer(hidden)
    return hidden
