"""Differences of log-gamma and digamma that stay exact where the functions themselves cancel."""

from __future__ import annotations

import torch

# Stirling's series of log Gamma: B_2k / (2k (2k - 1)).
_STIRLING = (
    1 / 12,
    -1 / 360,
    1 / 1260,
    -1 / 1680,
    1 / 1188,
    -691 / 360360,
    1 / 156,
    -3617 / 122400,
)


def _precision(dtype: torch.dtype) -> tuple[int, int, int]:
    """Shift of the argument, terms of Stirling's series, terms of the series of log1p."""
    return (8, 8, 9) if dtype == torch.float64 else (4, 3, 4)


def _horner(coefficients: list[float], x: torch.Tensor) -> torch.Tensor:
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total.mul_(x).add_(coefficient)
    return total


def log1p_minus(y: torch.Tensor) -> torch.Tensor:
    r"""log(1 + y) - y for y >= 0, without cancellation near zero.

    With w = y / (2 + y), log(1 + y) = 2 artanh(w) and the leading terms cancel by hand.
    """
    terms = _precision(y.dtype)[2]
    w = y / (2.0 + y)
    square = w * w
    tail = _horner([1.0 / (2 * k + 3) for k in range(terms)], square)
    series = 2.0 * w * square * tail - w * y
    return torch.where(y < 0.25, series, torch.log1p(y) - y)


def softplus(u: torch.Tensor) -> torch.Tensor:
    """log(1 + exp u), exact at both ends; torch's own switches to u beyond a threshold."""
    return torch.relu(u) + torch.log1p(torch.exp(-u.abs()))


def softplus_minus_sigmoid(u: torch.Tensor) -> torch.Tensor:
    """log(1 + r) - r / (1 + r) with r = exp u, relative precision down to r = 0."""
    r = torch.exp(u.clamp(max=0.0))
    near_zero = r * r / (1.0 + r) + log1p_minus(r)
    return torch.where(u < 0.0, near_zero, softplus(u) - torch.sigmoid(u))


def log_rising_factorial(
    x: torch.Tensor, log_theta: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Rising factorial of theta and its slope, for real x > 0 and any theta > 0.

    .. math:: \log\Gamma(x + \theta) - \log\Gamma(\theta) - x \max(\log\theta, 0)
        \quad\text{and}\quad \theta\,(\psi(x + \theta) - \psi(\theta)) - x

    Both arguments are shifted upwards by the recurrence, then Stirling's series are subtracted term
    by term, so that nothing of the size of log Gamma is ever formed.
    """
    shift, terms, _ = _precision(x.dtype)
    theta = torch.exp(log_theta)
    z = x + theta
    a, b = theta + shift, z + shift
    y = x / a
    product, harmonic = torch.ones_like(x), torch.zeros_like(x)
    for k in range(1, shift):
        product = product * (1.0 + x / (theta + k))
        harmonic = harmonic + 1.0 / ((z + k) * (theta + k))
    whole = theta.clamp(min=1.0)
    inverse_a, inverse_b = 1.0 / a, 1.0 / b
    square_a, square_b = inverse_a * inverse_a, inverse_b * inverse_b
    stirling = list(_STIRLING[:terms])
    log_ratio = (
        x * torch.log1p((a - whole) / whole)
        + (b - 0.5) * torch.log1p(y)
        - x
        + (inverse_b * _horner(stirling, square_b) - inverse_a * _horner(stirling, square_a))
        - (torch.log(z) - log_theta)
        - torch.log(product)
    )
    slopes = [-(2 * k + 1) * c for k, c in enumerate(stirling)]
    digamma = square_b * _horner(slopes, square_b) - square_a * _horner(slopes, square_a)
    slope = theta * (log1p_minus(y) + 0.5 * x * inverse_a * inverse_b + digamma) + x * (
        1.0 / z + theta * harmonic - shift * inverse_a
    )
    return log_ratio, torch.where(x == 1.0, 0.0, slope)  # psi(1 + theta) - psi(theta) = 1 / theta
