"""Rising factorials at many counts and few genes, in double precision, without allocation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# A block of each intermediate stays in a core's cache.
_BLOCK = 16_384
_LOG_ROOT_TWO_PI = 0.5 * np.log(2.0 * np.pi)


def rising_factorial(
    x: Doubles, col: NDArray[np.int64], log_theta: Doubles, with_slope: bool
) -> tuple[Doubles, Doubles]:
    r"""Rising factorial of theta relative to its power, and its slope by log theta.

    .. math:: \log\Gamma(x + \theta) - \log\Gamma(\theta) - x \log\theta
        \quad\text{and}\quad \theta\,(\psi(x + \theta) - \psi(\theta)) - x

    for counts ``x`` of the genes ``col``. In double precision the plain difference is good to 1e-7
    even at theta = 1e8.
    """
    theta = np.exp(log_theta)
    at_theta, slope_at_theta = _gamma(theta, with_slope)
    rising, slope = np.empty_like(x), np.empty_like(x)
    for start in range(0, len(x), _BLOCK):
        block = slice(start, start + _BLOCK)
        counts, genes = x[block], col[block]
        scale = theta[genes]
        value, digamma = _gamma(counts + scale, with_slope)
        value -= at_theta[genes]
        value -= counts * log_theta[genes]
        rising[block] = value
        if with_slope:
            digamma -= slope_at_theta[genes]
            digamma *= scale
            digamma -= counts
            slope[block] = digamma
    if with_slope and len(x) and theta.max() > 1e3:
        _mend_far(slope, x, theta[col])
    return rising, slope


def _gamma(z: Doubles, with_slope: bool) -> tuple[Doubles, Doubles]:
    """Logarithm of Gamma and digamma for z > 0 to 4e-8: Stirling's series, three terms at z + 4."""
    pair = z + 3.0
    pair *= z
    product = pair + 2.0
    product *= pair  # z (z + 1) (z + 2) (z + 3)
    shifted = z + 4.0
    inverse = 1.0 / shifted
    log_shifted = np.log(shifted)
    value = _series(inverse, (1 / 12, -1 / 360, 1 / 1260))
    value *= inverse
    value -= shifted
    value -= np.log(product)
    value += _LOG_ROOT_TWO_PI
    shifted -= 0.5
    shifted *= log_shifted
    value += shifted
    if not with_slope:
        return value, value
    slope = _series(inverse, (-1 / 12, 1 / 120, -1 / 252))
    slope *= inverse
    slope -= 0.5
    slope *= inverse
    slope += log_shifted
    pair += 1.0
    pair /= product
    pair *= 4.0 * z + 6.0
    slope -= pair
    return value, slope


def _series(inverse: Doubles, coefficients: tuple[float, float, float]) -> Doubles:
    """Three terms in the even powers of ``inverse``."""
    first, second, third = coefficients
    square = inverse * inverse
    total = square * third
    total += second
    total *= square
    total += first
    return total


def _mend_far(slope: Doubles, x: Doubles, theta: Doubles) -> None:
    """Where x << theta the difference cancels; this is exact to (x / theta) squared."""
    far = np.flatnonzero(x < 1e-3 * theta)
    x, theta = x[far], theta[far]
    slope[far] = 0.5 * x * (1.0 - x) / (theta + (2.0 * x - 1.0) / 3.0)
