"""What a vehicle, a house and a charger ask of a pack, as plain arrays in time.

Power at the pack's terminals is positive when it discharges the pack. Only additions,
multiplications, divisions and square roots are used here, element by element: they are correctly
rounded on every processor, and these arrays end in hashed state. Road-load model:
Guzzella and Sciarretta, Vehicle Propulsion Systems (2013), section 2.1.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bms.errors import ConfigError
from bms.model import Frozen
from bms.rng import Stream

GRAVITY_M_PER_S2 = 9.80665
STEP_S = 0.1
SPEED_LIMIT_MPS = 70.0  # 252 km/h: a road cycle above it is km/h in the wrong column
GAP_FACTOR = 10.0  # a step longer than this many median steps is a hole in the record

Array = npt.NDArray[np.float64]


class Vehicle(Frozen, frozen=True):
    """Road load and power train of one vehicle."""

    mass_kg: float  # as driven, pack included
    drag_area_m2: float  # drag coefficient times frontal area
    rolling_coefficient: float
    rotating_mass_factor: float  # wheels and motor as a share on top: 1.05 means 5 %
    drive_efficiency_frac: float  # pack terminals to wheels
    regen_efficiency_frac: float  # wheels to pack terminals
    regen_share_frac: float  # of the braking power that reaches the motor; the rest is friction
    regen_power_max_w: float  # at the terminals
    drive_power_max_w: float  # at the terminals
    regen_full_kmh: float  # full recuperation above; fades to none at half of it
    auxiliaries_w: float


VEHICLES = {
    # A large electric sedan, as usual in the class: 2.1 t, Cd 0.25 x 2.4 m2.
    "sedan": Vehicle(
        mass_kg=2100.0,
        drag_area_m2=0.60,
        rolling_coefficient=0.009,  # assumption: class B tyre (6.5 to 7.7 N/kN), bearings, road
        rotating_mass_factor=1.05,  # assumption: 3 to 6 % for one-speed drives
        drive_efficiency_frac=0.90,  # assumption: inverter 0.97, motor 0.95, gear 0.98
        regen_efficiency_frac=0.88,  # assumption: as driving, motor at a lower load
        regen_share_frac=0.90,  # assumption: blended brakes
        regen_power_max_w=120e3,  # assumption
        drive_power_max_w=250e3,  # assumption
        regen_full_kmh=7.0,  # assumption: friction brakes take over near standstill
        auxiliaries_w=500.0,  # assumption: electronics and mild climate
    ),
    # Mercedes EQS 450+ with the maker's Cd 0.20 and 2.51 m2. Rolling resistance is fitted: the WLTC
    # then takes 13.8 kWh/100 km, as the published 784 km on 107.8 kWh (WLTP, 2021) ask.
    "eqs": Vehicle(
        mass_kg=2600.0,  # published kerb weight near 2480 kg with driver, plus the WLTP's load
        drag_area_m2=0.502,  # 0.20 x 2.51 m2
        rolling_coefficient=0.0075,  # fitted, see above
        rotating_mass_factor=1.04,  # assumption
        drive_efficiency_frac=0.90,  # assumption: a mean; the maker says "up to 96 %"
        regen_efficiency_frac=0.88,  # assumption
        regen_share_frac=0.95,  # assumption: friction brakes are rarely used
        regen_power_max_w=200e3,  # assumption: below the published 290 kW
        drive_power_max_w=245e3,  # published motor power of the 450+
        regen_full_kmh=7.0,  # assumption
        auxiliaries_w=400.0,  # assumption: electronics; the WLTP is driven without climate
    ),
    # A 12 m city bus, half laden. Cd 0.6 x 8 m2; tyres of class C3. All assumptions of common size.
    "bus": Vehicle(
        mass_kg=16000.0,
        drag_area_m2=4.8,
        rolling_coefficient=0.007,
        rotating_mass_factor=1.06,
        drive_efficiency_frac=0.88,
        regen_efficiency_frac=0.85,
        regen_share_frac=0.80,
        regen_power_max_w=120e3,
        drive_power_max_w=200e3,
        regen_full_kmh=7.0,
        auxiliaries_w=4000.0,
    ),
}


class Cycle(Frozen, frozen=True):
    """A speed trace, linear between its n >= 2 points. Time rises from 0."""

    name: str
    time_s: tuple[float, ...]
    speed_mps: tuple[float, ...]
    grade_frac: tuple[float, ...]  # rise over run

    @property
    def duration_s(self) -> float:
        return self.time_s[-1]

    @property
    def distance_m(self) -> float:
        total = 0.0
        for i in range(1, len(self.time_s)):
            mean = (self.speed_mps[i] + self.speed_mps[i - 1]) / 2.0
            total += mean * (self.time_s[i] - self.time_s[i - 1])
        return total


# UN R83 annex 4a, UN R101: (seconds, km/h at their end). Gear changes hold the speed.
_ECE15 = (
    (11, 0), (4, 15), (8, 15), (2, 10), (3, 0), (21, 0),
    (5, 15), (2, 15), (5, 32), (24, 32), (8, 10), (3, 0), (21, 0),
    (5, 15), (2, 15), (9, 35), (2, 35), (8, 50), (12, 50), (8, 35), (13, 35), (2, 35), (7, 10),
    (3, 0), (7, 0),
)  # fmt: skip
_EUDC = (
    (20, 0), (5, 15), (2, 15), (9, 35), (2, 35), (8, 50), (2, 50), (13, 70), (50, 70), (8, 50),
    (69, 50), (13, 70), (50, 70), (35, 100), (30, 100), (20, 120), (10, 120), (16, 80), (8, 50),
    (10, 0), (20, 0),
)  # fmt: skip


def nedc() -> Cycle:
    """The New European Driving Cycle, 4 x ECE-15 and one EUDC: 1180 s, 11.0 km, 120 km/h."""
    time, speed = [0.0], [0.0]
    for seconds, kmh in _ECE15 * 4 + _EUDC:
        time.append(time[-1] + seconds)
        speed.append(kmh / 3.6)
    return Cycle(
        name="nedc", time_s=tuple(time), speed_mps=tuple(speed), grade_frac=(0.0,) * len(time)
    )


def journey(
    distance_m: float, legs: Sequence[tuple[float, float]], acceleration_mps2: float
) -> Cycle:
    """Legs of (speed in m/s, seconds held) over and over until distance_m is driven, then a stop.

    Speed changes at constant acceleration; the last leg is cut so that the stop is at the end.
    """
    time, speed, done = [0.0], [0.0], 0.0

    def go(seconds: float, to: float) -> None:
        nonlocal done
        if seconds > 0.0:
            done += seconds * (speed[-1] + to) / 2.0
            time.append(time[-1] + seconds)
            speed.append(to)

    while True:
        for leg_mps, hold_s in legs:
            # The most that still lets the stop end in time.
            peak = math.sqrt(acceleration_mps2 * (distance_m - done) + speed[-1] ** 2 / 2.0)
            target = min(leg_mps, peak)
            ramp_s = abs(target - speed[-1]) / acceleration_mps2
            stop_m = target * target / (2.0 * acceleration_mps2)
            left_m = distance_m - done - ramp_s * (speed[-1] + target) / 2.0 - stop_m
            if target > 0.0 and (left_m <= hold_s * target or target < leg_mps):
                go(ramp_s, target)
                go(max(0.0, left_m / target), target)
                go(target / acceleration_mps2, 0.0)
                return Cycle(
                    name="journey",
                    time_s=tuple(time),
                    speed_mps=tuple(speed),
                    grade_frac=(0.0,) * len(time),
                )
            go(ramp_s, target)
            go(hold_s, target)


_TIME = {"cycSecs": 1.0, "time_s": 1.0}
_SPEED = {"cycMps": 1.0, "speed_mps": 1.0, "speed_kmh": 1.0 / 3.6}
_GRADE = {"cycGrade": 1.0, "grade_frac": 1.0, "grade_pct": 0.01}


def read_cycle(path: str | Path) -> Cycle:
    """A drive cycle from a CSV file with a header line.

    Columns: `time_s` or `cycSecs`; `speed_kmh`, `speed_mps` or `cycMps`; optionally `grade_frac`,
    `grade_pct` or `cycGrade`. Others and a byte-order mark are ignored. Raises ConfigError with
    file, row (the header is row 1), column, value and expectation for anything that is not a plain
    forward record.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(path, "", str(error.strerror), "a readable CSV file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(path, "", f"byte {error.start}", "UTF-8 text") from error
    rows = [row for row in csv.reader(io.StringIO(text)) if any(field.strip() for field in row)]
    if not rows:
        raise ConfigError(path, "", "an empty file", "a header and at least two rows")
    header = [field.strip() for field in rows[0]]
    time_column, _ = _column(path, header, _TIME, "time")
    speed_column, to_mps = _column(path, header, _SPEED, "speed")
    has_grade = any(name in _GRADE for name in header)
    grade_column, to_frac = _column(path, header, _GRADE, "grade") if has_grade else (-1, 0.0)
    if len(rows) < 3:
        raise ConfigError(path, "", f"{len(rows) - 1} data rows", "at least two rows")
    time = [_number(path, rows, r, time_column, header) for r in range(1, len(rows))]
    speed = [_number(path, rows, r, speed_column, header) for r in range(1, len(rows))]
    grade = [0.0] * len(time)
    if grade_column >= 0:
        grade = [
            _number(path, rows, r, grade_column, header) * to_frac for r in range(1, len(rows))
        ]
    _check_time(path, time, header[time_column])
    _check_speed(path, speed, header[speed_column], to_mps)
    return Cycle(
        name=Path(path).stem,
        time_s=tuple(t - time[0] for t in time),
        speed_mps=tuple(v * to_mps for v in speed),
        grade_frac=tuple(grade),
    )


def _column(
    path: str | Path, header: list[str], known: dict[str, float], what: str
) -> tuple[int, float]:
    for index, name in enumerate(header):
        if name in known:
            return index, known[name]
    bare = [name for name in header if name.lower().startswith(what)]
    if bare:
        expected = f"a unit in the column's name: {' or '.join(known)}"
        raise ConfigError(path, f"row 1, column {bare[0]}", bare[0], expected)
    raise ConfigError(path, "row 1", header, f"a column {' or '.join(known)}")


def _number(
    path: str | Path, rows: list[list[str]], row: int, column: int, header: list[str]
) -> float:
    where = f"row {row + 1}, column {header[column]}"
    text = rows[row][column].strip() if column < len(rows[row]) else ""
    if not text:
        raise ConfigError(path, where, text, "a number; the record must have no gaps")
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(path, where, text, "a number") from None
    if not math.isfinite(value):
        raise ConfigError(path, where, text, "a finite number")
    return value


def _check_time(path: str | Path, time: list[float], name: str) -> None:
    steps = [b - a for a, b in pairwise(time)]
    median = sorted(steps)[len(steps) // 2]
    for index, step in enumerate(steps):
        where = f"row {index + 3}, column {name}"
        if step <= 0.0:
            raise ConfigError(
                path, where, time[index + 1], f"time to rise; the row before has {time[index]:g}"
            )
        if step > GAP_FACTOR * median:
            expected = f"no gap: {step:g} s after the row before, where {median:g} s is usual"
            raise ConfigError(path, where, time[index + 1], expected)


def _check_speed(path: str | Path, speed: list[float], name: str, to_mps: float) -> None:
    for index, value in enumerate(speed):
        where = f"row {index + 2}, column {name}"
        if value < 0.0:
            raise ConfigError(path, where, value, "a speed of at least 0")
        if value * to_mps > SPEED_LIMIT_MPS:
            hint = "; are these km/h? then name the column speed_kmh" if to_mps == 1.0 else ""
            raise ConfigError(path, where, value, f"at most {SPEED_LIMIT_MPS / to_mps:g}{hint}")


def resample(cycle: Cycle, step_s: float = STEP_S) -> tuple[Array, Array]:
    """Speed in m/s at 0, step_s, ... (n + 1 points) and the grade of each of the n intervals."""
    n = max(1, math.floor(cycle.duration_s / step_s + 0.5))
    t = np.arange(n + 1, dtype=np.float64) * step_s
    return _interpolate(t, cycle.time_s, cycle.speed_mps), _interpolate(
        t[:-1], cycle.time_s, cycle.grade_frac
    )


def _interpolate(t: Array, at: tuple[float, ...], value: tuple[float, ...]) -> Array:
    # np.interp may contract to fused multiply-adds on some processors; these steps cannot.
    x, y = np.asarray(at), np.asarray(value)
    i = np.clip(np.searchsorted(x, t, side="right") - 1, 0, len(x) - 2)
    weight = np.clip((t - x[i]) / (x[i + 1] - x[i]), 0.0, 1.0)
    result: Array = y[i] + (y[i + 1] - y[i]) * weight
    return result


def air_density_kg_per_m3(ambient_degc: float) -> float:
    """Dry air at 101.325 kPa."""
    return 101325.0 / (287.05 * (ambient_degc + 273.15))


def road_load_w(
    speed_mps: Array, grade_frac: Array | float, vehicle: Vehicle, ambient_degc: float,
    step_s: float = STEP_S,
) -> Array:  # fmt: skip
    """Power at the pack's terminals in each interval of a speed trace, W, + = discharge.

    speed_mps: n + 1 points step_s apart, linear between. Returns n values: with the mean speed of
    the interval and its difference in speed, kinetic energy closes exactly.
    """
    v = (speed_mps[1:] + speed_mps[:-1]) * 0.5
    acceleration = (speed_mps[1:] - speed_mps[:-1]) / step_s
    run = np.sqrt(1.0 + np.asarray(grade_frac) * grade_frac)
    weight_n = vehicle.mass_kg * GRAVITY_M_PER_S2
    force_n = (
        0.5 * air_density_kg_per_m3(ambient_degc) * vehicle.drag_area_m2 * v * v
        + weight_n * (vehicle.rolling_coefficient + grade_frac) / run
        + vehicle.rotating_mass_factor * vehicle.mass_kg * acceleration
    )
    wheel_w = force_n * v
    drive_w = np.minimum(wheel_w / vehicle.drive_efficiency_frac, vehicle.drive_power_max_w)
    full_mps = vehicle.regen_full_kmh / 3.6
    blend = np.clip(v / full_mps * 2.0 - 1.0, 0.0, 1.0)
    gain = vehicle.regen_share_frac * vehicle.regen_efficiency_frac
    regen_w = np.maximum(wheel_w * gain * blend, -vehicle.regen_power_max_w)
    result: Array = np.where(wheel_w > 0.0, drive_w, regen_w) + vehicle.auxiliaries_w
    return result


class House(Frozen, frozen=True):
    """A house with solar cells behind one inverter, and a grid that fails."""

    load_w: tuple[float, ...]  # 24 hourly means from midnight, of what the battery backs up
    start_hour: float  # clock at the scenario's start
    outage_from_hour: float  # hours after the start
    outage_until_hour: float
    solar_peak_w: float  # clear sky at noon
    sunrise_hour: float
    sunset_hour: float
    cloud_frac: float  # the darkest cloud takes this share
    cloud_s: float  # one cloud's time
    inverter_efficiency_frac: float
    inverter_power_max_w: float  # at the pack's terminals, both ways
    standby_w: float  # the inverter's own need in the outage


def house_w(house: House, duration_s: float, step_s: float, seed: int) -> Array:
    """Power at the pack's terminals in each interval, W, + = discharge.

    In the outage the pack carries load minus sun. With the grid up it takes only what the sun
    leaves over and gives nothing: it is a reserve.
    """
    n = math.ceil(duration_s / step_s)
    clouds = Stream(seed, "scenario.clouds")
    shade = [
        1.0 - house.cloud_frac * clouds.unit() for _ in range(int(duration_s / house.cloud_s) + 1)
    ]
    result = np.empty(n)
    for i in range(n):
        elapsed_h = i * step_s / 3600.0
        clock_h = (house.start_hour + elapsed_h) % 24.0
        day = (clock_h - house.sunrise_hour) / (house.sunset_hour - house.sunrise_hour)
        sun_w = house.solar_peak_w * half_sine(day) * shade[int(i * step_s / house.cloud_s)]
        net_w = house.load_w[int(clock_h)] - sun_w
        if house.outage_from_hour <= elapsed_h < house.outage_until_hour:
            net_w += house.standby_w
        else:
            net_w = min(net_w, 0.0)
        eta = house.inverter_efficiency_frac
        terminal_w = net_w / eta if net_w > 0.0 else net_w * eta
        limit = house.inverter_power_max_w
        result[i] = min(max(terminal_w, -limit), limit)
    return result


def half_sine(x: float) -> float:
    """sin(pi x) for x in [0, 1], 0 outside: a clear day's sun.

    Cosine series round the middle; absolute error below 1e-11.
    """
    if not 0.0 < x < 1.0:
        return 0.0
    angle = 3.141592653589793 * (x - 0.5)
    square = angle * angle
    term, total = 1.0, 1.0
    for k in range(1, 9):
        term *= -square / ((2 * k - 1) * (2 * k))
        total += term
    return max(total, 0.0)
