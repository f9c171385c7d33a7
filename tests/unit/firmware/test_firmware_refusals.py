"""A configuration that cannot be safe is refused: in words before a run, by number at start."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

import bms.cells
import bms.packs
from bms import _firmware
from bms.errors import ConfigError
from bms.firmware import config, timing
from bms.model import Cell, Pack

LIMITS, CHEMISTRY, SENSORS, CHIPS, CONTACTORS, REACTION = 5, 7, 8, 9, 10, 11
PACK = bms.packs.load("car_96s1p")
CELL = bms.cells.load(PACK.cell)


def written(**fields: object) -> bytes:
    """The shipped configuration with these fields overwritten, and a right checksum."""
    blob = bytearray(config.build(CELL, PACK))
    for name, _unit, _text, offset, count, dtype in _firmware.config_fields():
        if name in fields:
            values = np.frombuffer(bytes(blob), dtype, count, offset).copy()
            values[:] = fields[name]
            blob[offset : offset + values.nbytes] = values.tobytes()
    end = config.CONSTANTS["crc_offset"]
    struct.pack_into("<I", blob, end, zlib.crc32(blob[:end]))
    return bytes(blob)


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        (0, {}),
        (LIMITS, {"voltage_max_uv": [4_300_000, 4_250_000, 4_200_000]}),
        (CHEMISTRY, {"voltage_max_uv": [4_200_000, 4_250_000, 4_600_000]}),
        (CHEMISTRY, {"voltage_min_uv": [2_800_000, 2_700_000, 1_400_000]}),
        (CHEMISTRY, {"voltage_deep_uv": 2_600_000}),
        (CHEMISTRY, {"discharge_max_cdegc": [6000, 6500, 12_100]}),
        (CHEMISTRY, {"discharge_min_cdegc": [-3000, -3500, -6100]}),
        (SENSORS, {"current_range_ma": 100_000}),
        (SENSORS, {"pressure_full_scale_kpa": 4000}),
        (CHIPS, {"chip_overvoltage_code": 0x0F}),
        (CHIPS, {"chip_overvoltage_code": 0x22}),  # 4.175 V, before the firmware's own trip
        (CHIPS, {"chip_undervoltage_code": 0x27}),
        (CONTACTORS, {"feedback_ms": 501}),
        (CONTACTORS, {"precharge_abort_ma": 10}),
        (REACTION, {"line_delay_ms": 100}),
        (REACTION, {"frozen_scans": 60}),
        (REACTION, {"precharge_max_ms": 1600}),
    ],
)
def test_each_rule_has_its_code(code: int, fields: dict[str, object]) -> None:
    blob = written(**fields)
    assert _firmware.Firmware(blob, 5_000_000).code == code
    if code == REACTION:
        with pytest.raises(ConfigError):
            timing.check(blob)


def test_both_sums_of_a_reaction_are_the_same() -> None:
    """The longest line that Python allows is the longest that the firmware allows."""

    def allowed(delay: int) -> bool:
        try:
            timing.check(written(line_delay_ms=delay))
        except ConfigError:
            return False
        return True

    for delay in range(1, 101):
        assert allowed(delay) == (_firmware.Firmware(written(line_delay_ms=delay), 5).code == 0)


def pack_with(part: str, **changes: object) -> Pack:
    return msgspec.structs.replace(
        PACK, **{part: msgspec.structs.replace(getattr(PACK, part), **changes)}
    )


def cell_with(**limits: object) -> Cell:
    return msgspec.structs.replace(CELL, limits=msgspec.structs.replace(CELL.limits, **limits))


@pytest.mark.parametrize(
    ("build", "key"),
    [
        (lambda: config.build(cell_with(voltage_max_v=(4.2, 4.25, 4.6)), PACK), "voltage_max_v"),
        (lambda: config.build(cell_with(voltage_min_v=(2.8, 2.7, 1.4)), PACK), "voltage_min_v"),
        (
            lambda: config.build(
                cell_with(temperature_max_discharge_degc=(60.0, 65.0, 130.0)), PACK
            ),
            "temperature_max_discharge_degc",
        ),
        (
            lambda: config.build(CELL, pack_with("sensors", pressure_full_scale_kpa=4000.0)),
            "pressure_full_scale_kpa",
        ),
        (
            lambda: config.build(CELL, msgspec.structs.replace(PACK, chip_overvoltage_v=4.2)),
            "chip_overvoltage_v",
        ),
        (
            lambda: config.build(CELL, msgspec.structs.replace(PACK, chip_undervoltage_v=2.6)),
            "chip_undervoltage_v",
        ),
        (lambda: config.build(CELL, pack_with("contactors", close_ms=600.0)), "close_ms"),
        (lambda: config.build(CELL, pack_with("contactors", link_bleed_ohm=2e6)), "contactor_weld"),
        (lambda: config.build(CELL, PACK, line_delay_ms=90), "beyond sensor period and transport"),
        (lambda: config.build(CELL, PACK, line_delay_ms=30), "reaction"),
    ],
)
def test_python_names_entry_figure_and_rule(build: Callable[[], bytes], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        build()
