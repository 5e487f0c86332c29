"""scvi-tools' layers, run without the copies they make where there are no covariates."""

from __future__ import annotations

from scvi.nn import FCLayers
from torch import Tensor


def run_layers(layers: FCLayers, x: Tensor, *covariates: Tensor) -> Tensor:
    """What ``layers(x, *covariates)`` gives.

    scvi-tools joins input and covariates at each layer, which copies the whole minibatch also
    where there is no covariate to join; at 2,000 genes that is as long as a matrix product.
    """
    if layers.n_cov or x.dim() != 2:
        return layers(x, *covariates)
    for block in layers.fc_layers:
        for layer in block:
            x = x if layer is None else layer(x)
    return x
