"""A frame is used when everything about it is right: each reason against it, alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from firmware_rig import CHARGE, COOLANT_FLOW, DRIVE, GAS, H2S, HEATER_ON, Rig

from bms import _firmware
from bms.firmware import config
from bms.protocols import request

VEHICLE, SENSORS = 0, 1
REMOTE, FD = 2, 4
CURRENT, PACK, INSULATION = 0x521, 0x522, 0x037
AUTHORITY, CHARGER = 0x81, 0xA0


@pytest.fixture
def rig() -> Rig:
    return Rig().to_standby()


def spoiled(identifier: int, wrong: Callable[[bytearray], bytes]) -> Callable[[list], list]:
    """Every frame of one sender, changed."""
    return lambda frames: [
        (who, wrong(bytearray(data)) if who == identifier else data) for who, data in frames
    ]


def entry(at: int, value: int) -> Callable[[bytearray], bytes]:
    def wrong(data: bytearray) -> bytes:
        data[at] = value
        return bytes(data)

    return wrong


def flagged(at: int, bit: int) -> Callable[[bytearray], bytes]:
    return lambda data: entry(at, data[at] | bit)(data)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda data: bytes(data[:5]),
        lambda data: bytes(data) + b"\0",
        entry(0, 7),
        flagged(1, 0x20),
        flagged(1, 0x80),
        entry(1, 3),  # a counter that stands still
    ],
    ids=["short", "long", "other channel", "result error", "system error", "counter"],
)
def test_a_current_that_is_not_right_is_a_current_that_is_lost(
    rig: Rig, wrong: Callable[[bytearray], bytes]
) -> None:
    rig.sensor = spoiled(CURRENT, wrong)
    rig.run(1000)
    assert {name for name in rig.active() if "current" in name}
    rig.mode = DRIVE
    rig.run(2000)
    assert rig.coils == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda data: bytes(data[:7]),
        entry(2, 0),  # not measuring yet
        entry(2, 4),
        entry(3, 1),  # self-test runs
        entry(3, 9),
        entry(4, 0),
        lambda data: b"\xff\xff" + bytes(data[2:]),
        entry(5, 3),
    ],
    ids=["short", "idle", "fault", "untested", "failed", "unknown", "no value", "counter"],
)
def test_an_insulation_that_is_not_known_closes_nothing(
    rig: Rig, wrong: Callable[[bytearray], bytes]
) -> None:
    rig.sensor = spoiled(INSULATION, wrong)
    rig.run(6000)
    rig.mode = DRIVE
    rig.run(2000)
    assert rig.coils == 0


@pytest.mark.parametrize("identifier", [CURRENT, INSULATION])
@pytest.mark.parametrize("flags", [REMOTE, FD])
def test_frames_of_a_sensor_of_another_kind_are_nothing(
    rig: Rig, identifier: int, flags: int
) -> None:
    length = 6 if identifier == CURRENT else 8
    rig.sensor = lambda frames: [frame for frame in frames if frame[0] != identifier]
    for k in range(800):
        data = bytes([0, k & 15, 0, 0, 0, k & 15, 0, 0][:length])
        rig.extra = [(SENSORS, identifier, data, flags)]
        rig.run(10)
    rig.mode = DRIVE
    rig.run(1000)
    assert rig.coils == 0


# ---- the vehicle's requests ----


@pytest.mark.parametrize(("length", "flags"), [(7, 0), (8, FD)])
def test_an_authority_of_another_kind_is_counted_and_worth_nothing(
    rig: Rig, length: int, flags: int
) -> None:
    rig.mute_vcu = True
    for _ in range(60):
        frames = [(0, AUTHORITY, data[:length], flags) for _b, _i, data in rig.authority_frames()]
        rig.extra = [(VEHICLE, 0x80, rig.vcu_frame()), *frames]
        rig.mode = DRIVE
        rig.run(10)
    assert rig.probe("authority_malformed") > 0 and rig.coils == 0


def test_an_authority_for_a_mode_that_is_none_is_not_one(rig: Rig) -> None:
    sent = []

    def fourth(data: bytes) -> bytes:
        head = bytes([3, data[1], data[2]])
        sent.append(head)
        return head + request.mac(request.TEST_KEY, rig.operator.challenge, head)

    rig.authority = fourth
    rig.mode = DRIVE
    rig.run(1000)
    assert sent and rig.coils == 0
    assert rig.probe("authority_old") > 0 and rig.probe("authority_wrong") == 0


# ---- the charger ----


def charging() -> Rig:
    rig = Rig(soc=0.4)
    rig.to_normal(CHARGE)
    return rig


def tell(rig: Rig, data: bytes, flags: int = 0, ms: int = 1000) -> None:
    for _ in range(ms // 50):
        rig.extra = [(VEHICLE, CHARGER, data, flags)]
        rig.run(50)


def test_a_charger_that_reports_a_fault_is_warned_of_and_one_that_falls_silent() -> None:
    rig = charging()
    tell(rig, bytes(8))
    assert "charger_fault" not in rig.active()
    rig.run(1200)
    assert "charger_fault" in rig.active(), "it must go on speaking"
    tell(rig, bytes(8), ms=3000)
    assert "charger_fault" not in rig.active()
    faults = 0
    for state in range(8):
        tell(rig, bytes([0, 0, 0, 0, state, 0, 0, 0]), ms=1200)
        faults += "charger_fault" in rig.active()
        tell(rig, bytes(8), ms=3000)
    assert faults == 1, "one of the states is a fault"


@pytest.mark.parametrize(("data", "flags"), [(bytes(7), 0), (bytes(8), FD)])
def test_a_charger_frame_of_another_kind_is_counted_only(data: bytes, flags: int) -> None:
    rig = charging()
    before = rig.probe("vcu_malformed")
    tell(rig, data, flags)
    assert rig.probe("vcu_malformed") >= before + 20
    rig.run(1200)
    assert "charger_fault" not in rig.active(), "no charger has spoken"


# ---- what is not fitted ----


@pytest.mark.parametrize(
    ("fields", "pins", "name"),
    [
        ({"gas_detector_is_fitted": 0}, GAS, "gas"),
        ({"h2s_detector_is_fitted": 0}, H2S, "h2s"),
        ({"heater_feedback_is_fitted": 0}, HEATER_ON, "heater_fault"),
        ({"flow_switch_is_fitted": 0}, COOLANT_FLOW, "coolant_fault"),
    ],
)
def test_a_line_that_is_not_fitted_says_nothing(
    fields: dict[str, object], pins: int, name: str
) -> None:
    found = []
    for change in ({}, fields):
        rig = Rig()
        rig.config = changed(rig.config, change)
        rig.firmware = _firmware.Firmware(rig.config, rig.start_us)
        assert rig.firmware.code == 0
        rig.to_standby()
        rig.pins |= pins
        rig.run(13_500 if name == "coolant_fault" else 3000)
        found.append(name in rig.active())
    assert found == [True, False]


def changed(blob: bytes, fields: dict[str, object]) -> bytes:
    """A configuration with fields overwritten, and a right checksum."""
    made = bytearray(blob)
    for name, _unit, _text, offset, count, dtype in _firmware.config_fields():
        if name in fields:
            values = np.frombuffer(bytes(made), dtype, count, offset).copy()
            values[:] = fields[name]
            made[offset : offset + values.nbytes] = values.tobytes()
    end = config.CONSTANTS["crc_offset"]
    struct.pack_into("<I", made, end, zlib.crc32(made[:end]))
    return bytes(made)


def test_a_pack_without_pressure_sensors_drives() -> None:
    rig = Rig()
    none = {"pressure_is_fitted": 0, "pressure_max_kpa": 0, "pressure_min_kpa": 0}
    rig.config = changed(rig.config, none)
    rig.firmware = _firmware.Firmware(rig.config, rig.start_us)
    rig.kpa[:] = 0.0
    rig.to_normal()
    assert not {found for found in rig.active() if "pressure" in found}
