"""LMS, MSAS and MSGS: the aggregations of DRVI's benchmark."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Num
from scipy.optimize import linear_sum_assignment

from betascvi._results import Score
from betascvi.metrics._inputs import Flags, as_columns, as_embedding
from betascvi.metrics._pairwise import smi_matrices, spn_matrices

Similarity = Literal["smi", "spn"]


def latent_matching(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    discrete: Flags = None,
    n_bins: int = 10,
    *,
    circular: Flags = None,
    similarity: Similarity = "smi",
    seed: int = 0,
) -> Score:
    r"""Latent matching score (LMS): one axis for each level, no axis twice.

    .. math::
        \mathrm{LMS} = \frac{1}{L} \max_{\pi\ \text{one to one}} \sum_l S_{\pi(l)\, l}

    with :math:`S` the SMI or SPN matrix (:cite:p:`Moinfar24`).

    Parameters
    ----------
    z
        Embedding, (cells, axes).
    factors
        Factors; each is matched on its own, over its levels, and the mean is taken.
    discrete, circular
        As in :func:`~betascvi.metrics.mig`.
    n_bins
        Equal-width bins of each axis (SMI), and of continuous factors.
    similarity
        ``"smi"``, :func:`~betascvi.metrics.pairwise_mutual_information`, or ``"spn"``,
        :func:`~betascvi.metrics.pairwise_neighbours`.
    seed
        Of the order of tied cells (SPN).

    Returns
    -------
    Score in [0, 1], higher is better; ``per_factor`` holds each factor, ``evidence`` the
    (axes, levels) matrix of all factors side by side.

    Notes
    -----
    Noise scores 0.006 (SMI) and 0.03 (SPN) at 3000 cells and 12 axes. Fewer axes than levels
    cap the score at axes / levels: a single axis that orders ten cell types perfectly loses.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> level = np.arange(900) % 3
    >>> round(float(bs.metrics.latent_matching(np.eye(3)[level], level)), 3)
    1.0
    """
    matrices = _matrices(z, factors, (discrete, circular), n_bins, similarity, seed, 1)
    return _score("latent_matching", matrices, _matched)


def most_similar_averaging(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    discrete: Flags = None,
    n_bins: int = 10,
    *,
    circular: Flags = None,
    similarity: Similarity = "smi",
    seed: int = 0,
) -> Score:
    r"""Most similar averaging score (MSAS): the best axis of each level, averaged.

    .. math::
        \mathrm{MSAS} = \frac{1}{L} \sum_l \max_i S_{il}

    Source (:cite:p:`Moinfar24`), parameters and returned fields are those of
    :func:`~betascvi.metrics.latent_matching`; an axis may serve several levels here.

    Parameters
    ----------
    z, factors, discrete, n_bins, circular, similarity, seed
        As in :func:`~betascvi.metrics.latent_matching`.

    Returns
    -------
    Score in [0, 1], higher is better.

    Notes
    -----
    Noise scores about 0.006 (SMI) or 0.04 (SPN) at 3000 cells and grows with the number of
    axes. It does not see entanglement: one axis may hold everything, or all axes the same.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> level = np.arange(900) % 3
    >>> round(float(bs.metrics.most_similar_averaging(np.eye(3)[level], level)), 3)
    1.0
    """
    matrices = _matrices(z, factors, (discrete, circular), n_bins, similarity, seed, 1)
    return _score("most_similar_averaging", matrices, lambda s: float(s.max(axis=0).mean()))


def most_similar_gap(
    z: Num[np.ndarray, "cells axes"],
    factors: Any,
    discrete: Flags = None,
    n_bins: int = 10,
    *,
    circular: Flags = None,
    similarity: Similarity = "smi",
    seed: int = 0,
) -> Score:
    r"""Most similar gap score (MSGS): how far each level's best axis leads the next.

    .. math::
        \mathrm{MSGS} = \frac{1}{L} \sum_l (S_{i_1 l} - S_{i_2 l})

    Parameters
    ----------
    z, factors, discrete, n_bins, circular, similarity, seed
        As in :func:`~betascvi.metrics.latent_matching`; two axes or more.

    Returns
    -------
    Score in [0, 1], higher is better.

    Notes
    -----
    Noise scores about 0.001 (SMI); a perfect one-hot code of four levels 0.85, not 1, as an axis
    that marks one level also excludes the others. Two axes that share a level bring it to 0, as in MIG.
    The source is :cite:p:`Moinfar24`.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> level = np.arange(900) % 2
    >>> z = np.column_stack([level, np.zeros(900)])
    >>> round(float(bs.metrics.most_similar_gap(z, level)), 3)
    1.0
    """
    matrices = _matrices(z, factors, (discrete, circular), n_bins, similarity, seed, 2)
    return _score("most_similar_gap", matrices, _gap)


def _matrices(
    z: Any,
    factors: Any,
    flags: tuple[Flags, Flags],
    n_bins: int,
    similarity: Similarity,
    seed: int,
    min_axes: int,
) -> list[np.ndarray]:
    z = as_embedding(z, min_axes=min_axes, asked_by="most_similar_gap")
    columns = as_columns(factors, len(z), *flags)
    if similarity == "smi":
        return smi_matrices(z, columns, n_bins)
    if similarity == "spn":
        return spn_matrices(z, columns, n_bins, seed)
    raise ValueError(f"similarity is 'smi' or 'spn', got {similarity!r}.")


def _score(
    name: str, matrices: list[np.ndarray], aggregate: Callable[[np.ndarray], float]
) -> Score:
    per_factor = np.array([aggregate(matrix) for matrix in matrices])
    n_levels = np.array([matrix.shape[1] for matrix in matrices])
    return Score(
        name, float(per_factor.mean()), per_factor, np.hstack(matrices),
        details=MappingProxyType({"n_levels": n_levels}),
    )  # fmt: skip


def _matched(similarity: Float[np.ndarray, "axes levels"]) -> float:
    axes, levels = linear_sum_assignment(similarity, maximize=True)
    return float(similarity[axes, levels].sum() / similarity.shape[1])


def _gap(similarity: Float[np.ndarray, "axes levels"]) -> float:
    ranked = np.sort(similarity, axis=0)
    return float((ranked[-1] - ranked[-2]).mean())
