"""scvi-tools' layers, run without the copies they make where there are no covariates."""

from __future__ import annotations

import torch
from scvi.nn import FCLayers
from torch import Tensor
from torch.nn import functional

from betascvi.module._hidden_block import recognised, run_block


def run_layers(
    layers: FCLayers, x: Tensor, *covariates: Tensor, draws_as_torch: bool = True
) -> Tensor:
    """What ``layers(x, *covariates)`` gives.

    scvi-tools joins input and covariates at each layer, which copies the whole minibatch also
    where there is no covariate to join; at 2,000 genes that is as long as a matrix product.
    Without ``draws_as_torch`` dropout may take its mask from fewer random bits than torch does.
    """
    if x.dim() != 2 or len(layers.n_cat_list) > len(covariates):
        return layers(x, *covariates)
    beside = [
        code if code.shape[1] == n else functional.one_hot(code.squeeze(-1), n)
        for n, code in zip(layers.n_cat_list, covariates, strict=False)
        if n > 1
    ]
    for i, block in enumerate(layers.fc_layers):
        if beside and layers.inject_into_layer(i):
            x = torch.cat((x, *beside), dim=-1)
        usual = recognised(block, x, draws_as_torch)
        if usual is not None:
            x = run_block(usual, x)
            continue
        for layer in block:
            x = x if layer is None else layer(x)
    return x
