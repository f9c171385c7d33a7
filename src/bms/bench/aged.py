"""Resistance and capacity of aged cells after five cycles, for `bms bench accuracy`.

The bench pack with a tenth of its capacity gone and all resistances a quarter higher is cycled at
1C by its own firmware, with rests at both ends: constant current, which tells least. What the world
really was is then seen through sensors whose errors are all at their limits (two standard
deviations): voltage and temperature of one sign for half of the cells, the current either way.

Beside ours: charge counted between two rests over the change of charge that the OCV says, and the
median of dV/dI over the steps of the current.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bms.bench import Row
from bms.estimator import Estimator
from bms.model import Cell, Pack
from bms.sim import Simulation

Floats = NDArray[np.float64]

NAME = "simulated/aged_5_cycles"
CYCLES = 5
CYCLE_S = 7300.0
LIMIT_SIGMAS = 2.0
CAPACITY_LEFT, RESISTANCE_MORE = 0.9, 1.25
STEP_C = 0.2  # steps of the current from here on tell a resistance, in capacities an hour
REST_C = 0.01
REST_S = 300.0


@dataclass(frozen=True)
class Aged:
    """True values over a run, (n,) or (n, cells), and at its end, (cells,)."""

    cell: Cell
    pack: Pack
    time_s: Floats
    current_a: Floats
    voltage_v: Floats
    surface_degc: Floats
    pressure_kpa: Floats
    capacity_ah: Floats
    r0_ohm: Floats


def cycled(cycles: int = CYCLES) -> Aged:
    """The run: `life` without its ageing, with cells that are old from the start."""
    settings = {"ageing_acceleration": "1", "rounds.times": str(cycles)}
    made = Simulation("life", seed=7, settings=settings)
    plant, n = made.world.parts["plant"], made.pack.topology.blocks
    for field in ("cell_capacity_as", "cell_capacity_now_as"):
        plant[field][:n] *= CAPACITY_LEFT
    plant["cell_resistance_scale"][:n] *= RESISTANCE_MORE
    run = made.run(cycles * CYCLE_S, cells_every_s=1.0)
    at = run.recording.time_s("true_cell_voltage_v")

    def even(name: str, values: Floats) -> Floats:
        return np.asarray(np.interp(at, run.recording.time_s(name), values))

    return Aged(
        cell=made.cell,
        pack=made.pack,
        time_s=at,
        current_a=even("true_pack_current_a", run["true_pack_current_a"]),
        voltage_v=run["true_cell_voltage_v"],
        surface_degc=run["true_cell_temperature_surface_degc"],
        pressure_kpa=even("true_module_pressure_kpa", run["true_module_pressure_kpa"][:, 0]),
        capacity_ah=plant["cell_capacity_now_as"][:n] / 3600.0,
        r0_ohm=plant["cell_resistance_ohm"][:n].copy(),
    )


@dataclass(frozen=True)
class Read:
    """The same as sensors with errors show it."""

    current_a: Floats
    voltage_v: Floats
    temperature_degc: Floats
    pressure_kpa: Floats


def through_sensors(aged: Aged, way: float) -> Read:
    """way: sign of the errors of the current."""
    errors, n = aged.pack.sensors, aged.voltage_v.shape[1]
    sign = np.where(np.arange(n) % 2 == 0, LIMIT_SIGMAS, -LIMIT_SIGMAS)
    noise = np.random.default_rng(7).normal(0.0, errors.cell_voltage_noise_v, aged.voltage_v.shape)
    gain = 1.0 + way * LIMIT_SIGMAS * errors.current_gain_frac
    return Read(
        current_a=aged.current_a * gain + way * LIMIT_SIGMAS * errors.current_offset_a,
        voltage_v=aged.voltage_v * (1.0 + sign * errors.cell_voltage_gain_frac)
        + sign * errors.cell_voltage_offset_v
        + noise,
        temperature_degc=aged.surface_degc + sign * errors.temperature_offset_k,
        pressure_kpa=aged.pressure_kpa + LIMIT_SIGMAS * errors.pressure_offset_kpa,
    )


def counted_capacity_ah(aged: Aged, read: Read) -> Floats:
    """Charge between the last two rests over the change of charge by the OCV, (cells,)."""
    nominal_ah, time_s = aged.cell.electric.capacity_ah, aged.time_s
    calm = np.abs(read.current_a) < REST_C * nominal_ah
    edges = np.flatnonzero(np.diff(np.concatenate([[False], calm, [False]]).astype(int)))
    ends = [b - 1 for a, b in zip(edges[::2], edges[1::2], strict=True)
            if time_s[b - 1] - time_s[a] >= REST_S]  # fmt: skip
    first, last = ends[-2], ends[-1]
    step_s = np.diff(time_s[first : last + 1])
    mean_a = 0.5 * (read.current_a[first:last] + read.current_a[first + 1 : last + 1])
    charge_ah = float(mean_a @ step_s) / 3600.0
    volts, charge = aged.cell.electric.ocv_v, aged.cell.electric.ocv_soc_frac
    start, end = (np.interp(read.voltage_v[k], volts, charge) for k in (first, last))
    return np.asarray(charge_ah / (start - end))


def stepped_r0_ohm(aged: Aged, read: Read) -> Floats:
    """Median of dV/dI over the last cycle's steps of the current, (cells,)."""
    step_a = np.diff(read.current_a)
    quick = np.diff(aged.time_s) < 5.0
    large = np.abs(step_a) > STEP_C * aged.cell.electric.capacity_ah
    at = np.flatnonzero(quick & large)[-6:]
    each = -(read.voltage_v[at + 1] - read.voltage_v[at]) / step_a[at][:, None]
    return np.asarray(np.median(each, axis=0))


def health_rows() -> Iterator[Row]:
    """Largest error over all cells, in per cent, with the errors of the current either way."""
    aged = cycled()
    ours: dict[str, list[Floats]] = {"r0": [], "capacity": [], "inside": []}
    peers: dict[str, list[Floats]] = {"r0": [], "capacity": []}
    for way in (1.0, -1.0):
        read = through_sensors(aged, way)
        made = Estimator(aged.cell, aged.voltage_v.shape[1], sensors=aged.pack.sensors)
        found = made.run(
            aged.time_s, read.current_a, read.voltage_v, read.temperature_degc, read.pressure_kpa
        )
        ours["r0"].append(_error_pct(found.r0_ohm[-1], aged.r0_ohm))
        ours["capacity"].append(_error_pct(found.capacity_ah[-1], aged.capacity_ah))
        for value, sigma, true in (
            (found.r0_ohm[-1], found.r0_std_ohm[-1], aged.r0_ohm),
            (found.capacity_ah[-1], found.capacity_std_ah[-1], aged.capacity_ah),
        ):
            ours["inside"].append(np.abs(value - true) <= 3.0 * sigma)
        peers["r0"].append(_error_pct(stepped_r0_ohm(aged, read), aged.r0_ohm))
        peers["capacity"].append(_error_pct(counted_capacity_ah(aged, read), aged.capacity_ah))
    names = {"r0": "median of dV/dI at steps", "capacity": "count between the last two rests"}
    for key, peer_name in names.items():
        mine, theirs = np.concatenate(ours[key]), np.concatenate(peers[key])
        for kind, figure in (("max", lambda e: np.abs(e).max()), ("rms", _rms)):
            yield Row(
                name=f"{key}_{kind}_error_pct/{NAME}",
                ours=float(figure(mine)), unit="%", better="lower",
                peer=float(figure(theirs)), peer_name=peer_name,
            )  # fmt: skip
    yield Row(
        name=f"health_inside_3_sigma_pct/{NAME}",
        ours=100.0 * float(np.mean(np.concatenate(ours["inside"]))), unit="%", better="higher",
        limit=99.73, limit_source="normal errors of the width that is told",
    )  # fmt: skip


def _error_pct(estimate: NDArray[np.floating], true: Floats) -> Floats:
    return np.asarray(100.0 * (np.float64(estimate) / true - 1.0))


def _rms(error: Floats) -> float:
    return float(np.sqrt(np.mean(error * error)))
