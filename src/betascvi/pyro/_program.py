"""A fitted model written a second time, in another language, to be checked and sampled from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from scvi import REGISTRY_KEYS
from scvi.module._constants import MODULE_KEYS
from torch import Tensor
from torch.nn import functional

from betascvi.model import BetaSCVI
from betascvi.model._minibatch import Tensors
from betascvi.module import DECODED_KEY, BetaVAEModule, Blocks, Decoded

Program = Callable[[Tensors], Any]


def program(model: BetaSCVI) -> tuple[Program, Program]:
    r"""The generative program of a fitted model and its guide, in Pyro.

    .. math::
        z_n \sim \mathcal{N}(0, I), \qquad
        x_{ng} \sim p(x_{ng} \mid \mathrm{decoder}(z_n, \text{covariates of } n));
        \qquad \text{guide: } z_n \sim \mathcal{N}(\mu(x_n), \sigma^2(x_n))

    Parameters
    ----------
    model
        A fitted model with any of the likelihoods.

    Returns
    -------
    ``(model, guide)``: functions of a minibatch as :func:`tensors_of` gives it. Sample sites are
    ``"z"`` (cells, axes) and the observed ``"x"`` (cells, genes), within the plate ``"cells"``.

    Notes
    -----
    Distributions are Pyro's own, so that ``Trace_ELBO`` is an independent check of the fused
    likelihoods. With named blocks the prior is that of cells without labels. The weights are those of the model as it stands, in evaluation mode, and are not
    put into Pyro's parameter store: the program is there to be evaluated and to be sampled from
    (NUTS over ``z``), not to be trained.

    Examples
    --------
    >>> from pyro.infer import Trace_ELBO
    >>> generative, guide = bs.pyro.program(model)
    >>> cells = bs.pyro.tensors_of(model, indices=range(100))
    >>> Trace_ELBO().loss(generative, guide, cells) / 100
    """
    model._check_if_trained(warn=False)
    module: BetaVAEModule = model.module
    module.eval()

    def generative(tensors: Tensors) -> Tensor:
        x = tensors[REGISTRY_KEYS.X_KEY]
        with pyro.plate("cells", x.shape[0]):
            z = pyro.sample("z", _prior(module, x))
            decoded = _decode(module, tensors, z)
            return pyro.sample("x", _observation(module, decoded).to_event(1), obs=x)

    def guide(tensors: Tensors) -> Tensor:
        qz = _encode(module, tensors)[MODULE_KEYS.QZ_KEY]
        with pyro.plate("cells", len(qz.loc)):
            return pyro.sample("z", dist.Normal(qz.loc, qz.scale).to_event(1))

    return generative, guide


def _prior(module: BetaVAEModule, x: Tensor) -> dist.TorchDistribution:
    if module.anchored is not None:
        return BlocksPrior(module.anchored, module.n_latent)
    return dist.Normal(x.new_zeros(module.n_latent), x.new_ones(module.n_latent)).to_event(1)


class BlocksPrior(dist.TorchDistribution):  # type: ignore[misc]  # pyro ships no types
    """Prior of cells whose labels nobody knows: mixtures of anchors, and the free axes' normal."""

    arg_constraints: Mapping[str, Any] = {}
    support = dist.constraints.real_vector

    def __init__(self, blocks: Blocks, n_latent: int, shape: torch.Size = torch.Size()) -> None:
        self.blocks, self.n_latent = blocks, n_latent
        super().__init__(shape, torch.Size([n_latent]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> BlocksPrior:
        """The same prior for so many cells."""
        return BlocksPrior(self.blocks, self.n_latent, torch.Size(batch_shape))

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        """Positions, (..., axes)."""
        shape = torch.Size(sample_shape) + self.batch_shape
        return self.blocks.sample(shape.numel()).view(*shape, self.n_latent)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density, (...)."""
        return self.blocks.log_density(value)


def _encode(module: BetaVAEModule, tensors: Tensors) -> dict[str, Any]:
    # scvi-tools' inference draws a z of its own; the guide draws the one that counts
    with torch.random.fork_rng(devices=_devices_of(tensors)):
        outputs: dict[str, Any] = module.inference(**module._get_inference_input(tensors))
    return outputs


def _decode(module: BetaVAEModule, tensors: Tensors, z: Tensor) -> Decoded:
    outputs = {**_encode(module, tensors), MODULE_KEYS.Z_KEY: z}
    inputs = module._get_generative_input(tensors, outputs)
    decoded: Decoded = module.generative(**inputs, as_distribution=False)[DECODED_KEY]
    return decoded


def _devices_of(tensors: Tensors) -> list[torch.device]:
    return list({value.device for value in tensors.values() if value.device.type == "cuda"})


def _observation(module: BetaVAEModule, decoded: Decoded) -> dist.TorchDistribution:
    if module.is_embedding:
        return dist.Normal(decoded.logits, decoded.dispersion.exp())
    return _OBSERVATIONS[module.gene_likelihood](_log_mean(decoded), decoded)


def _log_mean(decoded: Decoded) -> Tensor:
    if decoded.normalise == "softmax":
        return decoded.log_size + torch.log_softmax(decoded.logits, dim=-1)
    return decoded.log_size + functional.softplus(decoded.logits).log()


def _negative_binomial(log_mean: Tensor, decoded: Decoded) -> dist.TorchDistribution:
    logits = log_mean - decoded.dispersion
    return dist.NegativeBinomial(decoded.dispersion.exp(), logits=logits)


def _zero_inflated(log_mean: Tensor, decoded: Decoded) -> dist.TorchDistribution:
    return dist.ZeroInflatedDistribution(
        _negative_binomial(log_mean, decoded), gate_logits=decoded.dropout
    )


def _poisson(log_mean: Tensor, _: Decoded) -> dist.TorchDistribution:
    return dist.Poisson(log_mean.exp())


def _normal(log_mean: Tensor, decoded: Decoded) -> dist.TorchDistribution:
    return dist.Normal(log_mean.exp(), decoded.dispersion.exp())


_OBSERVATIONS: Mapping[str, Callable[[Tensor, Decoded], dist.TorchDistribution]] = {
    "nb": _negative_binomial,
    "zinb": _zero_inflated,
    "poisson": _poisson,
    "normal": _normal,
}
