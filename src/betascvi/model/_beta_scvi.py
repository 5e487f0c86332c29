"""The model a user holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from anndata import AnnData
from scvi import REGISTRY_KEYS, settings
from scvi.data import AnnDataManager
from scvi.data._utils import _get_adata_minify_type
from scvi.data.fields import (
    CategoricalJointObsField,
    CategoricalObsField,
    NumericalJointObsField,
    NumericalObsField,
)
from scvi.model import SCVI
from scvi.train._config import merge_kwargs
from scvi.utils import setup_anndata_dsp
from torch import Tensor
from typing_extensions import override

from betascvi._errors import TrainingError
from betascvi.data import (
    CellSplitter,
    CountsField,
    EmbeddingField,
    FactorsField,
    Loadings,
    prepare,
    unchanged_on_error,
    why_not_resident,
)
from betascvi.factors import Factor
from betascvi.model._axes import axis_names, chosen_axes
from betascvi.model._construction import (
    is_embedding,
    refuse_empty,
    refuse_unsupported,
    summary_string,
    why_not_in_chunks,
)
from betascvi.model._decoding import (
    Covariate,
    check_positions,
    check_sizes,
    decode_means,
    decoder_covariates,
    settings_of,
)
from betascvi.model._from_scvi import from_scvi
from betascvi.model._summary import cells_to_look_at, summarise, warn_unfinished, warn_unreachable
from betascvi.module import BetaVAEModule
from betascvi.objectives import Objective, resolve
from betascvi.train import ObjectivePlan, plan_for

logger = logging.getLogger(__name__)

_NOT_FOR_TRAIN = {"self", "__class__", "restart_schedules", "trainer_kwargs"}


class BetaSCVI(SCVI):
    """A beta-VAE on single-cell counts.

    Everything an :class:`scvi.model.SCVI` does, with an objective of your choice, schedules that
    complete, and the latent as the primary result.

    Parameters
    ----------
    adata
        AnnData registered with :meth:`setup_anndata`.
    registry
        Registry of a datamodule, in place of ``adata``.
    n_hidden
        Nodes per hidden layer.
    n_latent
        Number of axes.
    n_layers
        Hidden layers of encoder and decoder.
    dropout_rate
        Dropout of the encoder.
    dispersion
        ``"gene"``, ``"gene-batch"``, ``"gene-label"`` or ``"gene-cell"``.
    gene_likelihood
        ``"nb"``, ``"zinb"``, ``"poisson"`` or ``"normal"`` (Gaussian; what an ``obsm_key`` uses).
    use_observed_lib_size
        Must be True: a latent library size is not carried over from scvi-tools.
    latent_distribution
        Must be ``"normal"``.
    log_variational, encode_covariates, deeply_inject_covariates, batch_representation, \
use_batch_norm, use_layer_norm, extra_payload_autotune, var_activation, extra_encoder_kwargs, \
extra_decoder_kwargs, batch_embedding_kwargs
        As in :class:`scvi.module.VAE`.
    objective
        What is minimised: an objective, or its name (:data:`betascvi.objectives.OBJECTIVES`).

    Examples
    --------
    >>> BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    >>> model = BetaSCVI(adata)
    >>> model.train()
    >>> adata.obsm["X_betascvi"] = model.get_latent_representation()
    """

    _module_cls = BetaVAEModule
    _training_plan_cls = ObjectivePlan
    _data_splitter_cls = CellSplitter

    is_trained_: bool

    def __init__(  # noqa: PLR0913, PLR0917 (scvi-tools rebuilds models from explicit arguments)
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        n_hidden: int = 128,
        n_latent: int = 10,
        n_layers: int = 1,
        dropout_rate: float = 0.1,
        dispersion: Literal["gene", "gene-batch", "gene-label", "gene-cell"] = "gene",
        gene_likelihood: Literal["nb", "zinb", "poisson", "normal"] = "nb",
        use_observed_lib_size: bool = True,
        latent_distribution: Literal["normal"] = "normal",
        log_variational: bool = True,
        encode_covariates: bool = False,
        deeply_inject_covariates: bool = True,
        batch_representation: Literal["one-hot", "embedding"] = "one-hot",
        use_batch_norm: Literal["encoder", "decoder", "none", "both"] = "both",
        use_layer_norm: Literal["encoder", "decoder", "none", "both"] = "none",
        extra_payload_autotune: bool = False,
        var_activation: Callable[[Tensor], Tensor] | None = None,
        extra_encoder_kwargs: dict[str, Any] | None = None,
        extra_decoder_kwargs: dict[str, Any] | None = None,
        batch_embedding_kwargs: dict[str, Any] | None = None,
        *,
        objective: Objective | str | None = None,
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in {"self", "__class__"}}
        refuse_unsupported(use_observed_lib_size, latent_distribution, gene_likelihood)
        refuse_empty(n_latent=n_latent, n_hidden=n_hidden, n_layers=n_layers)
        manager = self._get_most_recent_anndata_manager(adata) if adata is not None else None
        on_embedding = is_embedding(manager.registry if manager is not None else registry)
        if on_embedding:
            logger.info("the data are an obsm matrix, not counts: gene_likelihood is 'normal'.")
            arguments |= {"gene_likelihood": "normal", "log_variational": False}
        objective = arguments["objective"] = resolve(objective)
        super().__init__(**arguments, is_embedding=on_embedding)
        self._model_summary_string = summary_string(arguments)
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    @setup_anndata_dsp.dedent
    @override
    def setup_anndata(
        cls,
        adata: AnnData,
        layer: str | None = None,
        batch_key: str | None = None,
        labels_key: str | None = None,
        size_factor_key: str | None = None,
        categorical_covariate_keys: list[str] | None = None,
        continuous_covariate_keys: list[str] | None = None,
        *,
        factor_keys: Sequence[str | Factor] | None = None,
        obsm_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """%(summary)s.

        Parameters
        ----------
        %(param_adata)s
        %(param_layer)s
        %(param_batch_key)s
        %(param_labels_key)s
        %(param_size_factor_key)s
        %(param_cat_cov_keys)s
        %(param_cont_cov_keys)s
        factor_keys
            Columns of ``adata.obs`` that name what cells differ in, as names or
            :class:`betascvi.Factor`. Categories, strings and booleans are categorical, numbers
            continuous; circular factors are declared. Missing labels are allowed.
        obsm_key
            Model this real-valued ``adata.obsm`` matrix (such as ``"X_pca"``) with a Gaussian
            likelihood instead of counts.
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        if obsm_key is not None and (layer is not None or size_factor_key is not None):
            raise ValueError(
                "obsm_key takes the place of counts: leave layer and size_factor_key out."
            )
        prepare(adata)
        fields = [
            CountsField(layer) if obsm_key is None else EmbeddingField(obsm_key),
            CategoricalObsField(REGISTRY_KEYS.BATCH_KEY, batch_key),
            CategoricalObsField(REGISTRY_KEYS.LABELS_KEY, labels_key),
            NumericalObsField(REGISTRY_KEYS.SIZE_FACTOR_KEY, size_factor_key, required=False),
            CategoricalJointObsField(REGISTRY_KEYS.CAT_COVS_KEY, categorical_covariate_keys),
            NumericalJointObsField(REGISTRY_KEYS.CONT_COVS_KEY, continuous_covariate_keys),
            FactorsField(factor_keys),
        ]
        minify_type = _get_adata_minify_type(adata)
        if minify_type is not None:
            fields += cls._get_fields_for_adata_minification(minify_type)
        manager = AnnDataManager(fields=fields, setup_method_args=setup_method_args)
        with unchanged_on_error(adata):
            manager.register_fields(adata, **kwargs)
        cls.register_manager(manager)

    @classmethod
    def from_scvi(cls, model: SCVI) -> BetaSCVI:
        """The weights of a trained :class:`scvi.model.SCVI` in a model with beta = 1.

        ELBO, latent and normalised expression are the SCVI's own, on the same cells.
        """
        return from_scvi(cls, model)

    @override
    def train(
        self,
        max_epochs: int | None = None,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        train_size: float | None = None,
        validation_size: float | None = None,
        shuffle_set_split: bool = True,
        load_sparse_tensor: bool = False,
        batch_size: int = 128,
        early_stopping: bool = False,
        datasplitter_kwargs: dict[str, Any] | None = None,
        plan_config: Any = None,
        plan_kwargs: Any = None,
        datamodule: Any = None,
        trainer_config: Any = None,
        *,
        restart_schedules: bool = False,
        **trainer_kwargs: Any,
    ) -> None:
        """Train the model; arguments are those of :meth:`scvi.model.SCVI.train` and one of ours.

        Parameters
        ----------
        max_epochs, accelerator, devices, train_size, validation_size, shuffle_set_split, \
load_sparse_tensor, batch_size, early_stopping, datasplitter_kwargs, plan_config, plan_kwargs, \
datamodule, trainer_config, **trainer_kwargs
            As in scvi-tools.
        restart_schedules
            Run the objective's schedules again in a second training; by default weights stay at
            their final value.
        """
        arguments = {k: v for k, v in locals().items() if k not in _NOT_FOR_TRAIN}
        holds = self.is_trained_ and not restart_schedules
        if self.module is not None:
            self._training_plan_cls = plan_for(self.module)
            if not holds:
                warn_unreachable(self.module.objective)
        plan_kwargs = merge_kwargs(plan_config, plan_kwargs, name="plan")
        trainer_kwargs = merge_kwargs(trainer_config, trainer_kwargs, name="trainer")
        in_chunks = datamodule is None and self._trains_in_chunks(
            trainer_kwargs, plan_kwargs, {**(datasplitter_kwargs or {})}, load_sparse_tensor
        )
        arguments |= {
            "plan_config": None,
            "plan_kwargs": plan_kwargs | {"holds_final_weights": holds, "in_chunks": in_chunks},
            "trainer_config": None,
        }
        if in_chunks:
            arguments["datasplitter_kwargs"] = {**(datasplitter_kwargs or {}), "is_resident": True}
        try:
            super().train(**arguments, **trainer_kwargs)
        except TrainingError:
            self.module.eval()
            self.is_trained_ = True  # the weights of the last good epoch are there to be used
            raise
        self._finish_training()

    def _trains_in_chunks(
        self,
        trainer_kwargs: Mapping[str, Any],
        plan_kwargs: Mapping[str, Any],
        loader_kwargs: Mapping[str, Any],
        load_sparse_tensor: bool,
    ) -> bool:
        """Whether the fast path serves; where it does not, say why."""
        if load_sparse_tensor:
            reason: str | None = "load_sparse_tensor= was given"
        else:
            reason = why_not_in_chunks(trainer_kwargs, plan_kwargs, loader_kwargs)
        reason = reason or why_not_resident(self.adata_manager)
        if reason:
            logger.info("training through scvi-tools' loader, a minibatch at a time: %s.", reason)
        return reason is None

    def _finish_training(self) -> None:
        """Say in one line what came out; warn of schedules that were cut short."""
        plan = self.trainer.lightning_module
        objective = self.module.objective
        n_epochs = self.trainer.max_epochs or 0
        warn_unfinished(
            objective, plan.realised_progress, was_cut_short=self.trainer.current_epoch < n_epochs
        )
        if self.adata is None or self.minified_data_type is not None:
            return
        some = np.sort(self.train_indices[: cells_to_look_at(len(self.train_indices), n_epochs)])
        moments = super().get_latent_representation(indices=some, return_dist=True)
        self.training_summary_ = summarise(
            objective, plan.realised_progress, moments, self.history_
        )
        logger.info("%s", self.training_summary_)

    @property
    def blocks(self) -> dict[str, slice]:
        """Named parts of the latent; ``"free"`` is what no factor is anchored in."""
        return {"free": slice(0, self.module.n_latent)}

    @property
    def axis_names(self) -> list[str]:
        """A name for each axis of the latent."""
        return axis_names(self.blocks)

    @override
    def get_latent_representation(
        self,
        adata: AnnData | None = None,
        indices: Sequence[int] | None = None,
        give_mean: bool = True,
        mc_samples: int = 5_000,
        batch_size: int | None = None,
        return_dist: bool = False,
        dataloader: Iterator[dict[str, Tensor]] | None = None,
        *,
        blocks: str | Sequence[str] | None = None,
        drop: str | Sequence[str] | None = None,
        **data_loader_kwargs: Any,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Positions of cells on the axes, (cells, axes).

        Parameters
        ----------
        adata, indices, give_mean, mc_samples, batch_size, return_dist, dataloader, \
**data_loader_kwargs
            As in scvi-tools: the posterior mean, a sample, or mean and variance.
        blocks
            Names of the blocks to give (:attr:`blocks`); all by default.
        drop
            Names of the blocks to leave out.
        """
        axes = chosen_axes(self.blocks, self.module.n_latent, blocks, drop)
        z = super().get_latent_representation(
            adata, indices, give_mean, mc_samples, batch_size, return_dist, dataloader,
            **data_loader_kwargs,
        )  # fmt: skip
        return (z[0][:, axes], z[1][:, axes]) if return_dist else z[:, axes]

    def decode(
        self,
        z: np.ndarray,
        covariates: Mapping[str, Any] | None = None,
        library_size: float | np.ndarray = 1e4,
        batch_size: int | None = None,
    ) -> np.ndarray:
        """Expected expression at latent positions, (cells, genes); deterministic.

        Parameters
        ----------
        z
            (cells, axes) positions; all axes of the model.
        covariates
            Values of what the decoder is conditioned on (``batch_key`` and covariate keys of
            :meth:`setup_anndata`): one setting, or one value for each cell. A categorical
            covariate left out is averaged over its levels.
        library_size
            Counts to expect in total, one number or one for each cell (the size factor, where one
            was registered). A Gaussian model of a PCA has none and gives genes through the
            loadings.
        batch_size
            Cells decoded at once.

        Notes
        -----
        For ``zinb`` this is the mean before zero inflation, as scvi-tools' normalised expression.
        """
        self._check_if_trained(warn=False)
        positions = check_positions(z, self.module.n_latent)
        sizes = check_sizes(library_size, len(positions))
        known = self._decoder_covariates()
        size = batch_size or settings.batch_size
        self.module.eval()
        mean = np.zeros((len(positions), self.module.n_input), dtype=np.float32)
        each = list(settings_of(known, covariates or {}, len(positions)))
        for setting in each:
            part = decode_means(self.module, positions, sizes, known, setting, size)
            mean += part / np.float32(len(each))
        loadings = self._loadings()
        return mean if loadings is None else loadings.to_genes(mean)

    def _decoder_covariates(self) -> list[Covariate]:
        registries = self.registry["field_registries"]
        return decoder_covariates({key: r["state_registry"] for key, r in registries.items()})

    def _loadings(self) -> Loadings | None:
        state = self.registry["field_registries"][REGISTRY_KEYS.X_KEY]["state_registry"]
        return state.get("loadings")
