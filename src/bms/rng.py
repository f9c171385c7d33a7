"""Named random streams: Philox4x32-10 keyed by (seed, stream name), with our own inverse transform.

A draw in one stream never moves another stream, so adding a draw somewhere does not reshuffle the
rest; and no bit depends on the processor, because only integer and correctly rounded arithmetic is
used. The C side is ext/common/philox.h."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np

_M0, _M1, _W0, _W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
_MASK = 0xFFFFFFFF


def stream_key(seed: int, name: str) -> int:
    """64-bit key of a stream: FNV-1a over the seed's 8 bytes and the name, then mixed (splitmix64
    finaliser)."""
    value = 0xCBF29CE484222325
    for byte in (seed & (2**64 - 1)).to_bytes(8, "little") + name.encode():
        value = ((value ^ byte) * 0x100000001B3) & (2**64 - 1)
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & (2**64 - 1)
    return value ^ value >> 31


def philox(key: int, low: int, high: int = 0) -> tuple[int, int, int, int]:
    """One block of four 32-bit words for a 128-bit counter."""
    k0, k1 = key & _MASK, key >> 32
    c0, c1, c2, c3 = low & _MASK, low >> 32 & _MASK, high & _MASK, high >> 32 & _MASK
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _MASK, (p0 >> 32) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


class Stream:
    """Draws from one named stream.

    >>> Stream(1, "spread").unit() == Stream(1, "spread").unit()
    True
    """

    def __init__(self, seed: int, name: str) -> None:
        self.key, self.counter = stream_key(seed, name), 0

    def unit(self) -> float:
        """Uniform in (0, 1), 53 bits."""
        words = philox(self.key, self.counter)
        self.counter += 1
        return ((((words[0] << 32) | words[1]) >> 11) + 0.5) / 9007199254740992.0

    def below(self, n: int) -> int:
        """Uniform integer in [0, n)."""
        return min(int(self.unit() * n), n - 1)

    def normal(self) -> float:
        """Standard normal by inversion (Acklam's rational approximation, relative error 1.15e-9),
        bounded at +-4."""
        return min(4.0, max(-4.0, _normal_quantile(self.unit())))

    def normals(self, n: int) -> np.ndarray:
        """n standard normals, shape (n,)."""
        return np.array([self.normal() for _ in range(n)])


_A = (
    -3.969683028665376e01,
    2.209460984245205e02,
    -2.759285104469687e02,
    1.383577518672690e02,
    -3.066479806614716e01,
    2.506628277459239e00,
)
_B = (
    -5.447609879822406e01,
    1.615858368580409e02,
    -1.556989798598866e02,
    6.680131188771972e01,
    -1.328068155288572e01,
)
_C = (
    -7.784894002430293e-03,
    -3.223964580411365e-01,
    -2.400758277161838e00,
    -2.549732539343734e00,
    4.374664141464968e00,
    2.938163982698783e00,
)
_D = (7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e00, 3.754408661907416e00)


def _horner(coefficients: tuple[float, ...], x: float) -> float:
    value = 0.0
    for c in coefficients:
        value = value * x + c
    return value


def _normal_quantile(p: float) -> float:
    if p > 0.5:
        return -_normal_quantile(1.0 - p)
    if p < 0.02425:
        q = float(np.sqrt(-2.0 * exact_log(p)))
        return _horner(_C, q) / (_horner(_D, q) * q + 1.0)
    q = p - 0.5
    r = q * q
    return _horner(_A, r) * q / (_horner(_B, r) * r + 1.0)


def exact_exp(x: float) -> float:
    """Correctly rounded e**x: tables that end up in hashed state must not depend on the machine's
    libm."""
    with localcontext() as context:
        context.prec = 40
        return float(Decimal(x).exp())


def exact_log(x: float) -> float:
    """Correctly rounded natural logarithm of x > 0."""
    with localcontext() as context:
        context.prec = 40
        return float(Decimal(x).ln())


def exact_pow(x: float, y: float) -> float:
    """Correctly rounded x**y for x > 0."""
    with localcontext() as context:
        context.prec = 40
        return float((Decimal(x).ln() * Decimal(y)).exp())
