"""Why a configuration is refused before a run, each with entry, figure and rule.

The control unit refuses the same by number (`BMS_REFUSED_...` in ext/firmware/bms.h, rules in
ext/firmware/config_check.c): whoever fills its memory past this file is stopped at start.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bms.errors import ConfigError
from bms.firmware import timing
from bms.model import Cell, Pack

CELL_V = (0.5, 5.0)  # no cell of any chemistry is healthy beyond
FULL_V = 0.35  # overvoltage trips at most so far above the OCV of a full cell
HOT_DEGC, COLD_DEGC = 120.0, -60.0  # ends of what limits and thermistors can mean
FEEDBACK_MS, FUSE_MS = 500, 3000
TRIP = 2

Values = Mapping[str, np.ndarray]


def check(config: bytes, cell: Cell, pack: Pack) -> None:
    """ConfigError for the first rule that `config`, made of `cell` and `pack`, breaks."""
    values = timing.decode(config)
    _chemistry(values, cell)
    _sensors(values, cell, pack)
    _chips(values, cell, pack)
    _contactors(values, pack)
    timing.check(config, pack.file)


def _require(met: bool, file: str, key: str, value: object, expected: str) -> None:
    if not met:
        raise ConfigError(file, key, value, expected)


def _chemistry(values: Values, cell: Cell) -> None:
    limits, file = cell.limits, cell.file
    empty, full = float(cell.electric.ocv_v[0]), float(cell.electric.ocv_v[-1])
    most, least = min(CELL_V[1], full + FULL_V), max(CELL_V[0], empty / 2)
    _require(
        limits.voltage_max_v[TRIP] <= most, file, "limits.voltage_max_v",
        limits.voltage_max_v[TRIP],
        f"a trip of at most {most:g} V: {FULL_V} V above the OCV of a full cell, 5 V at most",
    )  # fmt: skip
    _require(
        limits.voltage_min_v[TRIP] >= least, file, "limits.voltage_min_v",
        limits.voltage_min_v[TRIP],
        f"a trip of at least {least:g} V: half the OCV of an empty cell, 0.5 V at least",
    )  # fmt: skip
    for name, way in (("charge", "charge"), ("discharge", "discharge")):
        high = getattr(limits, f"temperature_max_{name}_degc")
        low = getattr(limits, f"temperature_min_{name}_degc")
        key = f"limits.temperature_max_{name}_degc"
        _require(high[TRIP] <= HOT_DEGC, file, key, high[TRIP], f"at most {HOT_DEGC:g} degC")
        expected = f"at least {COLD_DEGC:g} degC, the end of the thermistors"
        _require(low[TRIP] >= COLD_DEGC, file, key.replace("max", "min"), low[TRIP], expected)
        expected = f"above the lower limit for {way}, {low[0]:g} degC"
        _require(low[0] < high[0], file, key, high[0], expected)


def _sensors(values: Values, cell: Cell, pack: Pack) -> None:
    sensors, most = pack.sensors, float(cell.pressure.operate_max_kpa[TRIP])
    seen = not sensors.pressure_per_module or sensors.pressure_full_scale_kpa >= most
    _require(
        seen, pack.file, "sensors.pressure_full_scale_kpa", sensors.pressure_full_scale_kpa,
        f"at least the trip of the cell's stack pressure, {most:g} kPa",
    )  # fmt: skip
    trip_a = float(values["discharge_ma"][TRIP]) * 1e-3
    rest_a = float(values["rest_ma"][0]) * 1e-3
    expected = f"errors that leave rest ({rest_a:g} A) below the trip current of {trip_a:g} A"
    noise = sensors.current_noise_a
    _require(rest_a < trip_a, pack.file, "sensors.current_noise_a", noise, expected)
    _require(
        pack.insulation_trip_ohm_per_v >= 1.0, pack.file, "insulation_trip_ohm_per_v",
        pack.insulation_trip_ohm_per_v, "1 ohm/V or more",
    )  # fmt: skip


def _chips(values: Values, cell: Cell, pack: Pack) -> None:
    """That the chip has the step at all is looked at where its code is made (config.py)."""
    over, under = cell.limits.voltage_max_v[TRIP], cell.limits.voltage_min_v[TRIP]
    file, high, low = pack.file, pack.chip_overvoltage_v, pack.chip_undervoltage_v
    expected = f"above the firmware's own trip of {over:g} V: the chips are the second line"
    _require(high > over, file, "chip_overvoltage_v", high, expected)
    expected = f"below the firmware's own trip of {under:g} V: the chips are the second line"
    _require(low < under, file, "chip_undervoltage_v", low, expected)


def _contactors(values: Values, pack: Pack) -> None:
    made, file = pack.contactors, pack.file
    feedback, fuse = int(values["feedback_ms"][0]), int(values["fuse_wait_ms"][0])
    expected = f"travel and bounce within {FEEDBACK_MS} ms, here {feedback}"
    _require(feedback <= FEEDBACK_MS, file, "contactors.close_ms", made.close_ms, expected)
    _require(fuse <= FUSE_MS, file, "fuse_wait_ms", fuse, f"at most {FUSE_MS} ms")
    done, abort = int(values["precharge_done_ma"][0]), int(values["precharge_abort_ma"][0])
    expected = f"a current that ends precharge, {done} mA, below one that aborts it, {abort} mA"
    _require(0 < done < abort, file, "contactors.precharge_ohm", made.precharge_ohm, expected)
    _require(
        made.break_current_a > 0.0, file, "contactors.break_current_a", made.break_current_a,
        "more than 0 A",
    )  # fmt: skip
