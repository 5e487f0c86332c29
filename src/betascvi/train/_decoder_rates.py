"""What a decoder asks of a training: a learning rate of its own for gene profiles, and a start."""

from __future__ import annotations

from typing import Any

import torch
from scvi import REGISTRY_KEYS

from betascvi.module import AdditiveDecoder, BetaVAEModule, JointDecoder


def give_decoder_its_rate(optimizer: torch.optim.Optimizer, module: BetaVAEModule) -> None:
    """Gene programs learn at their own rate: at a network's they underfit."""
    if not isinstance(module.decoder, AdditiveDecoder | JointDecoder):
        return
    parameters, rate = module.decoder.own_rates()
    own = {id(p): p for p in parameters if p.requires_grad}  # a query's are frozen
    group = optimizer.param_groups[0]
    group["params"] = [p for p in group["params"] if id(p) not in own]
    if own:
        optimizer.add_param_group({**group, "params": list(own.values()), "lr": rate})


def start_from(batch: Any, module: BetaVAEModule) -> None:
    """Start at the mean profile of a first minibatch, where no AnnData has given a better one."""
    decoder = module.decoder
    if not isinstance(decoder, AdditiveDecoder) or not decoder.needs_start:
        return
    if not isinstance(batch, dict):  # chunks are cut from an AnnData
        return
    x = batch[REGISTRY_KEYS.X_KEY]
    x = x.to_dense() if x.layout != torch.strided else x
    size = float(len(x))
    if module.use_size_factor_key:
        size = float(batch[REGISTRY_KEYS.SIZE_FACTOR_KEY].sum())
    decoder.start_at(x.sum(0) / size)
