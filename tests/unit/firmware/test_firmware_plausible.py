"""What is held against each other raises in its budget, and only then."""

from __future__ import annotations

import struct

import pytest
from firmware_rig import GAS, H2S, STATE, Rig

from bms import spec


def raised(rig: Rig, name: str) -> int:
    return rig.until(lambda: name in rig.active(), int(spec.diagnosis(name).deadline_ms) + 2)


def test_a_calm_drive_raises_nothing_for_half_a_minute() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.run(30_000)
    assert rig.active() == set() and rig.state == STATE["normal_drive"]


def test_one_channel_without_noise_is_frozen() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.chips.fields["cell_noise_v"][21] = 0.0
    raised(rig, "cell_frozen")


def test_a_current_without_noise_is_frozen() -> None:
    rig = Rig().to_normal()
    rig.ivt.fields["current_noise_a"][0] = 0.0
    raised(rig, "current_frozen")


@pytest.mark.parametrize(("name", "pin"), [("gas", GAS), ("h2s", H2S)])
def test_a_gas_detector_trips_and_a_blink_does_not(name: str, pin: int) -> None:
    rig = Rig().to_normal()
    rig.pins |= pin
    rig.run(400)
    rig.pins &= ~pin
    rig.run(1000)
    assert rig.state == STATE["normal_drive"]
    rig.pins |= pin
    raised(rig, name)
    assert rig.coils == 0


@pytest.mark.parametrize(("volts", "told"), [(0.003, False), (0.015, True)])
def test_a_chip_is_held_against_its_own_reading_of_the_module(volts: float, told: bool) -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.chips.fields["cell_offset_v"][16:32] += volts
    rig.run(3000)
    assert ("module_voltage_mismatch" in rig.active()) == told


def test_two_senders_of_the_current_are_told_and_single_losses_are_not() -> None:
    rig = Rig().to_normal()
    seen = 0

    def lossy(frames: list) -> list:
        nonlocal seen
        seen += 1
        return frames if seen % 70 else []

    rig.sensor = lossy
    rig.run(5000)
    assert "sensor_conflict" not in rig.active()
    false = struct.pack(">BBi", 0, 9, 1000)
    rig.sensor = lambda frames: [*frames, *((i, false) for i, _ in frames if i == 0x521)]
    raised(rig, "sensor_conflict")


def test_a_stuck_switch_is_found_by_pulling() -> None:
    rig = Rig("bench_16s1p").to_standby()
    rig.chips.fields["fet_stuck_off"][0] = 1 << 5
    rig.until(lambda: "bleed_switch" in rig.active(), 30_000)


def test_a_chip_in_another_place_keeps_contactors_open() -> None:
    from bms import _firmware
    from bms.firmware import config
    from bms.plant import chips

    rig = Rig("car_96s1p")
    known = chips.identities(rig.pack)
    rig.firmware = _firmware.Firmware(
        config.build(rig.cell, rig.pack, identities=[known[1], known[0], *known[2:]]), rig.start_us
    )
    rig.until(lambda: "afe_order" in rig.active(), 2000)
    rig.mode = 1
    assert rig.run(3000).coils == 0
