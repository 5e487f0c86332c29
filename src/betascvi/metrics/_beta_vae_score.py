"""The disentanglement score of the beta-VAE paper."""

from __future__ import annotations

import warnings
from types import MappingProxyType
from typing import Any

import numpy as np

from betascvi._errors import UndefinedScoreError
from betascvi._results import Score
from betascvi._whole_numbers import refuse_count
from betascvi.metrics._inputs import Flags
from betascvi.metrics._sampling import Draws, FactorSampler, draw_chunks, make_draws


def beta_vae_score(
    z: np.ndarray | FactorSampler,
    factors: Any = None,
    discrete: Flags = None,
    n_bins: int = 20,
    *,
    circular: Flags = None,
    batch_size: int = 64,
    n_train: int = 10_000,
    seed: int = 0,
) -> Score:
    r"""Accuracy of naming the factor that pairs of cells agree on.

    .. math::
        \delta_i = \frac{1}{B} \sum_b |z^{(1)}_{bi} - z^{(2)}_{bi}|, \qquad
        \mathrm{score} = p\left(\arg\max_j\, (W \delta + b)_j = j^*\right)

    for :math:`B` pairs that share factor :math:`j^*`; :math:`W, b` a logistic regression
    (section 3 of :cite:p:`Higgins17`).

    Parameters
    ----------
    z
        Embedding, (cells, axes); or a simulator with settable factors
        (``sample_factors(n, rng)`` and ``embed(factors, rng)``), then ``factors`` stays None.
    factors
        Two factors or more: (cells, factors) array, a list of columns, a data frame or coded
        factors; cells without a label for each are left out.
    discrete
        Whether a factor is made of levels: one bool, or one per factor. ``None`` reads floats
        as continuous and everything else as levels.
    n_bins
        Equal-width bins in which a continuous or circular factor counts as shared.
    circular
        Whether a factor is an angle in radians: one bool, or one per factor.
    batch_size
        Pairs averaged for one point, :math:`B`.
    n_train
        Points to fit on; half as many more are held out.
    seed
        Of the draws.

    Returns
    -------
    Score, the accuracy on held-out points; chance is 1 / factors. ``parts`` hold
    ``train_accuracy`` and ``chance``, ``per_factor`` the accuracy for each.

    Notes
    -----
    A random code scores chance. It is easy: most rotations of a perfect code score above 0.9,
    so a high value says little and a low one much. From labelled cells the partner is drawn among
    the cells of the same level, which is the published procedure where the factors are
    independent in the data; correlated factors are named for each other.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> levels = np.random.default_rng(0).integers(4, size=(1000, 2))
    >>> float(bs.metrics.beta_vae_score(levels.astype(float), levels, n_train=500))
    1.0
    """
    from sklearn.linear_model import LogisticRegression

    refuse_count("batch_size", batch_size)
    refuse_count("n_train", n_train)
    rng = np.random.default_rng(seed)
    draws = make_draws(z, factors, (discrete, circular, n_bins), rng, "beta_vae_score")
    points, shared = _points(draws, batch_size, n_train, rng)
    if len(np.unique(shared)) < 2:
        raise UndefinedScoreError(
            f"all n_train = {n_train} points to fit on share one factor by chance; ask for more."
        )
    asked, truth = _points(draws, batch_size, max(1, n_train // 2), rng)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="lbfgs failed to converge")
        reader = LogisticRegression(max_iter=1000).fit(points, shared)
    is_right = reader.predict(asked) == truth
    counts = np.bincount(truth, minlength=draws.n_factors)
    per_factor = np.bincount(truth, is_right, minlength=draws.n_factors) / np.maximum(counts, 1)
    parts = {
        "train_accuracy": float(reader.score(points, shared)),
        "chance": 1 / draws.n_factors,
    }
    return Score(
        "beta_vae_score", float(is_right.mean()), per_factor, None, MappingProxyType(parts)
    )


def _points(
    draws: Draws, size: int, n_points: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean absolute differences, and the factor that each point's pairs agree on."""
    shared = rng.integers(draws.n_factors, size=n_points)
    points, start = [], 0
    for n in draw_chunks(n_points, size):
        one, other = draws.pairs(shared[start : start + n], size, rng)
        points.append(np.abs(one - other).mean(axis=1))
        start += n
    return np.concatenate(points), shared
