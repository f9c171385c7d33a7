"""What a cell file implies: energy, resistance, critical currents, breathing.

For tables, plots and checks. Plain Python with the processor's exp, so nothing here may enter
simulated state; the plant computes the same laws in its own bits.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from ..model import Cell, Conductivity, CriticalCurrent
from ..units import arrhenius, kelvin


def interpolate(x: float, grid: Sequence[float], values: Sequence[float]) -> float:
    """Linear between the points of a rising grid, held at its ends."""
    if x <= grid[0]:
        return values[0]
    if x >= grid[-1]:
        return values[-1]
    i = bisect_right(grid, x)
    share = (x - grid[i - 1]) / (grid[i] - grid[i - 1])
    return values[i - 1] + share * (values[i] - values[i - 1])


def ocv_v(cell: Cell, soc_frac: float, temperature_degc: float = 25.0) -> float:
    """Open-circuit voltage between the hysteresis branches."""
    electric = cell.electric
    slope = interpolate(soc_frac, electric.ocv_soc_frac, electric.entropic_v_per_k)
    at_25_v = interpolate(soc_frac, electric.ocv_soc_frac, electric.ocv_v)
    return at_25_v + slope * (temperature_degc - 25.0)


def mean_ocv_v(cell: Cell) -> float:
    """Mean over charge at 25 degC: the integral of the OCV table."""
    grid, values = cell.electric.ocv_soc_frac, cell.electric.ocv_v
    pieces = zip(grid, grid[1:], values, values[1:], strict=False)
    return sum((right - left) * (low + high) / 2.0 for left, right, low, high in pieces)


def energy_wh(cell: Cell) -> float:
    """Capacity times mean OCV: what a very slow discharge at 25 degC gives."""
    return cell.electric.capacity_ah * mean_ocv_v(cell)


def volume_l(cell: Cell) -> float:
    """Outer volume."""
    made = cell.geometry
    box_l = made.length_m * made.width_m * made.thickness_m * 1e3
    return box_l * math.pi / 4.0 if made.format == "cylindrical" else box_l


def conductivity_factor(law: Conductivity, temperature_degc: float) -> float:
    """Resistance at a temperature over that at 25 degC; see model.Conductivity."""
    if law.law == "arrhenius":
        return 1.0 / arrhenius(law.activation_ev, kelvin(temperature_degc))
    return _vtf(law, temperature_degc) / _vtf(law, 25.0)


def _vtf(law: Conductivity, temperature_degc: float) -> float:
    """Resistance over its value at the melting point."""
    here_k, melting_k = kelvin(temperature_degc), kelvin(law.melting_degc)
    if here_k >= melting_k:
        return math.exp(
            law.vtf_b_k / (here_k - law.vtf_t0_k) - law.vtf_b_k / (melting_k - law.vtf_t0_k)
        )
    return arrhenius(law.activation_ev, melting_k) / arrhenius(law.activation_ev, here_k)


def resistance_ohm(
    cell: Cell, temperature_degc: float = 25.0, pressure_kpa: float | None = None
) -> dict[str, float]:
    """Resistance of a fresh cell in parts: electrolyte, contact, charge_transfer, diffusion.

    The first two are the immediate step; at reference pressure if none is given.
    """
    made, here_k = cell.resistance, kelvin(temperature_degc)
    squeeze = 1.0
    if pressure_kpa is not None:
        squeeze = (pressure_kpa / cell.pressure.reference_kpa) ** cell.pressure.exponent
    parts = {
        "electrolyte": made.electrolyte_ohm
        * conductivity_factor(made.electrolyte_temperature, temperature_degc),
        "contact": made.contact_ohm * squeeze / arrhenius(made.contact_activation_ev, here_k),
    }
    for name in ("charge_transfer", "diffusion"):
        at_25_ohm = getattr(made, f"{name}_ohm")
        parts[name] = at_25_ohm / arrhenius(getattr(made, f"{name}_activation_ev"), here_k)
    return parts


def critical_a(
    cell: Cell, law: CriticalCurrent, temperature_degc: float, pressure_kpa: float | None = None
) -> tuple[float, float]:
    """Cell currents (charge, discharge) at which plating and stripping become critical."""
    factor = arrhenius(law.activation_ev, kelvin(temperature_degc))
    if pressure_kpa is not None:
        factor *= (pressure_kpa / cell.pressure.reference_kpa) ** law.pressure_exponent
    amps = factor * cell.geometry.electrode_area_cm2 / 1e3
    return law.plating_ma_per_cm2 * amps, law.stripping_ma_per_cm2 * amps


def breathing_um(cell: Cell) -> float:
    """Thickness gained by one cell over a full charge."""
    moved = cell.breathing.anode_um_per_ah + cell.breathing.cathode_um_per_ah
    return moved * cell.electric.capacity_ah
