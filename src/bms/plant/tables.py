"""Look-up tables of the plant over uniform grids.

The compiled plant looks everything up linearly: open-circuit voltage and its temperature slope over
state of charge, resistances and rates over temperature, contact and critical current over stack
pressure. Here the tables are made, with correctly rounded exp and log and otherwise plain
arithmetic, so that the same cell gives the same bits on every machine. Results are cached, for
correct rounding is slow; the arrays that come back are shared and read-only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ..model import Conductivity
from ..rng import exact_exp, exact_pow
from ..units import BOLTZMANN_EV_PER_K, REFERENCE_K, kelvin

SOC_POINTS = 257
TEMPERATURE_POINTS, TEMPERATURE_LOW_DEGC, TEMPERATURE_STEP_K = 105, -60.0, 2.5
PRESSURE_POINTS = 257
PRESSURE_FLOOR_KPA = 5.0  # a power law has no value at zero force; a stack never hangs quite free

TEMPERATURES_DEGC = tuple(
    TEMPERATURE_LOW_DEGC + TEMPERATURE_STEP_K * k for k in range(TEMPERATURE_POINTS)
)


def _shared(values: Sequence[float]) -> np.ndarray:
    table = np.array(values, dtype=np.float64)
    table.setflags(write=False)
    return table


# ---- over state of charge ----


@lru_cache(maxsize=64)
def over_soc(soc_frac: tuple[float, ...], values: tuple[float, ...]) -> np.ndarray:
    """`values` given at rising `soc_frac` from 0 to 1, at 257 even points; shape (257,).

    Piecewise cubic that keeps the order of the values: where they rise the table rises, and it
    never overshoots them (Fritsch and Butland, SIAM J. Sci. Stat. Comput. 5 (1984) 300).
    """
    slopes = _slopes(soc_frac, values)
    table, piece = [], 0
    for k in range(SOC_POINTS):
        x = k / (SOC_POINTS - 1)
        while piece < len(soc_frac) - 2 and x > soc_frac[piece + 1]:
            piece += 1
        table.append(_hermite(soc_frac, values, slopes, piece, x))
    return _shared(table)


def _slopes(x: tuple[float, ...], y: tuple[float, ...]) -> list[float]:
    """Slope at each point: weighted harmonic mean of the two chords, zero at a turning point."""
    step = [b - a for a, b in pairwise(x)]
    chord = [(b - a) / h for (a, b), h in zip(pairwise(y), step, strict=True)]
    inner = []
    for k in range(1, len(x) - 1):
        if chord[k - 1] * chord[k] <= 0.0:
            inner.append(0.0)
            continue
        before, after = 2.0 * step[k] + step[k - 1], step[k] + 2.0 * step[k - 1]
        inner.append((before + after) / (before / chord[k - 1] + after / chord[k]))
    return [chord[0], *inner, chord[-1]]


def _hermite(
    x: tuple[float, ...], y: tuple[float, ...], slope: list[float], piece: int, at: float
) -> float:
    step = x[piece + 1] - x[piece]
    t = (at - x[piece]) / step
    rest = 1.0 - t
    low = y[piece] * (1.0 + 2.0 * t) + slope[piece] * step * t
    high = y[piece + 1] * (3.0 - 2.0 * t) - slope[piece + 1] * step * rest
    return low * rest * rest + high * t * t


# ---- over temperature ----


def arrhenius(activation_ev: float, temperature_degc: float) -> float:
    """Resistance over its value at 25 degC: exp(Ea/k (1/T - 1/298.15 K)); a rate takes -Ea."""
    inverse = 1.0 / kelvin(temperature_degc) - 1.0 / REFERENCE_K
    return exact_exp(activation_ev / BOLTZMANN_EV_PER_K * inverse)


@lru_cache(maxsize=256)
def resistance_over_temperature(activation_ev: float) -> np.ndarray:
    """Arrhenius multiplier of a resistance, -60 to 200 degC by 2.5 K, 1 at 25; shape (105,)."""
    return _shared([arrhenius(activation_ev, degc) for degc in TEMPERATURES_DEGC])


def rate_over_temperature(activation_ev: float) -> np.ndarray:
    """Arrhenius multiplier of a rate on the same grid: it rises with temperature; shape (105,)."""
    return resistance_over_temperature(-activation_ev)


@lru_cache(maxsize=64)
def conductivity_over_temperature(law: Conductivity) -> np.ndarray:
    """Multiplier of the electrolyte's resistance on the same grid; shape (105,).

    Arrhenius or VTF, see model.Conductivity.
    """
    if law.law == "arrhenius":
        return resistance_over_temperature(law.activation_ev)
    reference = vtf(law, 25.0)
    return _shared([vtf(law, degc) / reference for degc in TEMPERATURES_DEGC])


def vtf(law: Conductivity, temperature_degc: float) -> float:
    """Resistance over its value at the melting point: VTF in the melt, Arrhenius below."""
    now, melting = kelvin(temperature_degc), kelvin(law.melting_degc)
    if now < melting:
        return exact_exp(law.activation_ev / BOLTZMANN_EV_PER_K * (1.0 / now - 1.0 / melting))
    return exact_exp(law.vtf_b_k / (now - law.vtf_t0_k) - law.vtf_b_k / (melting - law.vtf_t0_k))


# ---- over pressure ----


@lru_cache(maxsize=64)
def over_pressure(reference_kpa: float, exponent: float, maximum_kpa: float) -> np.ndarray:
    """(P / reference) ** exponent at 257 even points, 0 to `maximum_kpa`; shape (257,).

    Constant below 5 kPa.
    """
    if exponent == 0.0:
        return _shared([1.0] * PRESSURE_POINTS)
    step = maximum_kpa / (PRESSURE_POINTS - 1)
    return _shared(
        [
            exact_pow(max(PRESSURE_FLOOR_KPA, k * step) / reference_kpa, exponent)
            for k in range(PRESSURE_POINTS)
        ]
    )
