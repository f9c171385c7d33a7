"""Power offered by the firmware over what the true pack can hold, and whether any limit is crossed.

The pack drives for some minutes in the closed loop; then the plant is copied, and the highest
constant power that crosses no limit is found on the copy by bisection: block voltage, current,
critical current density of any cell. Beside it stands what the firmware offers at that moment for
2, 10 and 30 s, each way. Sensors are at their specified limits, two standard deviations, turned
the way that makes more seem possible; `power_crossings` counts offers that cross a limit, 0.

A row is named offered_pct/DIRECTION_SPAN/TEMPERATURE/SOC. Its limit is what the offer is held
against: 90 % where voltage limits from 20 degC up, 80 % in the cold and where only the current's
own limit counts, 65 % where a critical current limits or below -10 degC."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bms import _plant
from bms.bench import Row
from bms.rng import Stream
from bms.sim import Simulation

SPANS_S = (2, 10, 30)
DIRECTIONS = {"charge": -1.0, "discharge": 1.0}
TEMPERATURES_DEGC = (-20.0, -10.0, 0.0, 10.0, 25.0, 45.0)
SOCS_FRAC = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
DRIVEN_S = 200.0
LOAD_POWER = 2
SIGMAS = 2.0


class Held(NamedTuple):
    """One offer and the truth about it."""

    direction: str
    span_s: int
    offered_w: float
    available_w: float
    why: str  # what limits the true pack: voltage, current, critical
    crossed: str  # what the offer crosses; empty: nothing

    @property
    def share(self) -> float:
        """Offered over available; 1 where nothing is."""
        return self.offered_w / self.available_w if self.available_w > 1.0 else 1.0


class Truth:
    """What the true pack can do: constant power held on a copied plant until a limit is crossed."""

    def __init__(self, run: Simulation) -> None:
        self.run, self.plant = run, _plant.Plant()
        for name, values in self.plant.fields.items():
            values[:] = run.world.parts["plant"][name]
        self.start = self.plant.snapshot()

    def crosses(self, power_w: float, span_s: int) -> str:
        """Limit that power_w (positive discharges) crosses within span_s; empty: none."""
        made, limits, f = self.run.pack.topology, self.run.cell.limits, self.plant.fields
        self.plant.restore(self.start)
        f["load_mode"][0], f["load_power_w"][0] = LOAD_POWER, power_w
        for _ in range(span_s * 10):
            self.plant.step(100)
            volts, current = f["block_voltage_v"][: made.blocks], float(f["pack_current_a"][0])
            if power_w < 0 and volts.max() > limits.voltage_max_v[0]:
                return "voltage"
            if power_w > 0 and volts.min() < limits.voltage_min_v[0]:
                return "voltage"
            most = limits.current_discharge_a[0] if current > 0 else limits.current_charge_a[0]
            if abs(current) > most * made.parallel:
                return "current"
            if self.overload() > 1.0:
                return "critical"
        return ""

    def overload(self) -> float:
        """Highest current density over the critical one."""
        made, f = self.run.pack.topology, self.plant.fields
        n = made.blocks * made.parallel
        law = np.interp(f["cell_core_degc"][:n], -60.0 + 2.5 * np.arange(105), f["critical_law"])
        factor = law * np.tile(f["block_critical"][: made.blocks], made.parallel)
        density = f["cell_current_a"][:n] * 1e3 / f["electrode_cm2"][0]
        charge = (-density / (f["plating_ma_per_cm2"][0] * factor)).max()
        discharge = (density / (f["stripping_ma_per_cm2"][0] * factor)).max()
        return float(max(charge, discharge))

    def available_w(self, sign: float, span_s: int) -> tuple[float, str]:
        """Highest power that crosses nothing, to 0.3 %, and what limits it."""
        low, high, why = 0.0, 5e5, ""
        while high - low > 0.003 * high and high > 10.0:
            middle = 0.5 * (low + high)
            crossed = self.crosses(sign * middle, span_s)
            low, high, why = (low, middle, crossed) if crossed else (middle, high, why)
        return low, why


def probe(run: Simulation, name: str) -> np.ndarray:
    """A live view of what the firmware shows under `name`. Raises KeyError without it."""
    for found in run.probes:
        if found[0] == name:
            _, _, offset, count, dtype = found
            return np.frombuffer(run.world.firmware_bytes, np.dtype(dtype), count, offset)
    raise KeyError(name)


def driven(
    soc_frac: float,
    degc: float,
    *,
    pack: str = "car_96s3p",
    seed: int = 1,
    adverse: float = 0.0,
    seconds: float = DRIVEN_S,
) -> Simulation:
    """A pack that has been driven for a while. adverse: 0 draws the sensors' errors as usual, -1
    sets them to their limits so that charging, +1 so that discharging seems easier than it is."""
    settings = {
        "start.soc_frac": str(soc_frac),
        "start.temperature_degc": str(degc),
        "start.ambient_degc": str(degc),
    }
    run = Simulation("drive", pack=pack, seed=seed, settings=settings)
    if adverse:
        mislead(run, adverse)
    run.run(seconds, record=False)
    return run


def mislead(run: Simulation, direction: float) -> None:
    """Every sensor at two standard deviations: voltages towards more room in `direction`, all
    thermistors warm, pressures high, the current's errors by a draw of the seed."""
    chips, ivt, sensors = run.world.parts["chips"], run.world.parts["ivt"], run.pack.sensors
    chips["cell_offset_v"][:] = SIGMAS * direction * sensors.cell_voltage_offset_v
    chips["cell_gain_frac"][:] = SIGMAS * direction * sensors.cell_voltage_gain_frac
    chips["temperature_offset_k"][:] = SIGMAS * sensors.temperature_offset_k
    chips["pressure_offset_kpa"][:] = SIGMAS * sensors.pressure_offset_kpa
    sign = 1.0 if Stream(run.seed, "bench.power").unit() < 0.5 else -1.0
    ivt["current_offset_a"][0] = SIGMAS * sign * sensors.current_offset_a
    ivt["current_gain_frac"][0] = SIGMAS * sign * sensors.current_gain_frac


def judge(
    run: Simulation,
    directions: tuple[str, ...] = tuple(DIRECTIONS),
    spans: tuple[int, ...] = SPANS_S,
) -> Iterator[Held]:
    """What the firmware of `run` offers now against what is there."""
    truth = Truth(run)
    offered = probe(run, "power_w").reshape(2, len(SPANS_S))
    for place, (direction, sign) in enumerate(DIRECTIONS.items()):
        if direction not in directions:
            continue
        for span_s in spans:
            watts = float(offered[place, SPANS_S.index(span_s)])
            available, why = truth.available_w(sign, span_s)
            crossed = truth.crosses(sign * watts, span_s) if watts > 0.0 else ""
            yield Held(direction, span_s, watts, available, why, crossed)


def least_share(why: str, degc: float) -> float:
    """What of the available power has to be offered."""
    if why == "critical" or degc < -10.0:
        return 0.65
    return 0.9 if why == "voltage" and degc >= 20.0 else 0.8


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pack", default="car_96s3p", help="name or path (default car_96s3p)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default 1)")
    parser.add_argument(
        "--errors", choices=("limit", "drawn"), default="limit",
        help="sensors at their limits, turned the wrong way, or as drawn",
    )  # fmt: skip


def rows(options: argparse.Namespace) -> list[Row]:
    out, crossings = [], 0
    for degc in TEMPERATURES_DEGC:
        for soc_frac in SOCS_FRAC:
            for direction, sign in DIRECTIONS.items():
                adverse = sign if options.errors == "limit" else 0.0
                run = driven(soc_frac, degc, pack=options.pack, seed=options.seed, adverse=adverse)
                for held in judge(run, (direction,)):
                    crossings += bool(held.crossed)
                    out.append(_row(held, degc, soc_frac))
    out.append(
        Row(name="power_crossings", ours=float(crossings), unit="1", better="lower", limit=0.0,
            limit_source="no limit is ever crossed")
    )  # fmt: skip
    return out


def _row(held: Held, degc: float, soc_frac: float) -> Row:
    source = f"{held.why} limits at {held.available_w / 1e3:.1f} kW"
    if held.crossed:
        source += f"; the offer crosses: {held.crossed}"
    return Row(
        name=f"offered_pct/{held.direction}_{held.span_s}s/{degc:+.0f}C/soc_{soc_frac:.2f}",
        ours=100.0 * held.share, unit="%", better="higher",
        limit=100.0 * least_share(held.why, degc), limit_source=source,
    )  # fmt: skip
