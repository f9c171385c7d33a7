"""Every condition of ext/firmware/config_check.c alone makes the firmware refuse, with its code."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_firmware_refusals import (
    CHEMISTRY,
    CHIPS,
    CONTACTORS,
    LIMITS,
    REACTION,
    SENSORS,
    written,
)

from bms import _firmware
from bms.firmware import config

TOPOLOGY, ESTIMATOR = 4, 6
SHIPPED = written()


def now(name: str) -> np.ndarray:
    """What the shipped configuration says."""
    row = next(row for row in _firmware.config_fields() if row[0] == name)
    return np.frombuffer(SHIPPED, row[5], row[4], row[3]).copy()


def with_one(name: str, k: int, value: float) -> dict[str, object]:
    """A field with one of its entries changed."""
    values = now(name)
    values[k] = value
    return {name: values}


def unordered() -> list[tuple[int, dict[str, object]]]:
    """Each list of limits, out of order at either of its steps."""
    rising = "voltage_max_uv charge_max_cdegc discharge_max_cdegc charge_ma discharge_ma"
    falling = "voltage_min_uv charge_min_cdegc discharge_min_cdegc"
    found: list[tuple[int, dict[str, object]]] = []
    for name in (rising + " " + falling + " pressure_max_kpa pressure_min_kpa").split():
        found += [(LIMITS, {name: now(name)[[1, 0, 2]]}), (LIMITS, {name: now(name)[[0, 2, 1]]})]
    return [*found, (LIMITS, {"insulation_ohm_per_v": now("insulation_ohm_per_v")[::-1]})]


CASES: list[tuple[int, dict[str, object]]] = [
    *((TOPOLOGY, {name: value}) for name, value in (
        ("blocks", 0), ("blocks", 401), ("blocks", 97), ("blocks", 80), ("modules", 0),
        ("modules", 10_000), ("modules", 7), ("blocks_per_module", 5), ("blocks_per_module", 17),
        ("thermistors", 0), ("thermistors", 7), ("parallel", 0), ("capacity_uc", 0),
        ("thermistor_left", 6), ("thermistor_right", 6),
    )),
    *unordered(),
    (LIMITS, with_one("charge_ma", 0, -1)),
    (LIMITS, with_one("discharge_ma", 0, -1)),
    (LIMITS, with_one("voltage_min_uv", 0, 4_200_000) | with_one("voltage_max_uv", 0, 4_200_000)),
    (ESTIMATOR, with_one("est.ocv_v", 3, 0.0)),
    *((ESTIMATOR, {name: value}) for name in (
        "est.per_uc", "est.transfer_farad", "est.diffusion_farad", "est.sigma_start_frac",
        "est.sigma_noise_v", "bleed_ohm", "est.pressure_max_kpa", "obs.core_j_per_k",
        "obs.surface_j_per_k", "obs.core_surface_w_per_k", "obs.cooling_w_per_k",
    ) for value in (0.0, -1.0, math.nan)),
    *((ESTIMATOR, with_one("plating_a", 2, value)) for value in (math.nan, 1e9, -1e9)),
    *((ESTIMATOR, with_one("est.contact_ohm", 1, value)) for value in (math.inf, -math.inf)),
    (ESTIMATOR, {"obs.sensors": 2}),
    (CHEMISTRY, {"voltage_min_uv": [2_600_000, 2_500_000, 499_000], "voltage_deep_uv": 400_000}),
    (CHEMISTRY, {"voltage_deep_uv": 0}),
    (CHEMISTRY, {"voltage_deep_uv": -1}),
    (CHEMISTRY, {"charge_max_cdegc": [5000, 5500, 12_001]}),
    (CHEMISTRY, {"charge_min_cdegc": [0, -500, -6001]}),
    (CHEMISTRY, {"charge_min_cdegc": [5000, -500, -1000], "charge_max_cdegc": [5000, 5500, 6000]}),
    (CHEMISTRY, {"discharge_min_cdegc": [6000, -3500, -3600],
                 "discharge_max_cdegc": [6000, 6500, 7000]}),
    (SENSORS, {"current_range_ma": int(now("charge_ma")[2])}),
    (SENSORS, {"current_range_ma": int(now("discharge_ma")[2])}),
    (SENSORS, {"rest_ma": 0}),
    (SENSORS, {"rest_ma": int(now("discharge_ma")[2])}),
    (SENSORS, {"current_offset_ma": 0}),
    (SENSORS, {"insulation_ohm_per_v": 0}),
    (CHIPS, {"chip_overvoltage_code": 0x32}),
    (CHIPS, {"chip_overvoltage_code": 0x20}),
    (CHIPS, {"chip_undervoltage_code": 0x26}),
    *((CONTACTORS, {name: value}) for name, value in (
        ("precharge_min_ms", 5000), ("precharge_tolerance_mv", 0), ("precharge_done_ma", 0),
        ("precharge_done_ma", int(now("precharge_abort_ma")[0])), ("precharge_ohm", 0.0),
        ("precharge_ohm", math.nan), ("precharge_energy_j", 0.0), ("feedback_ms", 0),
        ("fuse_wait_ms", 3001), ("break_current_ma", 0), ("link_weld_mv", 0),
    )),
    (REACTION, {"frozen_frames": 10_000}),
]  # fmt: skip
OPEN_WITHOUT_SENSOR = {"pressure_is_fitted": 0, "pressure_full_scale_kpa": 1}
NO_PRESSURE_LIMIT = {"pressure_max_kpa": 0, "pressure_min_kpa": 0, "pressure_full_scale_kpa": 1}


@pytest.mark.parametrize(
    ("code", "fields"), CASES, ids=[f"{code}-{'-'.join(f)}" for code, f in CASES]
)
def test_each_condition_alone_refuses(code: int, fields: dict[str, object]) -> None:
    assert _firmware.Firmware(written(**fields), 5_000_000).code == code


@pytest.mark.parametrize("fields", [{}, OPEN_WITHOUT_SENSOR, NO_PRESSURE_LIMIT])
def test_what_is_not_fitted_or_not_limited_needs_no_range(fields: dict[str, object]) -> None:
    assert _firmware.Firmware(written(**fields), 5_000_000).code == 0


def test_a_configuration_of_another_size_version_or_kind_is_none() -> None:
    for fields in ({"magic": 1}, {"version": 0}, {"size": len(SHIPPED) - 8}):
        assert _firmware.Firmware(written(**fields), 5_000_000).code == 2
    assert _firmware.Firmware(SHIPPED[:-1], 5_000_000).code == 1
    damaged = bytearray(SHIPPED)
    damaged[config.CONSTANTS["crc_offset"]] ^= 1
    assert _firmware.Firmware(bytes(damaged), 5_000_000).code == 3
