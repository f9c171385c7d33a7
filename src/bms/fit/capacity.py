"""Capacity, and where full and empty lie in the record that tells it.

Without a window of rest voltages full is where the manifest says and empty the end of the deepest
discharge of the slowest record at 25 degC. With a window the branches of a slow cycle are averaged
and continued to the two voltages: a straight line at the top, and at the bottom a line less an
exponential, the shape in which every insertion electrode runs empty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import curve_fit

from ..model import Cell
from .circuit import Floats
from .manifest import Manifest, missing
from .records import Loaded

NEAR_K = 3.0  # of 25 degC
CLOSURE_FRAC = 0.03  # charge put back may differ from charge taken out by so much
UNTOLD_FRAC = 0.005  # what is assumed of a tester's charge count where a cycle does not close


@dataclass(frozen=True)
class Capacity:
    """capacity_ah with its 95 % half-width; full_ah: charge out at which SoC is 1 in the record."""

    capacity_ah: float
    half_ah: float
    full_ah: float
    number: int  # of the record in the manifest
    closes: bool  # charge put back agrees with charge taken out: both branches can be used
    text: str


def measure(
    manifest: Manifest, loaded: list[Loaded], base: Cell, fact_ah: float | None = None
) -> Capacity:
    """From the slowest full discharge at 25 degC; ConfigError names it if there is none.

    fact_ah is a capacity the manifest states: it stands, and full lies so far above empty.
    """
    found = _measure(manifest, loaded, base)
    if fact_ah is None:
        return found
    empty_ah = found.full_ah + found.capacity_ah
    measured = f"measured here: {found.capacity_ah:.4g} Ah ± {found.half_ah:.2g}, {found.text}"
    return replace(found, capacity_ah=fact_ah, full_ah=empty_ah - fact_ah, text=measured)


def _measure(manifest: Manifest, loaded: list[Loaded], base: Cell) -> Capacity:
    near = [r for r in loaded if abs(r.entry.ambient_degc - 25.0) <= NEAR_K]
    slow = [r for r in near if r.entry.role == "slow"]
    if manifest.soc_window_v is not None:
        if not slow:
            what = "a slow cycle at 25 degC (role `slow`), which `soc_window_v` is measured on"
            raise missing(manifest, "electric", what)
        return _by_window(manifest, slow[0], manifest.soc_window_v)
    for record in sorted(slow, key=_rate) or sorted(near, key=_rate):
        found = _by_ends(record, base)
        if found is not None:
            return found
    what = "a discharge from full to empty at 25 degC, role `slow` (or `hppc`)"
    raise missing(manifest, "electric", what)


def _rate(record: Loaded) -> float:
    size = np.abs(record.current_a)
    return float(np.median(size[size > 0.05 * size.max()]))


def _by_ends(record: Loaded, base: Cell) -> Capacity | None:
    charge_ah, start = record.charge_ah, record.entry.start
    full_ah = {"after_charge": float(charge_ah.min()), "counter": -record.counter_ah}.get(
        start, 0.0
    )
    empty = int(np.argmax(charge_ah))
    least_v = float(record.record.voltage_v[max(empty - 200, 0) : empty + 1].min())
    empty_v = max(base.limits.voltage_min_v[0] + 0.05, base.electric.ocv_v[0] + 0.02)
    if start in ("rest", "alike") or least_v > empty_v:
        return None
    capacity_ah = float(charge_ah[empty]) - full_ah
    back = float(charge_ah[empty] - charge_ah[empty:].min())
    gap_frac = abs(back - capacity_ah) / capacity_ah
    returned = back > 0.2 * capacity_ah
    closes = returned and gap_frac < CLOSURE_FRAC
    half_ah = (0.5 * gap_frac if closes else UNTOLD_FRAC) * capacity_ah
    text = f"charge from full to the end of the discharge in {record.entry.path}"
    if closes:
        text += f"; charging back took {back:.4g} Ah, half the difference is the interval"
    else:
        text += f"; interval: {UNTOLD_FRAC:.1%}, an assumption on the tester's count"
    if returned and not closes:
        text += f" (charging back took {back:.4g} Ah: that branch is not used)"
    return Capacity(capacity_ah, half_ah, full_ah, record.number, closes, text)


def branches(record: Loaded, points: int = 400) -> tuple[Floats, Floats, Floats]:
    """Charge out (points,), discharge voltage and charge voltage there, V, of a slow cycle."""
    charge_ah, voltage_v, current_a = record.charge_ah, record.record.voltage_v, record.current_a
    flows = np.abs(current_a) > 0.5 * np.max(np.abs(current_a))
    out, into = flows & (current_a > 0), flows & (current_a < 0)
    low = max(float(charge_ah[out].min()), float(charge_ah[into].min()))
    high = min(float(charge_ah[out].max()), float(charge_ah[into].max()))
    grid = np.linspace(low, high, points)
    order = np.argsort(charge_ah[into])
    discharge_v = np.interp(grid, charge_ah[out], voltage_v[out])
    charge_v = np.interp(grid, charge_ah[into][order], voltage_v[into][order])
    return grid, discharge_v, charge_v


def _by_window(manifest: Manifest, record: Loaded, window_v: tuple[float, float]) -> Capacity:
    current_a = record.current_a
    if not (np.any(current_a < -0.5 * current_a.max()) and np.any(current_a > 0)):
        what = f"the charge after the discharge in {record.entry.path}: both branches"
        raise missing(manifest, "electric", what)
    grid, discharge_v, charge_v = branches(record)
    span = grid[-1] - grid[0]
    inside = (grid > grid[0] + 0.1 * span) & (grid < grid[-1] - 0.1 * span)
    half_gap_v = float(np.median((charge_v - discharge_v)[inside])) / 2.0
    # Near each end one branch is still settling after the rest; the other one runs into the end.
    upper, lower = charge_v - half_gap_v, discharge_v + half_gap_v
    top = grid < grid[0] + 0.04 * span
    slope, level_v = np.polyfit(grid[top], upper[top], 1)
    full_ah = float((window_v[1] - level_v) / slope)
    lag_ah = _lag_ah(record, grid, lower, half_gap_v)
    left_ah, bottom_half_ah = _run_empty(grid[-1] - grid - lag_ah, lower, span, window_v[0])
    empty_ah = float(grid[-1]) - left_ah
    top_half_ah = abs(0.25 * (grid[0] - full_ah)) + 1e-3 / abs(slope)
    if max(grid[0] - full_ah, empty_ah - grid[-1]) > 0.1 * span:
        what = (
            f"a slow cycle from {window_v[1]:g} to {window_v[0]:g} V; {record.entry.path} leaves "
            f"more than a tenth of the capacity out"
        )
        raise missing(manifest, "electric", what)
    half_ah = float(np.hypot(top_half_ah, bottom_half_ah))
    text = (
        f"between rest voltages of {window_v[1]:g} and {window_v[0]:g} V in {record.entry.path}, "
        f"{grid[0] - full_ah:.3g} and {empty_ah - grid[-1]:.3g} Ah of it beyond the record"
    )
    return Capacity(empty_ah - full_ah, half_ah, full_ah, record.number, True, text)


def _lag_ah(record: Loaded, grid: Floats, lower: Floats, half_gap_v: float) -> float:
    """By how much the surface is emptier than the inside at the end of the discharge.

    The rest after it shows the inside.
    """
    size_a = float(np.abs(record.current_a).max())
    end = int(np.flatnonzero(record.current_a > 0.5 * size_a)[-1])
    charging = np.flatnonzero(record.current_a[end:] < -0.5 * size_a)
    rest_v = record.record.voltage_v[end + 1 : end + int(charging[0]) if len(charging) else None]
    if len(rest_v) < 10 or float(rest_v.max()) <= lower[-1]:
        return 0.0
    inside_ah = float(np.interp(rest_v.max(), lower[::-1], grid[::-1]))
    return min(float(grid[-1]) - inside_ah, 0.01 * float(np.ptp(grid)))


def _run_empty(
    left_ah: Floats, voltage_v: Floats, span_ah: float, window_v: float
) -> tuple[float, float]:
    """Charge left (negative: beyond the record) at which rest voltage is window_v; half-width."""

    def law(x: Floats, a: float, b: float, c: float, d: float) -> Floats:
        return np.asarray(a + b * x - c * np.exp(-x / d))

    if voltage_v[-1] <= window_v:
        return float(np.interp(window_v, voltage_v[::-1], left_ah[::-1])), 0.002 * span_ah
    near = left_ah < 0.05 * span_ah
    first = (float(voltage_v[near][0]), 0.0, 0.2, 0.02 * span_ah)
    limits = ([-np.inf, 0.0, 0.0, 1e-3 * span_ah], [np.inf, np.inf, 10.0, 0.1 * span_ah])
    best, _ = curve_fit(law, left_ah[near], voltage_v[near], first, bounds=limits)
    probe = np.linspace(-0.15 * span_ah, 0.0, 3000)
    found = float(np.interp(window_v, law(probe, *best), probe))
    return found, abs(0.25 * found)
