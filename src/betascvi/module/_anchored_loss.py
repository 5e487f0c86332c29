"""The loss of a latent with named blocks: the objective on the free one, and the blocks' terms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from scvi import REGISTRY_KEYS
from torch import Tensor

from betascvi import _keys
from betascvi.module._decoders import JointDecoder
from betascvi.module._look import EVERY
from betascvi.module._resample import resampler
from betascvi.module._swap import swap_movement
from betascvi.objectives import LossTerms, Step, Term
from betascvi.objectives._estimators import axes_of
from betascvi.objectives._mmd import group_discrepancy, kernel_of

if TYPE_CHECKING:
    from betascvi.module._blocks import Blocks
    from betascvi.module._vae import BetaVAEModule

_FEWEST_CELLS = 4


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
            weight = prior.anchor.cross_entropy * prior.emphasis(factors)
            penalties[f"{prior.name}_cross_entropy"] = Term(value, weight)
    cost = module.decoder.prior_cost() if isinstance(module.decoder, JointDecoder) else None
    if cost is not None and step.n_cells > 1:  # a cell left over is no data set to have a prior
        penalties["slopes"] = Term(cost, 1.0 / step.n_cells)
    penalties |= _between_blocks(module, step, factors, tensors, inference_outputs)
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


def _between_blocks(
    module: BetaVAEModule,
    step: Step,
    factors: Tensor,
    tensors: dict[str, Tensor],
    inference_outputs: dict[str, Any],
) -> dict[str, Term]:
    """MMD and swap; in training nothing on the minibatches between two looks."""
    blocks = module.anchored
    assert blocks is not None
    swap = max(prior.anchor.swap for prior in blocks.each)
    if not module.training:
        return _discrepancies(blocks, step.qz.loc, factors, 1)
    if not swap and not any(prior.anchor.mmd for prior in blocks.each):
        return {}
    look = module.recent.look(module, tensors, factors)
    if look is None:
        nothing = torch.zeros((), device=step.z.device)
        found = {f"{p.name}_mmd": Term(nothing, p.anchor.mmd) for p in blocks.each if p.anchor.mmd}
        return {**found, "swap": Term(nothing, swap)} if swap else found
    found = _discrepancies(blocks, look.mean, look.factors, EVERY)
    if swap and len(factors) > 1:
        moved = swap_movement(module, look, tensors, inference_outputs, factors)
        found["swap"] = Term(EVERY * moved, swap / EVERY)
    return found


def _discrepancies(blocks: Blocks, mean: Tensor, factors: Tensor, n_steps: int) -> dict[str, Term]:
    """For each factor, how far the free block tells its levels apart; it stands for so many steps."""
    asked = [prior for prior in blocks.each if prior.anchor.mmd]
    if not asked or len(factors) < _FEWEST_CELLS:
        return {}
    kernel = kernel_of(mean[:, blocks.free])
    weights = blocks.cell_weights(factors)
    found = {}
    for prior in asked:
        value = group_discrepancy(
            kernel, prior.groups(factors), prior.n_groups, weights, prior.parents(factors)
        )
        found[f"{prior.name}_mmd"] = Term(n_steps * value, prior.anchor.mmd)
    return found


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
