"""Where the rate of a VAE goes: into information about cells, or past the prior."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from betascvi._errors import UndefinedScoreError

MOST_EXACT = 20_000
"""Cells up to which every cell's own draw is looked at by default."""
_FEWEST_QUERIES = 2_000
_MOST_PAIRS = MOST_EXACT**2
_PAIRS_PER_BLOCK = 2_000_000  # 16 MB of float64


@dataclass(frozen=True, slots=True)
class InformationIdentity:
    """``rate = information + gap``, in nats per cell."""

    rate: float
    """E KL(q(z | x) || p(z)), closed form."""
    information: float
    """I(x; z) of the cells given; it cannot pass :attr:`ceiling`."""
    gap: float
    """KL(q(z) || p(z)) of the aggregate posterior to the prior."""
    unseen_information: float
    """Leave-one-out upper bound of I(x; z): each cell against the other cells' posteriors."""
    overlap: float
    """Share of draws at which the *other* cells' posteriors are denser than the prior."""
    standard_error: float
    """Of :attr:`information` and :attr:`gap` alike (they err in opposite directions)."""
    n_cells: int
    n_queries: int
    """Draws whose density under q(z) was evaluated."""
    is_exact: bool
    """Whether every cell was drawn from; else a sample of cells was."""

    @property
    def ceiling(self) -> float:
        """Log N: N cells cannot carry more information about which one they are."""
        return math.log(self.n_cells)


def information_identity(
    mean: Float[np.ndarray, "cells axes"],
    variance: Float[np.ndarray, "cells axes"],
    *,
    rng: np.random.Generator,
    n_queries: int | None = None,
) -> InformationIdentity:
    r"""Split the rate of Gaussian posteriors under a standard normal prior.

    .. math::
        \mathbb{E}_x \mathrm{KL}(q(z \mid x) \,\|\, p(z)) = I(x; z)
        + \mathrm{KL}(q(z) \,\|\, p(z)), \qquad q(z) = \frac1N \sum_n q(z \mid x_n)

    (Hoffman and Johnson, 2016). q(z) is evaluated over *all* N posteriors at every draw, in
    blocks of bounded memory; nothing is approximated but the expectation over draws.

    Parameters
    ----------
    mean
        Posterior means.
    variance
        Posterior variances.
    rng
        Draws the z at which q(z) is evaluated.
    n_queries
        Cells drawn from. By default all of them up to 20,000 cells (several draws each where
        cells are few); beyond, as many as keep the work at that of 20,000 cells, 2,000 at least.

    Returns
    -------
    The record, in nats per cell.

    Notes
    -----
    The rate is in closed form, and so are the means over all cells of log q(z | x) and
    log p(z): the sampled mean of log q(z) is corrected by regression on these two (control
    variates), so the two terms add up to the rate exactly and a sample of cells is nearly as
    good as all.

    I(x; z) of N cells is at most log N, 9.9 nats for 20,000: posteriors that no longer overlap
    all read log N and the rest of the rate is booked on the gap, whatever the prior. Where
    ``information`` touches ``ceiling``, read ``unseen_information``, which replaces q(z) by the
    mixture over the *other* cells (Poole et al., 2019) and has no ceiling.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> collapsed = information_identity(np.zeros((50, 2)), np.ones((50, 2)), rng=rng)
    >>> abs(collapsed.information) < 1e-9
    True
    """
    mean, variance = _checked(mean, variance)
    n_cells = len(mean)
    cells, is_exact = _cells_to_draw_from(n_cells, n_queries, rng)
    z = mean[cells] + np.sqrt(variance[cells]) * rng.standard_normal((len(cells), mean.shape[1]))
    log_q, log_q_of_others = _aggregate_log_density(z, cells, mean, variance)
    own = log_density(z, mean[cells], variance[cells])
    prior = -0.5 * (z**2 + math.log(2 * math.pi)).sum(1)
    # means over the posteriors of all cells, in closed form
    mean_own = -0.5 * (1.0 + np.log(2 * math.pi * variance)).sum(1).mean()
    mean_prior = -0.5 * (mean**2 + variance + math.log(2 * math.pi)).sum(1).mean()
    controls = np.stack([own - mean_own, prior - mean_prior], axis=1)
    aggregate, error = _corrected_mean(log_q, controls)
    others, _ = _corrected_mean(log_q_of_others, controls)
    return InformationIdentity(
        rate=float(mean_own - mean_prior),
        information=float(mean_own - aggregate),
        gap=float(aggregate - mean_prior),
        unseen_information=float(mean_own - others),
        overlap=float((log_q_of_others >= prior).mean()),
        standard_error=error,
        n_cells=n_cells,
        n_queries=len(cells),
        is_exact=is_exact,
    )


def log_density(z: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Log N(z; mean, variance) summed over axes, (draws,)."""
    return -0.5 * ((z - mean) ** 2 / variance + np.log(2 * math.pi * variance)).sum(1)


def _checked(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, variance = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    if mean.ndim != 2 or mean.shape != variance.shape or len(mean) < 2:
        raise UndefinedScoreError(
            "information_identity takes means and variances of one (cells, axes) shape with two "
            f"cells or more, got {mean.shape} and {variance.shape}."
        )
    if not (np.isfinite(mean).all() and np.isfinite(variance).all() and (variance > 0).all()):
        raise UndefinedScoreError(
            "posterior means must be finite and variances positive and finite; "
            f"{int((~np.isfinite(mean) | ~(variance > 0) | ~np.isfinite(variance)).sum())} are not."
        )
    return mean, variance


def _cells_to_draw_from(
    n_cells: int, n_queries: int | None, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " draws"], bool]:
    if n_queries is not None and n_queries < 2:
        raise ValueError(f"n_queries is at least 2, got {n_queries}.")
    if n_queries is None and n_cells <= MOST_EXACT:
        n_each = int(np.clip(_MOST_PAIRS // 16 // n_cells**2, 1, 16))
        return np.tile(np.arange(n_cells), n_each), True
    wanted = n_queries or max(_FEWEST_QUERIES, _MOST_PAIRS // n_cells)
    if wanted >= n_cells:
        return np.arange(n_cells), True
    return np.sort(rng.choice(n_cells, wanted, replace=False)), False


def _aggregate_log_density(
    z: np.ndarray, cells: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log q(z) at each draw, and the same without the cell the draw came from."""
    n_cells = len(mean)
    precision = 1.0 / variance
    shifted = mean * precision
    constant = (mean * shifted + np.log(2 * math.pi * variance)).sum(1)
    with_own, without = np.empty(len(z)), np.empty(len(z))
    size = max(1, _PAIRS_PER_BLOCK // n_cells)
    for start in range(0, len(z), size):
        rows = slice(start, start + size)
        # -((z - m)^2 / v + log 2 pi v) / 2 summed over axes, as two matrix products
        pairs = (z[rows] ** 2) @ precision.T
        pairs -= 2.0 * (z[rows] @ shifted.T)
        pairs += constant
        pairs *= -0.5
        drawn = np.arange(len(pairs)), cells[rows]
        own = pairs[drawn]
        pairs[drawn] = -np.inf
        highest = pairs.max(1)
        pairs -= highest[:, None]
        np.exp(pairs, out=pairs)
        others = highest + np.log(pairs.sum(1))
        with_own[rows] = np.logaddexp(others, own) - math.log(n_cells)
        without[rows] = others - math.log(n_cells - 1)
    return with_own, without


def _corrected_mean(values: np.ndarray, controls: np.ndarray) -> tuple[float, float]:
    """Mean of ``values`` less what the draws' controls are off their known mean (zero)."""
    centred = controls - controls.mean(0)
    slopes, *_ = np.linalg.lstsq(centred, values - values.mean(), rcond=None)
    left = values - controls @ slopes
    return float(left.mean()), float(left.std(ddof=1) / math.sqrt(len(left)))
