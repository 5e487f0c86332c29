"""One minibatch of the usual model, forward and back, without a graph of the operators.

What a graph costs is upkeep: some two hundred operators, nodes and looks at settings a minibatch,
as long as the products themselves at 128 cells. The parts are those that the graph's nodes run
(:mod:`._hidden_block`, :mod:`._posterior`, the compiled likelihood), so the numbers are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from scvi import REGISTRY_KEYS
from scvi.nn import FCLayers
from torch import Tensor, nn

from betascvi.likelihoods import SparseRows
from betascvi.likelihoods._compiled import are_in_reach, mean_cost_and_slopes
from betascvi.module import _hidden_block, _posterior
from betascvi.module._decoders import JointDecoder
from betascvi.module._first_product import is_watched, skips_zeros
from betascvi.module._hidden_block import Block, usual_block
from betascvi.module._layers import one_hots
from betascvi.module._likelihood import NegativeBinomialLikelihood
from betascvi.module._vae import BetaVAEModule
from betascvi.objectives import BetaVAE
from betascvi.objectives._gaussian_kl import standard_kl
from betascvi.schedules import Weight, weight_at

_HOOKS_OF_PARAMETERS = ("_backward_hooks", "_post_accumulate_grad_hooks")


class MinibatchFigures(NamedTuple):
    """What the history shows of one minibatch."""

    n_cells: int
    reconstruction_sum: float
    kl_sum: float
    loss: float
    kl_weight: float


@dataclass(frozen=True, eq=False)
class DirectPass:
    """The layers of a module that is nothing but the usual ones; ask :func:`direct_pass`."""

    module: BetaVAEModule
    encoder: tuple[Block, ...]
    decoder: tuple[Block, ...]
    layers: FCLayers
    """The decoder's blocks again, as scvi-tools holds them."""
    output: nn.Linear
    beta: Weight

    def gradients(self, minibatch: dict[str, Any], progress: float) -> MinibatchFigures | None:
        """Give every parameter its gradient; None, and nothing done, where a graph is needed."""
        rows = minibatch[REGISTRY_KEYS.X_KEY]
        if not isinstance(rows, SparseRows) or rows.shape[0] < 2:
            return None
        log_library, dispersion = rows.totals.log()[:, None], self.module.px_r.detach()
        if not are_in_reach(log_library, dispersion):
            return None
        weight = weight_at(self.beta, progress)
        with torch.no_grad():
            encoded = self._encode(rows)
            sample = self._sample(encoded[-1].out)
            decoded = self._decode(sample.z, minibatch)
            hidden = decoded[-1].out
            logits = torch.addmm(self.output.bias, hidden, self.output.weight.t())
            nll, by_logits, by_dispersion = mean_cost_and_slopes(
                rows, logits, log_library, dispersion
            )
            kl, by_loc, by_scale = standard_kl(sample.loc, sample.scale, weight)
            _give(self.module.px_r, by_dispersion)
            _give(self.output.weight, by_logits.t() @ hidden)
            _give(self.output.bias, by_logits.sum(0))
            by_z = self._back_to_latent(decoded, by_logits @ self.output.weight)
            by = _posterior.Slopes(by_loc, by_scale, by_z)
            self._back_to_counts(encoded, sample, by)
        cost, n = float(nll.sum()), rows.shape[0]
        return MinibatchFigures(n, cost, kl, (cost + weight * kl) / n, weight)

    def _encode(self, rows: SparseRows) -> list[_hidden_block.Kept]:
        if self.module.log_variational:
            rows = rows.with_value(torch.log1p(rows.value))
        x: Tensor | SparseRows = rows
        if not skips_zeros(self.encoder[0].linear, rows):
            x = rows.dense()
        kept: list[_hidden_block.Kept] = []
        for block in self.encoder:
            kept.append(_hidden_block.forward(block, x))
            x = kept[-1].out
        return kept

    def _sample(self, hidden: Tensor) -> _posterior.Sample:
        encoder = self.module.z_encoder
        weight, bias, spread_weight, spread_bias = _posterior.parameters_of(encoder)
        least = float(encoder.var_eps)
        return _posterior.forward(hidden, weight, bias, spread_weight, spread_bias, least)

    def _decode(self, z: Tensor, minibatch: dict[str, Any]) -> list[_hidden_block.Kept]:
        x, categories = self.module._beside_covariates(
            z,
            minibatch[REGISTRY_KEYS.BATCH_KEY],
            minibatch.get(REGISTRY_KEYS.CONT_COVS_KEY),
            minibatch.get(REGISTRY_KEYS.CAT_COVS_KEY),
        )
        layers = self.layers
        beside = one_hots(layers, categories)
        kept: list[_hidden_block.Kept] = []
        for i, block in enumerate(self.decoder):
            if beside and layers.inject_into_layer(i):
                x = torch.cat((x, *beside), dim=-1)
            kept.append(_hidden_block.forward(block, x))
            x = kept[-1].out
        return kept

    def _back_to_latent(self, kept: list[_hidden_block.Kept], gradient: Tensor) -> Tensor:
        widths = [self.module.n_latent, *(block.linear.out_features for block in self.decoder)]
        for block, of_block, width in zip(
            reversed(self.decoder), reversed(kept), reversed(widths[:-1]), strict=True
        ):
            by_input = _back(block, of_block, gradient, by_input=True)
            assert by_input is not None
            # what stands beside, behind it, is covariates
            gradient = by_input[:, :width].contiguous()
        return gradient

    def _back_to_counts(
        self, kept: list[_hidden_block.Kept], sample: _posterior.Sample, by: _posterior.Slopes
    ) -> None:
        parameters = _posterior.parameters_of(self.module.z_encoder)
        gradient, *of_heads = _posterior.backward(
            kept[-1].out, parameters[0], parameters[2], sample, by
        )
        for parameter, own in zip(parameters, of_heads, strict=True):
            _give(parameter, own)
        for i, (block, of_block) in reversed([*enumerate(zip(self.encoder, kept, strict=True))]):
            by_input = _back(block, of_block, gradient, by_input=i > 0)
            gradient = gradient if by_input is None else by_input


def _back(
    block: Block, kept: _hidden_block.Kept, gradient: Tensor, *, by_input: bool
) -> Tensor | None:
    linear, norm, _ = block
    found = _hidden_block.backward(kept, gradient, linear.weight, norm.weight, by_input=by_input)
    parameters = linear.weight, linear.bias, norm.weight, norm.bias
    for parameter, own in zip(parameters, found[1:], strict=True):
        _give(parameter, own)
    return found.x


def _give(parameter: Tensor, gradient: Tensor) -> None:
    parameter.grad = gradient


def direct_pass(module: BetaVAEModule) -> DirectPass | None:
    """The module's direct pass, where the module and its objective are the usual ones."""
    decoder, objective = module.decoder, module.objective
    if type(module) is not BetaVAEModule or type(decoder) is not JointDecoder:
        return None
    if type(objective) is not BetaVAE or objective.free_bits or not module.training:
        return None
    if not _has_usual_settings(module, decoder) or _is_touched(module):
        return None
    encoder, hidden = (
        [block for block in map(usual_block, layers.fc_layers) if block is not None]
        for layers in (module.z_encoder.encoder, decoder.px_decoder)
    )
    output = decoder.px_scale_decoder[0]
    if type(output) is not nn.Linear or not _has_all(module, [*encoder, *hidden], output):
        return None
    layers = decoder.px_decoder
    return DirectPass(module, tuple(encoder), tuple(hidden), layers, output, objective.beta)


def _has_usual_settings(module: BetaVAEModule, decoder: JointDecoder) -> bool:
    """Whether the settings ask for nothing beyond what :class:`DirectPass` works out."""
    return (
        type(module.likelihood) is NegativeBinomialLikelihood
        and module.dispersion == "gene"
        and module.anchored is None
        and decoder.effects is None
        and decoder.px_r_decoder is None
        and not module.use_size_factor_key
        and not module.encode_covariates
        and not module.extra_payload_autotune
        and module.batch_representation == "one-hot"
        and _posterior.has_usual_heads(module.z_encoder)
    )


def _is_touched(module: nn.Module) -> bool:
    """Whether somebody watches or replaces a layer, freezes a parameter or sees its gradient."""
    if torch.nn.modules.module._has_any_global_hook():
        return True
    of_layers = any(
        is_watched(layer)
        # a method of this one object, in the place of its class's
        or any(callable(v) and callable(getattr(type(layer), k, None)) for k, v in vars(layer).items())
        for layer in module.modules()
    )  # fmt: skip
    return of_layers or any(
        not p.requires_grad or any(getattr(p, hooks, None) for hooks in _HOOKS_OF_PARAMETERS)
        for p in module.parameters()
    )


def _has_all(module: BetaVAEModule, blocks: list[Block], output: nn.Linear) -> bool:
    """Whether the pass gives each parameter its gradient, and each to one alone."""
    given = [module.px_r, output.weight, output.bias, *_posterior.parameters_of(module.z_encoder)]
    for linear, norm, _ in blocks:
        given += [linear.weight, linear.bias, norm.weight, norm.bias]
    return sorted(map(id, given)) == sorted(map(id, module.parameters()))
