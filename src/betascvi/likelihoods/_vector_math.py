"""exp and log1p in single precision that a compiler can run on whole registers.

The functions of a C library are called for one number at a time. These are polynomials on a reduced
argument (Cephes' coefficients; Moshier, 1989), good to 2e-7 of their value, and numba turns a loop
over them into vector instructions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Sums may be reordered and products fused; NaN and infinity keep their meaning.
RELAXED = {"contract", "reassoc", "nsz", "arcp"}

_F, _I = np.float32, np.int32
_LOG2_E = _F(1.4426950408889634)
_LN2 = _F(0.6931471805599453)
_LN2_HIGH, _LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)
_LOWEST = _F(-87.0)
_HALF, _ONE = _F(0.5), _F(1.0)
_MANTISSA, _BIAS = _I(23), _I(127)
_ROOT_HALF = _I(0x3F3504F3)  # bits of sqrt(1/2)
_E0, _E1, _E2 = _F(1.9875691500e-4), _F(1.3981999507e-3), _F(8.3334519073e-3)
_E3, _E4, _E5 = _F(4.1665795894e-2), _F(1.6666665459e-1), _F(5.0000001201e-1)
_L0, _L1, _L2 = _F(7.0376836292e-2), _F(-1.1514610310e-1), _F(1.1676998740e-1)
_L3, _L4, _L5 = _F(-1.2420140846e-1), _F(1.4249322787e-1), _F(-1.6668057665e-1)
_L6, _L7, _L8 = _F(2.0000714765e-1), _F(-2.4999993993e-1), _F(3.3333331174e-1)


@intrinsic
def _float_of_bits(_context: Any, _bits: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def _bits_of_float(_context: Any, _value: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@njit(fastmath=RELAXED, inline="always", error_model="numpy")
def exp_of_negative(x: np.float32) -> np.float32:
    """Exponential of x <= 0; below -87 the smallest normal number."""
    x = _LOWEST if x < _LOWEST else x  # a NaN passes
    n = _I(x * _LOG2_E - _HALF)
    x = x - _F(n) * _LN2_HIGH - _F(n) * _LN2_LOW
    y = ((((_E0 * x + _E1) * x + _E2) * x + _E3) * x + _E4) * x + _E5
    return (y * x * x + x + _ONE) * _float_of_bits(_I((n + _BIAS) << _MANTISSA))


@njit(fastmath=RELAXED, inline="always", error_model="numpy")
def log1p_of_positive(r: np.float32) -> tuple[np.float32, np.float32]:
    """log(1 + r) for r >= 0, and log(1 + r) - r / (1 + r), both without cancellation."""
    u = _ONE + r
    bits = _bits_of_float(u)
    k = (bits - _ROOT_HALF) >> _MANTISSA
    f = r if k == _I(0) else _float_of_bits(_I(bits - (k << _MANTISSA))) - _ONE
    y = ((((_L0 * f + _L1) * f + _L2) * f + _L3) * f + _L4) * f + _L5
    y = ((y * f + _L6) * f + _L7) * f + _L8
    curve = f * f * (f * y - _HALF)  # log(1 + f) - f
    value = f + curve + _F(k) * _LN2
    inverse = _ONE / u
    rest = curve + r * r * inverse if k == _I(0) else value - r * inverse
    return value, rest
