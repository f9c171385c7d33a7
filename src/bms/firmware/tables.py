"""Tables of the configuration. Correctly rounded functions only: equal bytes on every machine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from bms import _firmware
from bms.model import Conductivity, Electric, Pack
from bms.rng import exact_exp, exact_log, exact_pow
from bms.units import BOLTZMANN_EV_PER_K, REFERENCE_K, kelvin

_CONSTANTS: dict[str, int] = _firmware.config_constants()
NTC_OHM, NTC_B_K, PULL_UP_OHM = 10_000.0, 3435.0, 10_000.0  # as wired to the monitor chips
SPREADS = (0.01, 0.08, 0.25)  # of charge; estimator.h
SLOPE_LEAST_V = 1e-3  # an OCV that rises says at least so much
PRESSURE_FLOOR_FRAC = 0.05  # of the reference: a power law has no value at zero force


def temperatures_degc() -> list[float]:
    """Grid of all tables over temperature, shape (65,)."""
    low, step = _CONSTANTS["temperature_min_cdegc"], _CONSTANTS["temperature_step_cdegc"]
    return [(low + step * k) / 100.0 for k in range(_CONSTANTS["temperature_steps"] + 1)]


@lru_cache(maxsize=64)
def arrhenius(activation_ev: float) -> np.ndarray:
    """Resistance over its value at 25 degC, on temperatures_degc()."""
    scale = activation_ev / BOLTZMANN_EV_PER_K
    return np.array(
        [exact_exp(scale * (1.0 / kelvin(t) - 1.0 / REFERENCE_K)) for t in temperatures_degc()]
    )


def conductivity(law: Conductivity) -> np.ndarray:
    """The same for the electrolyte: Arrhenius, or VTF above melting and Arrhenius below."""
    if law.law == "arrhenius":
        return arrhenius(law.activation_ev)
    melting_k = kelvin(law.melting_degc)

    def over_melting(t_k: float) -> float:
        if t_k < melting_k:
            return exact_exp(law.activation_ev / BOLTZMANN_EV_PER_K * (1.0 / t_k - 1.0 / melting_k))
        b, t0 = law.vtf_b_k, law.vtf_t0_k
        return exact_exp(b / (t_k - t0) - b / (melting_k - t0))

    at_25 = over_melting(REFERENCE_K)
    return np.array([over_melting(kelvin(t)) / at_25 for t in temperatures_degc()])


@lru_cache(maxsize=64)
def over_pressure(reference_kpa: float, exponent: float, maximum_kpa: float) -> np.ndarray:
    """(P / reference) ** exponent for P from 0 to maximum_kpa, shape (33,); held below 5 %."""
    steps = _CONSTANTS["pressure_steps"]
    if exponent == 0.0 or reference_kpa <= 0.0:
        return np.ones(steps + 1)
    shares = [maximum_kpa * k / steps / reference_kpa for k in range(steps + 1)]
    return np.array([exact_pow(max(share, PRESSURE_FLOOR_FRAC), exponent) for share in shares])


def ocv(electric: Electric) -> tuple[np.ndarray, np.ndarray]:
    """(OCV in V, entropic term in V/K) over charge from 0 to 1, each of shape (201,)."""
    soc = np.arange(_CONSTANTS["soc_steps"] + 1) / _CONSTANTS["soc_steps"]
    volts = np.interp(soc, electric.ocv_soc_frac, electric.ocv_v)
    return volts, np.interp(soc, electric.ocv_soc_frac, electric.entropic_v_per_k)


def straightened(volts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The OCV as a line through each point, fitted over each of SPREADS of charge.

    Returns (slope in V, root mean square distance in V), spread after spread, each of shape (603,).
    """
    steps = len(volts) - 1
    slopes, distances = [], []
    for half in SPREADS:
        reach = round(half * steps)
        for k in range(steps + 1):
            near = range(max(0, k - reach), min(steps, k + reach) + 1)
            dz = [(n - k) / steps for n in near]
            dv = [float(volts[n] - volts[k]) for n in near]
            product = sum(x * y for x, y in zip(dz, dv, strict=True))
            slope = max(product / sum(x * x for x in dz), SLOPE_LEAST_V)
            square = sum((y - slope * x) ** 2 for x, y in zip(dz, dv, strict=True))
            slopes.append(slope)
            distances.append((square / len(dz)) ** 0.5)
    return np.array(slopes), np.array(distances)


@lru_cache(maxsize=1)
def ntc_cdegc(steps: int) -> np.ndarray:
    """Temperature in 0.01 degC over the ratio NTC / (NTC + pull-up) = k / steps, ends held."""
    values = []
    for k in range(steps + 1):
        ratio = min(max(k / steps, 0.5 / steps), 1.0 - 0.5 / steps)
        ohm = PULL_UP_OHM * ratio / (1.0 - ratio)
        t_k = 1.0 / (1.0 / REFERENCE_K + exact_log(ohm / NTC_OHM) / NTC_B_K)
        values.append(round((t_k - 273.15) * 100.0))
    return np.array(values)


def neighbours(places: Sequence[int], channels: int) -> tuple[list[int], list[int], list[float]]:
    """For each channel: thermistor at or below, thermistor at or above, weight of the latter.

    >>> neighbours([0, 4], 6)[2]
    [0.0, 0.25, 0.5, 0.75, 0.0, 0.0]
    """
    order = sorted(range(len(places)), key=lambda k: places[k])
    left, right, share = [], [], []
    for channel in range(channels):
        below = [k for k in order if places[k] <= channel] or [order[0]]
        above = [k for k in order if places[k] >= channel] or [order[-1]]
        a, b = below[-1], above[0]
        width = places[b] - places[a]
        left.append(a)
        right.append(b)
        share.append((channel - places[a]) / width if width > 0 and places[a] <= channel else 0.0)
    return left, right, share


def scan_period_ms(pack: Pack) -> int:
    """Between two readings of a cell (ext/firmware/afe.c)."""
    modules = -(-pack.topology.blocks // pack.topology.blocks_per_module)
    return 20 if modules <= 12 else 40


def frozen_after(pack: Pack, channels: int) -> int:
    """Equal readings in a row of `channels` converters of the pack's chips after which they count
    as frozen: chance does it once in 1e7 h. At least 3; 0 where noise is too small to move them."""
    noise_v = pack.sensors.cell_voltage_noise_v
    if noise_v < 1.5e-4:  # below a step of 190.73 uV a healthy channel may well repeat itself
        return 0
    # The likeliest code is met with probability step / (sigma sqrt(2 pi)).
    moves = exact_log(noise_v / 1.9073e-4 * 2.5066)
    chances = exact_log(pack.topology.blocks * 3.6e6 / scan_period_ms(pack) * 1e7)
    return max(3, math.ceil(chances / (moves * channels)))
