"""The cell model as columns of a linear problem.

    V = U(z) + (T - 25) dU/dT(z) - M h - R1 u1 - R2 u2 - R0 r(T, P) i        (ext/plant/plant.h)

Given the time constants and the temperature laws, voltage is linear in the open-circuit voltages
on a grid, in the hysteresis M and in the resistances at 25 degC. With C = tau / R constant an RC
element of resistance R f(T) gives v = R u with du/dt = (i - u / f) / tau, so its time constant is
tau f(T). First-order recursions with changing coefficients are solved as bidiagonal systems.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from ..model import Cell
from ..units import BOLTZMANN_EV_PER_K, REFERENCE_K, ZERO_DEGC_K

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """A record made ready: n samples, thinned where nothing happens.

    current_a is that of the sample; mean_a that of the step before it, which moved the charge.
    soc_frac is known. relaxed marks samples after a gap, where RC elements start from rest.
    hysteresis_start is that before the first sample: -1 charge branch, 1 discharge branch.
    """

    number: int  # of the file in the manifest
    name: str
    ambient_degc: float
    time_s: Floats
    current_a: Floats
    mean_a: Floats
    voltage_v: Floats
    temperature_degc: Floats
    pressure_kpa: Floats | None
    soc_frac: Floats
    relaxed: NDArray[np.bool_]
    hysteresis_start: float
    step_ohm: float
    soc_is_counted: bool  # from full, not looked up in a curve


def factor(activation_ev: float, temperature_degc: Floats) -> Floats:
    """Resistance over that at 25 degC, Arrhenius."""
    inverse = 1.0 / (temperature_degc + ZERO_DEGC_K) - 1.0 / REFERENCE_K
    return np.asarray(np.exp(activation_ev / BOLTZMANN_EV_PER_K * inverse))


def recur(keep: Floats, add: Floats, first: float) -> Floats:
    """x[k] = keep[k] x[k-1] + add[k], x[-1] = first; all (n,)."""
    band = np.ones((2, len(keep)))
    band[1, :-1] = -keep[1:]
    start = add.copy()
    start[0] += keep[0] * first
    return np.asarray(blas.dtbsv(1, band, start, lower=1, diag=1))


def polarisation(trace: Trace, tau_s: float, activation_ev: float) -> Floats:
    """u of one RC element in A, (n,): its voltage over its resistance at 25 degC."""
    step_s = np.diff(trace.time_s, prepend=trace.time_s[0])
    slow = factor(activation_ev, trace.temperature_degc)
    keep = np.exp(-step_s / (tau_s * slow))
    add = slow * (1.0 - keep) * trace.mean_a
    keep[trace.relaxed], add[trace.relaxed] = 0.0, 0.0
    return recur(keep, add, 0.0)


def hysteresis(trace: Trace, swing_frac: float) -> Floats:
    """h, (n,): -1 on the charge branch, 1 on the discharge branch."""
    moved = -np.diff(trace.soc_frac, prepend=trace.soc_frac[0])
    keep = np.exp(-np.abs(moved) / swing_frac)
    return recur(keep, (1.0 - keep) * np.sign(moved), trace.hysteresis_start)


def core_degc(trace: Trace, surface_degc: Floats, heat_w: Floats, base: Cell) -> Floats:
    """Core temperature, (n,), from that of the surface and the heat, with the base's constants.

    Resistances follow the core: at -10 degC a large cell is many kelvin warmer inside.
    """
    thermal = base.thermal
    core_j_per_k = base.geometry.mass_kg * thermal.heat_capacity_j_per_kg_k * thermal.core_frac
    step_s = np.diff(trace.time_s, prepend=trace.time_s[0])
    keep = np.exp(-step_s * thermal.core_surface_w_per_k / core_j_per_k)
    above_k = recur(keep, (1.0 - keep) * heat_w / thermal.core_surface_w_per_k, 0.0)
    moved = surface_degc - recur(keep, (1.0 - keep) * surface_degc, float(surface_degc[0]))
    return np.asarray(surface_degc + above_k - moved)


def hats(grid: Floats, soc_frac: Floats) -> Floats:
    """Weights (n, m) of the grid's values in linear interpolation; ends are extended."""
    left = np.clip(np.searchsorted(grid, soc_frac, side="right") - 1, 0, len(grid) - 2)
    share = (soc_frac - grid[left]) / (grid[left + 1] - grid[left])
    out = np.zeros((len(soc_frac), len(grid)))
    rows = np.arange(len(soc_frac))
    out[rows, left], out[rows, left + 1] = 1.0 - share, share
    return out


def squeeze(trace: Trace, reference_kpa: float, exponent: float) -> Floats | float:
    """Contact resistance over that at reference pressure; 1 where pressure was not measured."""
    if trace.pressure_kpa is None or exponent == 0.0:
        return 1.0
    return np.asarray((np.maximum(trace.pressure_kpa, 1.0) / reference_kpa) ** exponent)
