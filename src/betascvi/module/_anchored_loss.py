"""The loss of a latent with named blocks: the objective on the free one, and the blocks' terms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from scvi import REGISTRY_KEYS
from torch import Tensor

from betascvi import _keys
from betascvi.module._resample import resampler
from betascvi.module._swap import EVERY, swapped_posterior
from betascvi.objectives import LossTerms, Step, Term
from betascvi.objectives._estimators import axes_of
from betascvi.objectives._mmd import group_discrepancy, kernel_of

if TYPE_CHECKING:
    from betascvi.module._block_prior import BlockPrior
    from betascvi.module._blocks import Blocks
    from betascvi.module._vae import BetaVAEModule


def loss_terms(
    module: BetaVAEModule,
    step: Step,
    factors: Tensor,
    tensors: dict[str, Tensor],
    inference_outputs: dict[str, Any],
) -> LossTerms:
    r"""The objective's terms, and those of named blocks.

    .. math::
        \mathcal{L}_{\text{free}} + \sum_k \beta_k \mathrm{KL}(q_k \,\|\, p(z_k \mid c_k))
        + \eta_k H_k + \lambda_k \mathrm{MMD}^2_k + \text{swap}

    where the objective sees the free block alone, as a latent of its own, and the weights of the
    others are beside a reconstruction that weighs one.
    """
    blocks = module.anchored
    if blocks is None:
        return module.objective(step)
    terms = module.objective(_free_step(module, step, blocks, tensors, inference_outputs))
    penalties: dict[str, Term] = {}
    for prior in blocks.each:
        penalties[f"{prior.name}_kl"] = Term(step.kl[:, prior.axes].sum(-1), prior.anchor.beta)
        if prior.kind == "categorical" and prior.anchor.cross_entropy:
            value = prior.cross_entropy(axes_of(step.qz, prior.axes), factors)
            penalties[f"{prior.name}_cross_entropy"] = Term(value, prior.anchor.cross_entropy)
    penalties |= _discrepancies(blocks, step, factors)
    weight = max(prior.anchor.swap for prior in blocks.each)
    if weight and module.training:
        penalties["swap"] = _swap(module, step, factors, (tensors, inference_outputs), weight)
    beside = {name: Term(value, weight / terms.pace) for name, (value, weight) in penalties.items()}
    return replace(terms, penalties={**terms.penalties, **beside})


def _free_step(
    module: BetaVAEModule,
    step: Step,
    blocks: Blocks,
    tensors: dict[str, Tensor],
    inference_outputs: dict[str, Any],
) -> Step:
    free = blocks.free
    return replace(
        step,
        qz=axes_of(step.qz, free),
        pz=axes_of(step.pz, free),
        z=step.z[:, free],
        known_kl=step.kl[:, free],
        blocks={"free": slice(0, free.stop - free.start)},
        resample=resampler(module, tensors, inference_outputs, free),
    )


def _discrepancies(blocks: Blocks, step: Step, factors: Tensor) -> dict[str, Term]:
    """For each factor, how far the other blocks tell its levels apart."""
    asked = [prior for prior in blocks.each if prior.anchor.mmd]
    if not asked or len(factors) < 4:
        return {}
    mean = step.qz.loc
    weights = blocks.cell_weights(factors)
    kernels = {"free": kernel_of(mean[:, blocks.free])}
    groups = {prior.name: prior.groups(factors) for prior in blocks.each}
    if len(blocks) > 1:
        for prior in blocks.each:
            kernels[prior.name] = kernel_of(prior.offsets(mean[:, prior.axes], factors))
    found = {}
    for prior in asked:
        others = [name for name in kernels if name != prior.name]
        parts = [
            _discrepancy(prior, kernels[name], groups, name, (weights, factors)) for name in others
        ]
        found[f"{prior.name}_mmd"] = Term(torch.stack(parts).sum(), prior.anchor.mmd)
    return found


def _discrepancy(
    prior: BlockPrior,
    kernel: Tensor,
    groups: dict[str, Tensor],
    block: str,
    known: tuple[Tensor, Tensor],
) -> Tensor:
    weights, factors = known
    mine = groups[prior.name]
    if block != "free":  # an offset from an anchor needs the block's own label
        mine = torch.where(groups[block] >= 0, mine, -1)
    return group_discrepancy(kernel, mine, prior.n_groups, weights, prior.parents(factors))


def _swap(
    module: BetaVAEModule,
    step: Step,
    factors: Tensor,
    carried: tuple[dict[str, Tensor], dict[str, Any]],
    weight: float,
) -> Term:
    """Squared movement of the free means; nothing on the minibatches between two swaps."""
    module.n_since_swap = (module.n_since_swap + 1) % EVERY
    if module.n_since_swap or len(factors) < 2:
        return Term(torch.zeros((), device=step.z.device), weight / EVERY)
    free = module.anchored.free if module.anchored is not None else slice(None)
    moved = swapped_posterior(module, *carried, factors).loc[:, free] - step.qz.loc[:, free]
    return Term(EVERY * moved.square().sum(-1), weight / EVERY)


def coded_factors(tensors: dict[str, Tensor], blocks: Blocks | None) -> Tensor:
    """(cells, factors) codes of a minibatch; all missing where it carries none."""
    if _keys.FACTORS in tensors:
        return tensors[_keys.FACTORS]
    n_columns = 0 if blocks is None else blocks.n_columns
    batch = tensors[REGISTRY_KEYS.BATCH_KEY]
    return torch.full((len(batch), n_columns), torch.nan, device=batch.device)


def named_factors(factors: Tensor, blocks: Blocks | None) -> dict[str, Tensor]:
    """Codes of the anchored factors by name, for the objective."""
    return {} if blocks is None else {p.name: p.labels(factors) for p in blocks.each}
