"""Compiled kernel: negative binomials under a softmax, one row in a core's cache at a time.

Each row is read from memory once and its gradient written once; per dense entry there is one
exponential, one logarithm and one division. Rows are dealt out in blocks that do not depend on the
number of threads, so that neither does the result.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, prange

from betascvi.likelihoods._vector_math import RELAXED, exp_of_negative, log1p_of_positive

N_BLOCKS = 8
_LANES = 32
_STRIP = 1024  # genes added up in single precision before their sum is added in double
_FEW = 12.0  # counts up to this have their rising factorial multiplied out
_FULL = 1e100  # a product whose logarithm is due
_Array = np.ndarray[Any, Any]
_Two = tuple[_Array, _Array]


@njit(fastmath=RELAXED, error_model="numpy", cache=True)
def _exponentials(logits: _Array, largest: np.float32, share: _Array) -> np.float32:
    total = np.float32(0.0)
    for g in range(logits.shape[0]):
        part = exp_of_negative(logits[g] - largest)
        share[g] = part
        total += part
    return total


@njit(fastmath=RELAXED, error_model="numpy", cache=True)
def _largest(logits: _Array) -> np.float32:
    """Largest logit, lane by lane; a NaN shows later, in the sum of the exponentials."""
    lanes = np.full(_LANES, -np.inf, np.float32)
    for start in range(0, logits.shape[0], _LANES):
        strip = logits[start : start + _LANES]
        for g in range(strip.shape[0]):
            lanes[g] = strip[g] if strip[g] > lanes[g] else lanes[g]
    return lanes.max()


@njit(fastmath=RELAXED, error_model="numpy", cache=True)
def _costs(
    mu: _Array, rate: np.float32, theta: _Array, inverse: _Array, cost: _Array, slope: _Array,
    by_theta: _Array, weight: np.float32,
) -> tuple[float, np.float32]:  # fmt: skip
    """Write down theta log(1 + mu / theta) and its slope by log mu; the sums of both."""
    total, slopes = 0.0, np.float32(0.0)
    for g in range(mu.shape[0]):
        scale = theta[g]
        log_whole, rest = log1p_of_positive(mu[g] * rate * inverse[g])
        by_theta[g] += weight * scale * rest
        by_rate = scale * (log_whole - rest)
        slope[g] = by_rate
        cost[g] = scale * log_whole
        total += np.float64(cost[g])
        slopes += by_rate
    return total, slopes


@njit(fastmath=RELAXED, error_model="numpy", cache=True)
def _dense_part(
    logits: _Array, library: float, dispersion: _Two, share: _Array, cost: _Array, slope: _Array,
    by_theta: _Array, weight: np.float32,
) -> tuple[float, float, np.float32, float]:  # fmt: skip
    """Cost and slope of a row of zeros; then the largest logit and the sum of exponentials."""
    largest = _largest(logits)
    total = 0.0
    for start in range(0, logits.shape[0], _STRIP):
        end = start + _STRIP
        total += _exponentials(logits[start:end], largest, share[start:end])
    rate = np.float32(library / total)
    theta, inverse = dispersion
    costs, slopes = 0.0, 0.0
    for start in range(0, logits.shape[0], _STRIP):
        end = start + _STRIP
        part = _costs(
            share[start:end], rate, theta[start:end], inverse[start:end], cost[start:end],
            slope[start:end], by_theta[start:end], weight,
        )  # fmt: skip
        costs += part[0]
        slopes += part[1]
    return costs, slopes, largest, total


@njit(error_model="numpy", cache=True)
def _rising_of_few(x: float, theta: float) -> tuple[float, float]:
    """Rising factorial of theta over its power for a small integer, and its slope by log theta."""
    inverse, product, slope = 1.0 / theta, 1.0, 0.0
    for k in range(1, int(x)):
        product *= 1.0 + k * inverse
        slope -= k / (theta + k)
    return product, slope


@njit(error_model="numpy", cache=True)
def _likelihood_of_many(x: float, log_mu: float, theta: float) -> tuple[float, float]:
    r"""Log-likelihood but for log x!, for large and for fractional x; its gain's slope by log theta.

    .. math:: \log\Gamma(x + \theta) - \log\Gamma(\theta) + x \log\frac{r}{1 + r}
        - \theta \log(1 + r)

    The last two terms cancel but for a few nats, so that both need double precision.
    """
    far, digamma_far = _log_gamma(x + theta)
    near, digamma_near = _log_gamma(theta)
    log_ratio = log_mu - math.log(theta)
    ratio = math.exp(log_ratio)
    log_whole = math.log1p(ratio)
    if x < 1e-3 * theta:  # the difference of digammas cancels; this is exact to (x / theta)^2
        slope = 0.5 * x * (1.0 - x) / (theta + (2.0 * x - 1.0) / 3.0) + x * ratio / (1.0 + ratio)
    else:
        slope = theta * (digamma_far - digamma_near) - x / (1.0 + ratio)
    return far - near + x * (log_ratio - log_whole) - theta * log_whole, slope


@njit(error_model="numpy", cache=True)
def _log_gamma(z: float) -> tuple[float, float]:
    """Logarithm of Gamma less its constant, and digamma: Stirling's series at eight or more."""
    shift, harmonic = 1.0, 0.0
    while z < 8.0:
        shift *= z
        harmonic += 1.0 / z
        z += 1.0
    inverse = 1.0 / z
    square = inverse * inverse
    log_z = math.log(z)
    value = (z - 0.5) * log_z - z - math.log(shift)
    value += inverse * (1 / 12 + square * (-1 / 360 + square * (1 / 1260 - square / 1680)))
    series = 1 / 12 + square * (-1 / 120 + square * (1 / 252 - square / 240))
    return value, log_z - 0.5 * inverse - square * series - harmonic


@njit(fastmath=RELAXED, error_model="numpy", cache=True)
def _odds_at_counts(
    col: _Array, count: _Array, share: _Array, rate: np.float32, inverse: _Array, terms: _Array
) -> float:
    """Fill ``terms`` with log(1 + r), r and x / (1 + r) at r = mu / theta; the sum of the last."""
    total = 0.0
    for i in range(col.shape[0]):
        g = col[i]
        ratio = share[g] * rate * inverse[g]
        by_rate = count[i] / (np.float32(1.0) + ratio)
        terms[0, i] = log1p_of_positive(ratio)[0]
        terms[1, i] = ratio
        terms[2, i] = by_rate
        total += by_rate
    return total


@njit(error_model="numpy", cache=True)
def _sparse_part(
    col: _Array, count: _Array, log_mu: _Array, theta: _Array, dense: _Two, by_theta: _Array,
    weight: np.float32, terms: _Array,
) -> float:  # fmt: skip
    """Add what counts change to the dense part's slopes; their log-likelihood's gain over zeros."""
    cost, slope = dense
    gain, product = 0.0, 1.0
    for i in range(col.shape[0]):
        g, x, ratio = col[i], np.float64(count[i]), terms[1, i]
        slope[g] -= terms[2, i]
        own = ratio * terms[2, i]
        if x == 1.0:
            gain += log_mu[i] - terms[0, i]
        elif x <= _FEW and x == math.floor(x):
            gain += x * (log_mu[i] - terms[0, i])
            factor, by_scale = _rising_of_few(x, np.float64(theta[g]))
            own += np.float32(by_scale)
            product *= factor
            if product > _FULL:
                gain += math.log(product)
                product = 1.0
        else:
            value, by_scale = _likelihood_of_many(x, log_mu[i], np.float64(theta[g]))
            gain += value + np.float64(cost[g])  # what the dense part has for it
            own = np.float32(by_scale)
        by_theta[g] -= weight * own
    return gain + math.log(product)


@njit(fastmath=RELAXED, error_model="numpy", cache=True)
def _to_logits(slope: _Array, mu: _Array, factor: np.float32, weight: np.float32) -> None:
    for g in range(slope.shape[0]):
        slope[g] = weight * (slope[g] - factor * mu[g])


@njit(error_model="numpy", cache=True)
def _evaluate_block(
    cells: tuple[int, int], logits: _Array, library: _Array, dispersion: _Two, weight: _Array,
    counts: tuple[_Array, _Array, _Array], out: tuple[_Array, _Array, _Array],
) -> None:  # fmt: skip
    bounds, cols, values = counts
    nll, slope, by_theta = out
    share = np.empty(logits.shape[1], np.float32)
    cost = np.empty(logits.shape[1], np.float32)
    terms = np.empty((3, logits.shape[1]), np.float32)
    theta, inverse = dispersion
    by_theta[:] = 0.0
    for cell in range(cells[0], cells[1]):
        entries = slice(bounds[cell], bounds[cell + 1])
        col, count = cols[entries], values[entries]
        costs, slopes, largest, total = _dense_part(
            logits[cell], library[cell], dispersion, share, cost, slope[cell], by_theta,
            weight[cell],
        )  # fmt: skip
        rate = library[cell] / total
        fewer = _odds_at_counts(col, count, share, np.float32(rate), inverse, terms)
        log_mu = logits[cell][col] + (math.log(rate) - largest)
        dense = cost, slope[cell]
        gain = _sparse_part(col, count, log_mu, theta, dense, by_theta, weight[cell], terms)
        nll[cell] = costs - gain
        _to_logits(slope[cell], share, np.float32((slopes - fewer) / total), weight[cell])


@njit(error_model="numpy", cache=True)
def evaluate_serially(
    logits: _Array, library: _Array, dispersion: _Two, weight: _Array,
    counts: tuple[_Array, _Array, _Array], out: tuple[_Array, _Array, _Array],
) -> None:  # fmt: skip
    """Fill ``out``: value per cell less log x!, weighted slopes by logits and by log theta.

    ``dispersion`` is theta and 1 / theta; ``counts`` are where each cell's entries begin and end,
    genes, values; the slopes by log theta come as one sum for each of ``N_BLOCKS`` blocks of cells.
    """
    nll, slope, by_theta = out
    n = logits.shape[0]
    for block in range(N_BLOCKS):
        cells = block * n // N_BLOCKS, (block + 1) * n // N_BLOCKS
        part = nll, slope, by_theta[block]
        _evaluate_block(cells, logits, library, dispersion, weight, counts, part)


@njit(error_model="numpy", cache=True, parallel=True)
def evaluate_in_parallel(
    logits: _Array, library: _Array, dispersion: _Two, weight: _Array,
    counts: tuple[_Array, _Array, _Array], out: tuple[_Array, _Array, _Array],
) -> None:  # fmt: skip
    """As :func:`evaluate_serially`, on any number of threads, with the same bits on each."""
    nll, slope, by_theta = out
    n = logits.shape[0]
    for block in prange(N_BLOCKS):
        cells = block * n // N_BLOCKS, (block + 1) * n // N_BLOCKS
        part = nll, slope, by_theta[block]
        _evaluate_block(cells, logits, library, dispersion, weight, counts, part)
