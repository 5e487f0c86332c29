"""Total correlation of an embedding."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Float, Num
from scipy.special import ndtri

from betascvi._errors import UndefinedScoreError
from betascvi._results import Score
from betascvi.metrics._inputs import as_embedding, live_axes


def total_correlation(
    z: Num[np.ndarray, "cells axes"],
    *,
    marginals: Literal["gaussian", "ranks"] = "gaussian",
) -> Score:
    r"""Dependence among the axes, in nats, under a Gaussian.

    .. math::
        \mathrm{TC} = \mathrm{KL}\Bigl(q(z) \,\Big\|\, \prod_i q(z_i)\Bigr)
        = \tfrac12 \Bigl( \sum_i \log \Sigma_{ii} - \log \det \Sigma \Bigr)

    with :math:`\Sigma` the covariance over cells; the closed form is that of
    :cite:p:`Locatello19`.

    Parameters
    ----------
    z
        Embedding, (cells, axes), two axes or more.
    marginals
        ``"gaussian"`` is the published form; ``"ranks"`` replaces each axis by the normal
        scores of its ranks first, so that no monotone change of an axis moves the figure.

    Returns
    -------
    Score in nats, 0 for independent axes, lower is better, without upper bound.
    ``parts["per_axis"]`` divides by the number of live axes, ``n_dead_axes`` were left out;
    ``details["correlation"]`` holds the matrix.

    Notes
    -----
    Of independent noise it reads about d(d - 1) / (4 cells). It sees linear dependence only,
    none of the factors, and a rotation to principal axes brings it to 0: low is not
    disentangled. Axes that are exact combinations of others make it infinite, which is refused.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> z = np.random.default_rng(0).normal(size=(5000, 3))
    >>> float(bs.metrics.total_correlation(z)) < 0.01
    True
    """
    z = as_embedding(z, min_axes=2, asked_by="total_correlation").astype(np.float64)
    if len(z) < 2:
        raise UndefinedScoreError("total_correlation is of cells that differ; z holds one.")
    is_live = live_axes(z)
    live = z[:, is_live]
    if marginals == "ranks":
        live = _normal_scores(live)
    elif marginals != "gaussian":
        raise ValueError(f"marginals is 'gaussian' or 'ranks', got {marginals!r}.")
    correlation = np.eye(1)
    if live.shape[1] > 1:
        correlation = np.corrcoef(live, rowvar=False)
    value = _half_log_determinant(correlation)
    n_live = int(is_live.sum())
    parts = {"per_axis": value / max(n_live, 1), "n_dead_axes": float((~is_live).sum())}
    return Score(
        "total_correlation", value, None, None,
        MappingProxyType(parts), MappingProxyType({"correlation": correlation}),
    )  # fmt: skip


def _half_log_determinant(correlation: Float[np.ndarray, "axes axes"]) -> float:
    smallest = float(np.linalg.eigvalsh(correlation)[0])
    if smallest < 1e-12:
        raise UndefinedScoreError(
            "total_correlation is infinite: some axis is an exact linear combination of others "
            f"(smallest eigenvalue of their correlation {smallest:.1e}); drop it, or give more "
            "cells than axes."
        )
    return max(0.0, -0.5 * float(np.linalg.slogdet(correlation)[1]))


def _normal_scores(z: Float[np.ndarray, "cells axes"]) -> Float[np.ndarray, "cells axes"]:
    from scipy.stats import rankdata

    return np.asarray(ndtri((rankdata(z, axis=0) - 0.5) / len(z)))
