"""What stack pressure adds to the state of charge, and what a sensor that fails takes away.

The true plant is driven alone; its voltages, temperatures and pressure are read with errors drawn
from the seed as the pack file says, and the firmware's estimator follows twice, without pressure
and with it. Rows: soc_rmse_pct/RECORD/SENSOR over all blocks and all times after the sensor was
believed for the first time, soc_half_width_pct (three standard deviations) and
soc_inside_3_sigma_pct, each beside the same without pressure; and worse_than_without_pct: by how
much the error of the module's mean with pressure exceeds that without it, at most.

Sensors: good; offset at its limit of two standard deviations, either way; drifting to that limit
and beyond; frozen after five hours; stuck from the start; ten times the noise; a jump; lost."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bms import _plant, cells, packs
from bms.bench import Row
from bms.estimator import Estimates, Estimator
from bms.model import Cell, Pack
from bms.plant import build
from bms.rng import Stream

Floats = NDArray[np.float64]
LOAD_CURRENT, BOTH_MAINS = 1, 3
WARM_UP_S = 3600.0
LIMIT_SIGMAS = 2.0
FAULT_S = 5 * 3600.0


class Case(NamedTuple):
    """One record: readings (n,) or (n, blocks), and the truth."""

    name: str
    cell: Cell
    pack: Pack
    time_s: Floats
    current_a: Floats
    voltage_v: Floats
    temperature_degc: Floats
    pressure_kpa: Floats  # true
    noise_kpa: Floats
    soc_frac: Floats  # true, of blocks


def day(capacity_ah: float) -> Floats:
    """Current in A, one value a minute, of eight hours of a house: three of sun, a rest, a night.

    It stays between a third and two thirds of charge, where LFP says nothing."""
    minute = np.arange(480)
    sun = np.where(minute % 10 < 6, -0.12, -0.04) * ((minute >= 20) & (minute < 200))
    load = np.where(minute % 15 < 3, 0.16, 0.05) * (minute >= 260)
    return np.asarray((sun + load) * capacity_ah)


def drive(capacity_ah: float) -> Floats:
    """One value a minute for two hours: pulls and recuperation, half an hour of a steady pull."""
    minute = np.arange(120)
    town = np.where(minute % 3 == 0, 0.5, np.where(minute % 3 == 1, -0.15, 0.1))
    return np.asarray(np.where((minute > 60) & (minute < 90), 0.4, town) * capacity_ah)


def simulate(
    name: str,
    pack_name: str,
    soc_frac: float,
    degc: float,
    current_a: Floats,
    *,
    seed: int,
    branch: float = 0.0,
    dt_s: float = 1.0,
) -> Case:
    """One module of the pack alone under `current_a` (one value a minute), read every dt_s. branch:
    of the hysteresis it starts on, 1 after a discharge, -1 after a charge."""
    pack, replace = packs.load(pack_name), msgspec.structs.replace
    pack = replace(pack, topology=replace(pack.topology, blocks=pack.topology.blocks_per_module))
    cell, made, sensors = cells.load(pack.cell), pack.topology, pack.sensors
    plant = _plant.Plant()
    f = plant.fields
    build.fill(
        f, cell, pack, seed=seed, soc_frac=soc_frac, temperature_degc=degc, ambient_degc=degc
    )
    plant.init()
    f["cell_hysteresis"][: pack.topology.blocks * pack.topology.parallel] = branch
    f["coil_command"][0], f["load_mode"][0] = BOTH_MAINS, LOAD_CURRENT
    plant.step(100)
    n, count = made.blocks, made.blocks * made.parallel
    per_minute, steps = round(60.0 / dt_s), round(dt_s * 1000)
    rows = len(current_a) * per_minute
    volts, degrees, soc = (np.empty((rows, n)) for _ in range(3))
    kpa, amps = np.empty(rows), np.empty(rows)
    for k in range(rows):
        f["load_current_a"][0] = current_a[k // per_minute]
        plant.step(steps)
        volts[k] = f["block_voltage_v"][:n]
        degrees[k] = f["cell_surface_degc"][:count].reshape(made.parallel, n)[0]
        soc[k] = f["cell_soc_frac"][:count].reshape(made.parallel, n).mean(0)
        kpa[k], amps[k] = f["module_pressure_kpa"][0], f["pack_current_a"][0]
    offset = sensors.cell_voltage_offset_v * Stream(seed, "bench.volts").normals(n)
    gain = sensors.current_gain_frac * Stream(seed, "bench.gain").normal()
    draw = np.random.Generator(np.random.Philox(seed))
    volts += offset + sensors.cell_voltage_noise_v * draw.standard_normal((rows, n))
    degrees += sensors.temperature_offset_k * Stream(seed, "bench.degrees").normals(n)
    amps = amps * (1.0 + gain) + sensors.current_offset_a * Stream(seed, "bench.amps").normal()
    noise = sensors.pressure_noise_kpa * draw.standard_normal(rows)
    time_s = dt_s * np.arange(1.0, rows + 1.0)
    return Case(
        name, cell, pack, time_s, amps, volts, degrees, kpa, noise, soc
    )  # fmt: skip


def _frozen(true: Floats, case: Case, from_s: float) -> Floats:
    late = case.time_s >= from_s
    held = true[np.argmax(late)] if from_s > 0.0 else case.pack.fixture.preload_kpa
    return np.where(late, held, true)


def sensors(case: Case) -> dict[str, Callable[[Floats], Floats]]:
    """Name -> what the sensor reads, of the true pressure with its noise."""
    limit = LIMIT_SIGMAS * case.pack.sensors.pressure_offset_kpa
    late = case.time_s >= FAULT_S
    hours = case.time_s / 3600.0
    return {
        "good": lambda p: p,
        "offset_high": lambda p: p + limit,
        "offset_low": lambda p: p - limit,
        "drifting": lambda p: p + limit * hours / hours[-1],
        "drifting_fast": lambda p: p + 5.0 * limit * hours / hours[-1],
        "frozen": lambda p: _frozen(p, case, FAULT_S),
        "frozen_noisy": lambda p: _frozen(p - case.noise_kpa, case, FAULT_S) + case.noise_kpa,
        "stuck": lambda p: _frozen(p, case, 0.0),
        "noisy": lambda p: p + 9.0 * case.noise_kpa,
        "jump": lambda p: p + 3.0 * limit * late,
        "lost": lambda p: np.where(late, np.nan, p),
    }


def estimate(case: Case, pressure_kpa: Floats | None) -> Estimates:
    """The firmware's estimator on one module; pressure as the chip sends it, whole kPa."""
    made = Estimator(
        case.cell, case.voltage_v.shape[1], parallel=case.pack.topology.parallel,
        sensors=case.pack.sensors, spread=case.pack.spread, fixture=case.pack.fixture,
    )  # fmt: skip
    whole = None if pressure_kpa is None else np.round(pressure_kpa)
    return made.run(case.time_s, case.current_a, case.voltage_v, case.temperature_degc, whole)


class Figures(NamedTuple):
    """Over blocks and times, in percent of charge; mean_error is of the module over time."""

    rmse: float
    half_width: float
    inside: float
    mean_error: Floats


def figures(case: Case, found: Estimates) -> Figures:
    """Errors and intervals of one estimate, after the first hour."""
    late = case.time_s >= WARM_UP_S
    error = 100.0 * (found.soc_frac - case.soc_frac)[late]
    width = 300.0 * found.soc_std_frac[late]
    inside = 100.0 * float(np.mean(np.abs(error) <= width))
    rmse = float(np.sqrt(np.mean(np.square(error))))
    return Figures(rmse, float(np.mean(width)), inside, error.mean(1))


def cases(seed: int) -> list[Case]:
    """A house on LFP, whatever was before; a bus on hot LFP; a car in the cold."""
    home, car, bus = (
        cells.load(packs.load(name).cell).electric.capacity_ah * packs.load(name).topology.parallel
        for name in ("home_16s", "car_96s3p", "bus_96s")
    )
    return [
        simulate("home_day", "home_16s", 0.4, 20.0, day(home), seed=seed),
        simulate("home_emptied", "home_16s", 0.4, 20.0, day(home), seed=seed, branch=1.0),
        simulate("home_filled", "home_16s", 0.4, 20.0, day(home), seed=seed, branch=-1.0),
        simulate("bus_emptied", "bus_96s", 0.5, 70.0, 0.7 * day(bus), seed=seed, branch=1.0),
        simulate("car_cold_drive", "car_96s3p", 0.7, -10.0, drive(car), seed=seed),
    ]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default 1)")


def rows(options: argparse.Namespace) -> list[Row]:
    out = []
    for case in cases(options.seed):
        without = figures(case, estimate(case, None))
        for name, sensor in sensors(case).items():
            read = sensor(case.pressure_kpa + case.noise_kpa)
            out += _rows(f"{case.name}/{name}", figures(case, estimate(case, read)), without)
    return out


def _rows(place: str, mine: Figures, without: Figures) -> list[Row]:
    worse = float(np.max(np.abs(mine.mean_error) - np.abs(without.mean_error)))

    def row(name: str, ours: float, peer: float | None, limit: float | None = None) -> Row:
        return Row(
            name=f"{name}/{place}", ours=ours, unit="%", better="higher" if limit else "lower",
            peer=peer,
            peer_name="without pressure" if peer is not None else None, limit=limit,
            limit_source="normal errors of the width that is told" if limit else None,
        )  # fmt: skip

    return [
        row("soc_rmse_pct", mine.rmse, without.rmse),
        row("soc_half_width_pct", mine.half_width, without.half_width),
        row("soc_inside_3_sigma_pct", mine.inside, without.inside, 99.73),
        row("worse_than_without_pct", max(0.0, worse), None),
    ]
