"""The disentanglement score of the FactorVAE paper."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from betascvi._results import Score
from betascvi._whole_numbers import refuse_count
from betascvi.metrics._inputs import Flags, live_axes
from betascvi.metrics._sampling import Draws, FactorSampler, draw_chunks, make_draws

# disentanglement_lib estimates the spread of each axis from as many cells.
_N_FOR_SPREAD = 10_000


def factor_vae_score(
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
    r"""Accuracy of naming a fixed factor by the axis that moves least.

    .. math::
        i^* = \arg\min_i \frac{\mathrm{var}_B(z_i)}{\mathrm{var}(z_i)}, \qquad
        \mathrm{score} = p\left(\arg\max_j V_{j i^*} = j^*\right)

    for batches of :math:`B` cells that share a value of factor :math:`j^*`, with :math:`V` the
    votes of training batches (section 4 of :cite:p:`Kim18`).

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
        Equal-width bins in which a continuous or circular factor counts as fixed.
    circular
        Whether a factor is an angle in radians: one bool, or one per factor.
    batch_size
        Cells of one vote, :math:`B`.
    n_train
        Votes that decide which factor an axis stands for; half as many more are held out.
    seed
        Of the draws.

    Returns
    -------
    Score, the share of held-out votes named right; chance is 1 / factors. ``evidence`` is the
    table of training votes (axes x factors), ``parts`` hold ``train_accuracy``, ``chance`` and
    ``n_dead_axes``, ``per_factor`` the share for each.

    Notes
    -----
    A random code scores chance, most rotations of a perfect code above 0.9. An embedding that stores a factor twice scores 1; an axis that
    stores two factors costs one of them. Constant axes are left out of the vote; an embedding
    of nothing else scores 0. Labelled cells stand for the simulator only where factors are independent in the data, and rare
    levels give batches of few different cells.

    Examples
    --------
    >>> import numpy as np
    >>> import betascvi as bs
    >>> levels = np.random.default_rng(0).integers(4, size=(1000, 2))
    >>> float(bs.metrics.factor_vae_score(levels.astype(float), levels, n_train=500))
    1.0
    """
    refuse_count("batch_size", batch_size, least=2)  # an axis' variance within a batch
    refuse_count("n_train", n_train)
    rng = np.random.default_rng(seed)
    draws = make_draws(z, factors, (discrete, circular, n_bins), rng, "factor_vae_score")
    sample = draws.anything(_N_FOR_SPREAD, rng)
    is_live = live_axes(sample)
    spread = np.where(is_live, sample.var(axis=0, ddof=1), np.inf)
    chance = 1 / draws.n_factors
    if not is_live.any():
        parts = {"train_accuracy": 0.0, "chance": chance, "n_dead_axes": float(is_live.size)}
        return Score("factor_vae_score", 0.0, None, None, MappingProxyType(parts))
    votes = _votes(draws, batch_size, n_train, spread, rng)
    named = votes.argmax(axis=1)
    asked = _votes(draws, batch_size, max(1, n_train // 2), spread, rng)
    right = asked * (np.arange(draws.n_factors) == named[:, None])
    parts = {
        "train_accuracy": float(votes.max(axis=1).sum() / votes.sum()),
        "chance": chance,
        "n_dead_axes": float((~is_live).sum()),
    }
    per_factor = right.sum(axis=0) / np.maximum(asked.sum(axis=0), 1)
    value = float(right.sum() / asked.sum())
    return Score("factor_vae_score", value, per_factor, votes, MappingProxyType(parts))


def _votes(
    draws: Draws,
    size: int,
    n_votes: int,
    spread: Float[np.ndarray, " axes"],
    rng: np.random.Generator,
) -> Int[np.ndarray, "axes factors"]:
    """How often each axis moved least while each factor was held."""
    held = rng.integers(draws.n_factors, size=n_votes)
    votes = np.zeros((spread.size, draws.n_factors), dtype=np.intp)
    start = 0
    for n in draw_chunks(n_votes, size):
        chunk = held[start : start + n]
        relative = draws.batches(chunk, size, rng).var(axis=1, ddof=1) / spread
        relative[:, ~np.isfinite(spread)] = np.inf
        np.add.at(votes, (relative.argmin(axis=1), chunk), 1)
        start += n
    return votes
