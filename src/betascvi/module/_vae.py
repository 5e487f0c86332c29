"""scvi-tools' VAE whose loss asks an objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from scvi import REGISTRY_KEYS
from scvi.module import VAE
from scvi.module._constants import MODULE_KEYS
from scvi.module.base import LossOutput, auto_move_data
from scvi.utils import unsupported_if_adata_minified
from torch import Tensor, nn
from torch.distributions import Normal
from typing_extensions import override

from betascvi.likelihoods import SparseRows
from betascvi.module._anchored_loss import coded_factors, loss_terms, named_factors
from betascvi.module._blocks import Blocks, Layout
from betascvi.module._covariates import beside_covariates
from betascvi.module._decoded import DECODED_KEY, Decoded
from betascvi.module._decoder_choice import make_decoder, shape_for
from betascvi.module._dispersion import log_dispersion
from betascvi.module._first_product import store_by_gene
from betascvi.module._history import loss_output
from betascvi.module._layers import run_layers
from betascvi.module._likelihood import LIKELIHOODS, EmbeddingLikelihood, Likelihood, dense
from betascvi.module._look import Recent
from betascvi.module._marginal import marginal_ll
from betascvi.module._posterior import posterior_of
from betascvi.module._resample import resampler
from betascvi.objectives import BetaVAE, Objective, Step
from betascvi.objectives._gaussian_kl import kl_per_axis, standard_normal

_NOT_OF_SCVI_TOOLS = {"self", "__class__", "objective", "is_embedding", "decoder", "layout"}
_NOT_OF_ITS_DECODER = {"extra_decoder_kwargs": None}  # it builds one of its own, for us to replace


class BetaVAEModule(VAE):
    """A VAE on counts with an objective, and without parameters that receive no gradient.

    Arguments are scvi-tools' and ours, one by one: loading a model rebuilds it from this signature.

    Parameters
    ----------
    objective
        What is minimised; the plain evidence lower bound by default.
    is_embedding
        The data are real-valued (a PCA), not counts: no logarithm, no library size.
    decoder
        ``"joint"`` (scVI's) or ``"additive"`` (each axis adds its own rates).
    layout
        Blocks of anchored factors; ``n_latent`` counts their axes too.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (scvi-tools' constructor: see the docstring)
        self,
        n_input: int,
        n_batch: int = 0,
        n_labels: int = 0,
        n_hidden: int = 128,
        n_latent: int = 10,
        n_layers: int = 1,
        n_continuous_cov: int = 0,
        n_cats_per_cov: list[int] | None = None,
        dropout_rate: float = 0.1,
        dispersion: Literal["gene", "gene-batch", "gene-label", "gene-cell"] = "gene",
        log_variational: bool = True,
        gene_likelihood: Literal["zinb", "nb", "poisson", "normal"] = "nb",
        latent_distribution: Literal["normal"] = "normal",
        encode_covariates: bool = False,
        deeply_inject_covariates: bool = True,
        batch_representation: Literal["one-hot", "embedding"] = "one-hot",
        use_batch_norm: Literal["encoder", "decoder", "none", "both"] = "both",
        use_layer_norm: Literal["encoder", "decoder", "none", "both"] = "none",
        use_size_factor_key: bool = False,
        use_observed_lib_size: bool = True,
        extra_payload_autotune: bool = False,
        library_log_means: Any = None,
        library_log_vars: Any = None,
        var_activation: Callable[[Tensor], Tensor] | None = None,
        extra_encoder_kwargs: dict[str, Any] | None = None,
        extra_decoder_kwargs: dict[str, Any] | None = None,
        batch_embedding_kwargs: dict[str, Any] | None = None,
        objective: Objective | None = None,
        is_embedding: bool = False,
        decoder: Literal["joint", "additive"] = "joint",
        layout: Layout | None = None,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in _NOT_OF_SCVI_TOOLS}
        super().__init__(**arguments | _NOT_OF_ITS_DECODER)
        self.objective = objective or BetaVAE()
        self.is_embedding = is_embedding
        self.likelihood: Likelihood = (
            EmbeddingLikelihood() if is_embedding else LIKELIHOODS[gene_likelihood]
        )
        self.anchored = Blocks(layout, n_latent) if layout is not None and layout.plans else None
        self.recent = Recent()
        self.objective_state = self.objective.make_state(self.n_free)
        network = {
            "n_layers": n_layers,
            "inject_covariates": deeply_inject_covariates,
            "use_batch_norm": use_batch_norm in {"decoder", "both"},
            "use_layer_norm": use_layer_norm in {"decoder", "both"},
        }
        self._drop_dead_parameters()
        store_by_gene(self.z_encoder.encoder.fc_layers[0][0])
        shape = shape_for(self, n_cats_per_cov, n_continuous_cov, n_hidden)
        self.decoder = make_decoder(decoder, shape, extra_decoder_kwargs, network)

    def _drop_dead_parameters(self) -> None:
        """Delete what scvi-tools builds and never reads under our options."""
        self.l_encoder = None
        if not self.likelihood.has_dispersion and hasattr(self, "px_r"):
            del self.px_r

    @override
    def forward(
        self, tensors: dict[str, Tensor], *args: Any, compute_loss: bool = True, **kwargs: Any
    ) -> Any:
        """scvi-tools' pass; the dense p(x | z) is left unbuilt where only the loss is asked for."""
        if compute_loss:
            generative_kwargs = kwargs.get("generative_kwargs") or {}
            kwargs["generative_kwargs"] = {"as_distribution": False, **generative_kwargs}
        return super().forward(tensors, *args, compute_loss=compute_loss, **kwargs)

    @auto_move_data
    @override
    def _regular_inference(
        self,
        x: Tensor | SparseRows,
        batch_index: Tensor,
        cont_covs: Tensor | None = None,
        cat_covs: Tensor | None = None,
        n_samples: int = 1,
    ) -> dict[str, Any]:
        """Encode counts, dense or as non-zeros."""
        library = self._log_library(x)
        inputs, categories = self._encoder_inputs(x, batch_index, cont_covs, cat_covs)
        ours = isinstance(x, SparseRows)  # no run of scvi-tools' to draw the same dropout as
        hidden = run_layers(self.z_encoder.encoder, inputs, *categories, draws_as_torch=not ours)
        loc, sd, z = posterior_of(self.z_encoder, hidden, n_samples, may_be_one_node=ours)
        # less the checks of a distribution's arguments at each step
        qz = Normal(loc, sd, validate_args=False)
        if n_samples > 1:
            library = library.expand(n_samples, -1, -1)
        return {
            MODULE_KEYS.Z_KEY: z,
            MODULE_KEYS.QZ_KEY: qz,
            MODULE_KEYS.QL_KEY: None,
            MODULE_KEYS.LIBRARY_KEY: library,
        }

    def _log_library(self, x: Tensor | SparseRows) -> Tensor:
        if isinstance(x, SparseRows):
            return x.totals.log()[:, None]
        if self.is_embedding:  # a PCA has no library size; its sum may be negative
            return torch.zeros(x.shape[0], 1, device=x.device)
        return x.sum(1, keepdim=True).log()

    def _encoder_inputs(
        self,
        x: Tensor | SparseRows,
        batch_index: Tensor,
        cont_covs: Tensor | None,
        cat_covs: Tensor | None,
    ) -> tuple[Tensor | SparseRows, tuple[Tensor, ...]]:
        """What the encoder's network reads: the data, and covariates where it is to see them."""
        inputs: Tensor | SparseRows
        if isinstance(x, SparseRows):
            inputs = x.with_value(torch.log1p(x.value) if self.log_variational else x.value)
        else:
            inputs = torch.log1p(x) if self.log_variational else x
        if not self.encode_covariates:
            return inputs, ()
        return self._beside_covariates(dense(inputs), batch_index, cont_covs, cat_covs)

    @auto_move_data
    @override
    def generative(
        self,
        z: Tensor,
        library: Tensor,
        batch_index: Tensor,
        cont_covs: Tensor | None = None,
        cat_covs: Tensor | None = None,
        size_factor: Tensor | None = None,
        y: Tensor | None = None,
        transform_batch: Tensor | int | None = None,
        *,
        as_distribution: bool = True,
    ) -> dict[str, Any]:
        """Decode. ``as_distribution=False`` leaves the dense p(x | z) unbuilt."""
        if transform_batch is not None:
            batch_index = torch.ones_like(batch_index) * transform_batch
        inputs, categories = self._beside_covariates(z, batch_index, cont_covs, cat_covs)
        heads = self.decoder(inputs, *categories)
        decoded = Decoded(
            heads.logits,
            size_factor if self.use_size_factor_key and size_factor is not None else library,
            log_dispersion(self, heads.log_dispersion, batch_index, y),
            heads.dropout_logits,
            "softplus" if self.use_size_factor_key else "softmax",
        )
        return {
            MODULE_KEYS.PX_KEY: self.likelihood.distribution(decoded) if as_distribution else None,
            MODULE_KEYS.PL_KEY: None,
            MODULE_KEYS.PZ_KEY: self._prior(z) if as_distribution else None,
            DECODED_KEY: decoded,
        }

    def _beside_covariates(
        self,
        inputs: Tensor,
        batch_index: Tensor,
        cont_covs: Tensor | None,
        cat_covs: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        is_embedded = self.batch_representation == "embedding"
        batch = (
            self.compute_embedding(REGISTRY_KEYS.BATCH_KEY, batch_index)
            if is_embedded
            else batch_index
        )
        return beside_covariates(inputs, batch, cont_covs, cat_covs, batch_is_embedded=is_embedded)

    @unsupported_if_adata_minified
    @override
    def loss(
        self,
        tensors: dict[str, Tensor],
        inference_outputs: dict[str, Any],
        generative_outputs: dict[str, Any],
        *,
        progress: float = 1.0,
        n_obs: int = 1,
        critic: nn.Module | None = None,
        **_kl_weight: float,  # of scvi-tools' evaluations; weights belong to the objective
    ) -> LossOutput:
        """The objective's loss of one minibatch; ``kl_local`` is the raw KL whatever it is."""
        qz: Normal = inference_outputs[MODULE_KEYS.QZ_KEY]
        z = inference_outputs[MODULE_KEYS.Z_KEY]
        factors = coded_factors(tensors, self.anchored)
        pz = self._prior(qz.loc, factors)
        kl_of_axes = self._kl(qz, pz, factors)
        reconstruction = self.likelihood.negative_log_likelihood(
            tensors[REGISTRY_KEYS.X_KEY], generative_outputs[DECODED_KEY]
        )
        kl = kl_of_axes.sum(-1)
        if z.dim() == 3:  # importance samples: only the reconstruction is asked for
            return LossOutput(reconstruction.mean(), reconstruction, kl.expand_as(reconstruction))
        step = Step(
            reconstruction, qz, pz, z, progress, n_obs,
            resample=resampler(self, tensors, inference_outputs),
            make_px=lambda: self.likelihood.distribution(generative_outputs[DECODED_KEY]),
            make_x=lambda: dense(tensors[REGISTRY_KEYS.X_KEY]),
            known_kl=kl_of_axes,
            factors=named_factors(factors, self.anchored),
            blocks=self.blocks,
            state=self.objective_state,
            critic=critic,
        )  # fmt: skip
        terms = loss_terms(self, step, factors, tensors, inference_outputs)
        return loss_output(self, terms, step, kl, tensors)

    @property
    def blocks(self) -> dict[str, slice]:
        """Block name -> its axes; ``"free"`` last."""
        return {"free": slice(0, self.n_latent)} if self.anchored is None else self.anchored.slices

    @property
    def n_free(self) -> int:
        """Axes that no factor is anchored in."""
        return self.blocks["free"].stop - self.blocks["free"].start

    def _kl(self, qz: Normal, pz: Normal, factors: Tensor) -> Tensor:
        return kl_per_axis(qz, pz) if self.anchored is None else self.anchored.kl(qz, pz, factors)

    def _prior(self, z: Tensor, factors: Tensor | None = None) -> Normal:
        if self.anchored is None:
            return standard_normal(z.shape, z.dtype, z.device)
        return self.anchored.prior(z, factors)

    @override
    def marginal_ll(self, tensors: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
        """Of counts alone: under blocks the prior is that of cells without labels."""
        return marginal_ll(self, tensors, *args, **kwargs)
