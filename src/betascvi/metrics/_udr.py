"""Unsupervised disentanglement ranking."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from betascvi._errors import UndefinedScoreError
from betascvi._results import Score
from betascvi.metrics._inputs import as_embedding, live_axes


def udr(
    embeddings: Sequence[np.ndarray],
    *,
    method: Literal["lasso", "spearman"] = "lasso",
    is_active: Sequence[np.ndarray] | None = None,
) -> Score:
    r"""Unsupervised ranking: how well other runs agree with a run's axes, one to one.

    .. math::
        \mathrm{UDR}_{ij} = \frac12 \Bigl( \frac{1}{d_b} \sum_b
        \frac{\max_a R_{ab}^2}{\sum_a R_{ab}} + \frac{1}{d_a} \sum_a
        \frac{\max_b R_{ab}^2}{\sum_b R_{ab}} \Bigr)

    with :math:`R_{ab}` how strongly axis :math:`a` of run :math:`i` stands for axis :math:`b` of
    run :math:`j`; a run's score is the median over the others (section 4 of
    :cite:p:`Duan20`).

    Parameters
    ----------
    embeddings
        Two or more (cells, axes) embeddings of the *same cells in the same order*, usually one
        per seed of one setting; a run may have its own number of axes.
    method
        ``"lasso"``: absolute weights of a lasso (penalty 0.1) from standardised axes to
        standardised axes; ``"spearman"``: absolute rank correlations.
    is_active
        For each run a (axes,) mask of axes to compare (KL above 0.01 nat in the paper).
        ``None`` drops constant axes only: hand over the mask for a variational autoencoder,
        whose dead axes are small but not constant.

    Returns
    -------
    Score in [0, 1], higher is better: the mean of the runs' scores. ``details["per_model"]``
    is what to rank by, ``details["pairwise"]`` the (runs, runs) matrix.

    Notes
    -----
    Runs of noise score about 0. It rewards agreement, not truth: runs that share the same
    entanglement (PCA, or one initialisation) agree perfectly. A run without a live axis
    scores 0.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> z = np.random.default_rng(0).normal(size=(2000, 3))
    >>> float(bs.metrics.udr([z, -z[:, ::-1], 2 * z], method="spearman")) > 0.9
    True
    """
    if len(embeddings) < 2:
        raise UndefinedScoreError(
            f"udr compares runs and needs 2 or more embeddings; got {len(embeddings)}."
        )
    if method not in ("lasso", "spearman"):
        raise ValueError(f"method is 'lasso' or 'spearman', got {method!r}.")
    runs = [as_embedding(z) for z in embeddings]
    sizes = {len(z) for z in runs}
    if len(sizes) > 1:
        raise ValueError(f"udr needs the same cells in every run; got {sorted(sizes)} cells.")
    masks = [None] * len(runs) if is_active is None else list(is_active)
    if len(masks) != len(runs):
        raise ValueError(f"is_active has {len(masks)} masks for {len(runs)} runs; give one a run.")
    kept = [_standardised(z, mask) for z, mask in zip(runs, masks, strict=True)]
    relate = _lasso_weights if method == "lasso" else _rank_correlations
    pairwise = np.zeros((len(kept), len(kept)))
    for i, j in np.ndindex(*pairwise.shape):
        if i != j and kept[i].shape[1] and kept[j].shape[1]:
            pairwise[i, j] = _one_to_one(relate(kept[i], kept[j]))
    others = [np.delete(pairwise[:, i], i) for i in range(len(kept))]
    per_model = np.array([np.median(other) for other in others])
    return Score(
        "udr", float(per_model.mean()), None, None,
        details=MappingProxyType({"per_model": per_model, "pairwise": pairwise}),
    )  # fmt: skip


def _standardised(
    z: Float[np.ndarray, "cells axes"], mask: Bool[np.ndarray, " axes"] | None
) -> Float[np.ndarray, "cells live"]:
    if mask is not None and np.shape(mask) != (z.shape[1],):
        raise ValueError(
            f"a mask of is_active has a value for each of the run's {z.shape[1]} axes; got shape "
            f"{np.shape(mask)}."
        )
    keep = live_axes(z) if mask is None else live_axes(z) & np.asarray(mask, dtype=bool)
    kept = z[:, keep].astype(np.float64)
    return np.asarray((kept - kept.mean(axis=0)) / kept.std(axis=0))


def _one_to_one(strength: Float[np.ndarray, "axes others"]) -> float:
    """Mean over both sides of max squared over sum; an axis without a relation counts 0."""
    sides = []
    for axis in (0, 1):
        total = strength.sum(axis=axis)
        squared = strength.max(axis=axis) ** 2
        sides.append(np.divide(squared, total, out=np.zeros_like(total), where=total > 0).mean())
    return float(np.mean(sides))


def _lasso_weights(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import Lasso

    weights = Lasso(alpha=0.1, random_state=0).fit(one, other).coef_
    return np.abs(np.reshape(weights, (other.shape[1], one.shape[1]))).T


def _rank_correlations(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    ranks = [rankdata(z, axis=0) for z in (one, other)]
    scaled = [(r - r.mean(axis=0)) / (r.std(axis=0) * len(r) ** 0.5) for r in ranks]
    return np.abs(scaled[0].T @ scaled[1])
