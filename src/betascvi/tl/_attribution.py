"""``tl.attribute_genes``: the genes that each axis moves."""

from __future__ import annotations

from numbers import Real
from typing import Any, Literal

import numpy as np
from pandas.api.types import is_numeric_dtype

from betascvi._errors import TrainingError
from betascvi._whole_numbers import refuse_count
from betascvi.metrics._axis_sides import sides
from betascvi.metrics._programs import GenePrograms, marker_effects
from betascvi.model import BetaSCVI, additive_log_rates
from betascvi.model._cells import training_rows
from betascvi.model._dead_axes import kl_of_axes
from betascvi.model._predictive import is_gaussian
from betascvi.tl._own_settings import data_of, own_covariates, per_10k

_N_CELLS = 400
_TINY = 1e-12
_CHUNK = 4096


def attribute_genes(
    model: BetaSCVI,
    *,
    by: Literal["decoder", "cells"] = "decoder",
    span: float = 2.0,
    n_cells: int = _N_CELLS,
    seed: int = 0,
) -> GenePrograms:
    r"""The gene program of each axis and direction.

    By the decoder, what axis k in direction :math:`\pm` does to gene g alone is

    .. math::
        e^{\pm}_{kg} = \log \lambda_g(\pm s\, u_k) - \log \lambda_g(0)

    with :math:`u_k` the axis' unit vector and :math:`s` the span in standard deviations of the
    prior, and :math:`\lambda` expression as decoded. With ``decoder="additive"`` it is read off the
    profiles, exact and without decoding, covariates left out: they multiply what all axes add.
    With a joint decoder it is decoded in the commonest covariates, and holds around the origin.

    By the cells, the effect is the difference of log mean counts per 10,000 between the training
    cells at that end of the axis and all others. Cells part where they vary least within groups:
    in two ends, or in three groups where most cells are at neither (where two groups explain less
    than they would of evenly spread cells, and a third leaves less than a third of what is left).
    That is what a marker gene is, and holds what goes along with the axis, too: another axis, or
    a batch.

    Parameters
    ----------
    model
        A trained model.
    by
        ``"decoder"`` for the axis alone, ``"cells"`` for the cells it is on in.
    span
        How far an axis moves, in standard deviations of its prior; cells have no say in it.
    n_cells
        Cells on which the share of variation of each axis is taken, at most.
    seed
        Of the choice of these cells.

    Returns
    -------
    The record: ``.to_frame()`` has a row for each gene of each axis and direction, ``.axes_frame()``
    one for each axis, ordered by the variation it explains; ``.vanished`` names the axes that carry
    nothing, ``.duplicates`` the pairs that move the same genes, ``.signs`` turns each axis
    towards its stronger program.

    Notes
    -----
    The share an axis explains: mean squared change of log1p(counts per 10,000) over cells when
    the axis is set to its mean, over the variance of the same between cells, each cell in its own
    covariates. Shares of overlapping axes do not add up to one.

    Examples
    --------
    >>> programs = bs.tl.attribute_genes(model)
    >>> print(programs)
    >>> programs.to_frame().query("rank <= 5")
    >>> markers = bs.tl.attribute_genes(model, by="cells")
    """
    _refuse(model, by, span, n_cells)
    chosen = _cells(model, n_cells, seed)
    steps = span * np.eye(model.module.n_latent, dtype=np.float32)
    points = np.concatenate([np.zeros_like(steps[:1]), -steps, steps])
    level, is_exact = _log_expression(model, points, chosen)
    effects = np.stack(np.split(level[1:] - level[0], 2), axis=1)
    if by == "cells":
        effects, is_exact = _between_cells(model), False
    genes = tuple(map(str, _gene_names(model, effects.shape[-1])))
    mean, variance = model.get_latent_representation(indices=chosen.tolist(), return_dist=True)
    kl = kl_of_axes(model, (mean, variance), chosen)
    explained = _explained(model, chosen, mean)
    return GenePrograms(tuple(model.axis_names), genes, effects, explained, kl, span, is_exact, by)


def _refuse(model: BetaSCVI, by: str, span: float, n_cells: int) -> None:
    if not isinstance(model, BetaSCVI):
        raise TypeError(
            f"attribute_genes reads a BetaSCVI model, got {type(model).__name__}; "
            "BetaSCVI.from_scvi(model) takes one of scvi-tools'."
        )
    if not model.is_trained:
        raise TrainingError("attribute_genes needs a trained model; call model.train() first.")
    if not isinstance(span, Real) or not 0.0 < span < np.inf:
        raise ValueError(f"span is a positive number of standard deviations, got {span!r}.")
    refuse_count("n_cells", n_cells, least=2)
    if by not in ("decoder", "cells"):
        raise ValueError(f"by is 'decoder' or 'cells', got {by!r}.")
    has_counts = not is_gaussian(model)
    if by == "cells" and not (has_counts and model.minified_data_type is None):
        raise ValueError(
            "by='cells' compares counts of cells, and this model has none: its likelihood is a "
            "Gaussian, or its data are minified; ask for by='decoder'."
        )
    if model.adata is None:
        raise ValueError("attribute_genes needs the model's cells; load it with adata=.")


def _training_rows(model: BetaSCVI) -> np.ndarray:
    """Positions of the training cells, or of all where the model was loaded with others."""
    known = training_rows(model)
    return np.arange(model.adata.n_obs) if known is None else known


def _cells(model: BetaSCVI, n_cells: int, seed: int) -> np.ndarray:
    training = _training_rows(model)
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(training, min(n_cells, len(training)), replace=False))


def _log_expression(
    model: BetaSCVI, points: np.ndarray, chosen: np.ndarray
) -> tuple[np.ndarray, bool]:
    """(points, genes), and whether it is exact."""
    rates = additive_log_rates(model, points)
    if rates is not None:
        return rates.astype(np.float64), True
    decoded = model.decode(points, _commonest(model, chosen), library_size=1.0).astype(np.float64)
    return (decoded if is_gaussian(model) else np.log(decoded + _TINY)), False


def _between_cells(model: BetaSCVI) -> np.ndarray:
    """(axes, directions, genes) log counts of cells at either end of an axis less the others'."""
    rows = _training_rows(model)
    z = np.asarray(model.get_latent_representation(indices=rows.tolist()))
    starts = range(0, len(rows), _CHUNK)
    pieces = ((slice(i, i + _CHUNK), data_of(model, rows[i : i + _CHUNK])) for i in starts)
    on = sides(z).reshape(len(z), -1)
    return np.stack(np.split(marker_effects(on, pieces), 2), axis=1)


def _commonest(model: BetaSCVI, chosen: np.ndarray) -> dict[str, Any]:
    """The commonest level, or the median, of what the decoder is conditioned on."""
    values = own_covariates(model, model.adata, chosen)
    setting: dict[str, Any] = {}
    for name in values:
        column = model.adata.obs[name].iloc[chosen]
        is_level = not is_numeric_dtype(column) or name not in _continuous(model)
        setting[name] = column.mode().iloc[0] if is_level else float(column.median())
    return setting


def _continuous(model: BetaSCVI) -> list[str]:
    return list(model.registry["setup_args"].get("continuous_covariate_keys") or ())


def _explained(model: BetaSCVI, chosen: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Share of decoded variation between cells that is lost when an axis stands at its mean."""
    z = mean.astype(np.float32)
    covariates = own_covariates(model, model.adata, chosen)

    def expression(positions: np.ndarray) -> np.ndarray:
        decoded = model.decode(positions, covariates)
        return decoded if is_gaussian(model) else np.log1p(per_10k(decoded))

    whole = expression(z)
    spread = float(((whole - whole.mean(0)) ** 2).mean())
    lost = np.empty(z.shape[1])
    for axis in range(z.shape[1]):
        without = z.copy()
        without[:, axis] = z[:, axis].mean()
        lost[axis] = float(((expression(without) - whole) ** 2).mean())
    return lost / max(spread, _TINY)


def _gene_names(model: BetaSCVI, n_genes: int) -> list[str]:
    names = list(model.adata.var_names)
    return names if len(names) == n_genes else [f"dimension_{i + 1}" for i in range(n_genes)]
