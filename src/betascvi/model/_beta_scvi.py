"""The model a user holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from anndata import AnnData
from scvi.data import AnnDataManager
from scvi.data._utils import _get_adata_minify_type
from scvi.model import SCVI
from scvi.utils import setup_anndata_dsp
from torch import Tensor
from typing_extensions import override

from betascvi.data import CellSplitter, prepare, unchanged_on_error
from betascvi.factors import Anchor, Factor
from betascvi.model._anchoring import blocks_of, with_blocks
from betascvi.model._axes import axis_names, chosen_axes
from betascvi.model._construction import checked, summary_string
from betascvi.model._dead_axes import without_dead_axes
from betascvi.model._decoder_start import start_decoder
from betascvi.model._decoding import decode
from betascvi.model._evaluation import Evaluation
from betascvi.model._from_scvi import from_scvi
from betascvi.model._predict_factor import predict_factor
from betascvi.model._query import load_query_data
from betascvi.model._setup import fields_for, refuse_impossible
from betascvi.model._streaming import streamed
from betascvi.model._to_scvi import to_scvi
from betascvi.model._training import finish_training, learning, prepare_training
from betascvi.module import BetaVAEModule
from betascvi.objectives import Objective
from betascvi.train import ObjectivePlan, Runner, plan_for

_NOT_FOR_TRAIN = {"self", "__class__", "restart_schedules", "trainer_kwargs"}


class BetaSCVI(Evaluation):
    """A beta-VAE on single-cell counts.

    An :class:`scvi.model.SCVI` with an objective of your choice and schedules that complete.

    Parameters
    ----------
    adata, registry
        AnnData registered with :meth:`setup_anndata`, or the registry of a datamodule.
    n_hidden, n_layers
        Nodes of, and number of, the hidden layers of encoder and joint decoder.
    n_latent
        Number of free axes; blocks of anchored factors come on top, and first.
    dropout_rate, dispersion
        Dropout of the encoder; ``"gene"``, ``"gene-batch"``, ``"gene-label"`` or ``"gene-cell"``.
    gene_likelihood
        ``"nb"``, ``"zinb"``, ``"poisson"`` or ``"normal"`` (also ``"gaussian"``; what an
        ``obsm_key`` uses).
    use_observed_lib_size, latent_distribution
        Must be True and ``"normal"``: no other is carried over from scvi-tools.
    log_variational, encode_covariates, deeply_inject_covariates, batch_representation, \
use_batch_norm, use_layer_norm, extra_payload_autotune, var_activation, \
extra_encoder_kwargs, extra_decoder_kwargs, batch_embedding_kwargs
        As in :class:`scvi.module.VAE`.
    objective
        What is minimised: an objective, or its name (:data:`betascvi.objectives.OBJECTIVES`).
    anchors
        Factors that get axes of their own, as names or :class:`betascvi.Anchor`.
    decoder
        ``"joint"`` (scVI's) or ``"additive"``: each axis adds gene programs of its own
        (``extra_decoder_kwargs`` of :class:`~betascvi.module.AdditiveSettings`).

    Examples
    --------
    >>> BetaSCVI.setup_anndata(adata, layer="counts", batch_key="batch")
    >>> model = BetaSCVI(adata)
    >>> model.train()
    >>> z = model.get_latent_representation()
    """

    _module_cls = BetaVAEModule
    _training_plan_cls = ObjectivePlan
    _data_splitter_cls = CellSplitter
    _train_runner_cls = Runner

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
        anchors: Sequence[str | Anchor] | None = None,
        decoder: Literal["joint", "additive"] = "joint",
    ) -> None:
        arguments = {k: v for k, v in locals().items() if k not in {"self", "__class__"}}
        manager = self._get_most_recent_anndata_manager(adata) if adata is not None else None
        anchors, layout = blocks_of(arguments.pop("anchors"), manager)
        arguments = checked(arguments, manager.registry if manager is not None else registry)
        # as resolved: both are saved with the arguments
        objective, gene_likelihood = arguments["objective"], arguments["gene_likelihood"]
        super().__init__(**with_blocks(arguments, layout))
        start_decoder(self)
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
            Real-valued ``adata.obsm`` matrix (``"X_pca"``) to model by a Gaussian, not counts.
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        prepare(adata)
        arguments = setup_method_args["setup_args"]
        refuse_impossible(adata, arguments, is_new_data="source_registry" in kwargs)
        fields = fields_for(**arguments)
        minify_type = _get_adata_minify_type(adata)
        if minify_type is not None:
            fields += cls._get_fields_for_adata_minification(minify_type)
        manager = AnnDataManager(fields=fields, setup_method_args=setup_method_args)
        with unchanged_on_error(adata):
            manager.register_fields(adata, **kwargs)
        cls.register_manager(manager)

    @classmethod
    def from_scvi(cls, model: SCVI) -> BetaSCVI:
        """The weights of a trained SCVI in a model with beta = 1: same ELBO, latent, expression."""
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
        """Train the model.

        Parameters
        ----------
        max_epochs, accelerator, devices, train_size, validation_size, shuffle_set_split, \
load_sparse_tensor, batch_size, early_stopping, datasplitter_kwargs, plan_config, plan_kwargs, \
datamodule, trainer_config, **trainer_kwargs
            As in :meth:`scvi.model.SCVI.train`.
        restart_schedules
            Run schedules again in a second training; by default weights stay at their final value.
        """
        arguments = {k: v for k, v in locals().items() if k not in _NOT_FOR_TRAIN}
        if self.module is not None:
            self._training_plan_cls = plan_for(self.module)
        prepared = prepare_training(self, arguments, trainer_kwargs, restart_schedules)
        with learning(self, prepared["plan_kwargs"]["holds_final_weights"]):
            super().train(**prepared)
        finish_training(self)

    @property
    def blocks(self) -> dict[str, slice]:
        """Named parts of the latent; ``"free"`` is what no factor is anchored in."""
        return dict(self.module.blocks)

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
        blocks, drop
            Names of the blocks to give, or to leave out (:attr:`blocks`); all by default.
        """
        axes = chosen_axes(self.blocks, self.module.n_latent, blocks, drop)
        z = streamed(SCVI.get_latent_representation)(
            self, adata, indices, give_mean, mc_samples, batch_size, return_dist, dataloader, **data_loader_kwargs
        )  # fmt: skip
        z = without_dead_axes(self, z, give_mean or return_dist)
        return tuple(part[:, axes] for part in z) if return_dist else z[:, axes]

    predict_factor = predict_factor
    to_scvi = to_scvi
    load_query_data = classmethod(load_query_data)

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
        return decode(self.module, self.registry, z, covariates or {}, library_size, batch_size)
