"""Constants, small conversions and the way quantities are written for people.

Temperatures are in degC everywhere; kelvin appears only inside rate laws, through `kelvin`.
"""

from __future__ import annotations

import math

GAS_J_PER_MOL_K = 8.31446261815324  # CODATA 2018, exact
FARADAY_C_PER_MOL = 96485.33212331  # CODATA 2018, exact
BOLTZMANN_EV_PER_K = 8.617333262145179e-05  # CODATA 2018, exact ratio k/e
ZERO_DEGC_K = 273.15
REFERENCE_K = 298.15  # 25 degC, where every resistance and rate of a cell file holds
SECONDS_PER_MONTH = 30.4375 * 86400.0

LITHIUM_MELTS_DEGC = 180.5
LITHIUM_UM_PER_MAH_CM2 = 4.85  # thickness plated: 3.6 C x 13.0 cm3/mol / (96485 C/mol)


def kelvin(temperature_degc: float) -> float:
    """Absolute temperature."""
    return temperature_degc + ZERO_DEGC_K


def celsius(temperature_k: float) -> float:
    """Temperature in degC from kelvin."""
    return temperature_k - ZERO_DEGC_K


def arrhenius(activation_ev: float, temperature_k: float) -> float:
    """How many times faster than at 25 degC. For tables and plots (libm), never for simulation.

    >>> round(1 / arrhenius(0.36, 273.15), 1)
    3.6
    """
    return math.exp(activation_ev / BOLTZMANN_EV_PER_K * (1.0 / REFERENCE_K - 1.0 / temperature_k))


def watt_hours(charge_ah: float, voltage_v: float) -> float:
    """Energy of a charge at a mean voltage."""
    return charge_ah * voltage_v


# Last part of a name -> unit for people.
SUFFIXES: dict[str, str] = {
    "a": "A", "a2s": "A²s", "ah": "Ah", "c": "C", "cm2": "cm²", "cycle": "cycle", "degc": "°C",
    "ev": "eV", "f": "F", "frac": "", "j": "J", "k": "K", "kg": "kg", "kohm": "kΩ", "kpa": "kPa",
    "m": "m", "ma": "mA", "mah": "mAh", "month": "month", "ms": "ms", "ohm": "Ω", "s": "s",
    "sqrt-s": "√s", "um": "µm", "v": "V", "w": "W", "wh": "Wh",
}  # fmt: skip


def unit_of(name: str) -> str:
    """The unit a name carries at its end, for people; "" when it carries none.

    >>> unit_of("capacity_ah"), unit_of("heat_capacity_j_per_kg_k"), unit_of("plating_ma_per_cm2")
    ('Ah', 'J/(kg K)', 'mA/cm²')
    >>> unit_of("layers"), unit_of("soc_frac"), unit_of("rate_per_s")
    ('', '', '1/s')
    """
    head, *rates = name.replace("sqrt_s", "sqrt-s").split("_per_")
    top = SUFFIXES.get(head.rsplit("_", 1)[-1], "") if rates or "_" in head else ""
    if not rates:
        return top
    below = [SUFFIXES.get(part) for part in rates[-1].split("_")]
    if None in below:  # `blocks_per_module`: a count
        return top
    joined = " ".join(part for part in below if part)
    return f"{top or '1'}/({joined})" if len(below) > 1 else f"{top or '1'}/{joined}"


def quantity(value: float, unit: str = "", digits: int = 4) -> str:
    """A number with its unit, in as few characters as keep `digits` significant digits.

    >>> quantity(77.0, "Ah"), quantity(0.00058, "Ω"), quantity(1.2e12, "1/s")
    ('77 Ah', '0.58 mΩ', '1.2e+12 1/s')
    """
    if unit == "Ω" and 0 < abs(value) < 0.1:
        value, unit = value * 1e3, "mΩ"
    text = f"{value:.{digits}g}"
    return f"{text} {unit}" if unit else text
