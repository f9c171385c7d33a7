"""Pins as messages: what goes in comes out, and silence or damage means the safe levels."""

from __future__ import annotations

import numpy as np

from bms import _realtime, spec
from bms.protocols import e2e

SAFE = sum(1 << p.bit for p in spec.pins() if p.direction == "input" and p.safe)
TIME_OUT_US = 50_000


def test_every_level_of_every_input_and_the_supply_arrive() -> None:
    sender, receiver = _realtime.IoModule(), _realtime.IoModule()
    for digital in range(256):
        identifier, data = sender.pack_inputs(digital, 100 * digital)
        assert receiver.take_inputs(1000, identifier, data)
        assert receiver.inputs(1000) == (digital, 100 * digital)


def test_every_level_of_every_output_and_the_duties_arrive() -> None:
    sender, receiver = _realtime.IoModule(), _realtime.IoModule()
    for digital in range(16):
        identifier, data = sender.pack_outputs(digital, 625 * digital, 10_000 - 625 * digital)
        assert receiver.take_outputs(1000, identifier, data)
        assert receiver.outputs(1000) == (digital, 625 * digital, 10_000 - 625 * digital)


def test_the_frames_are_those_of_the_dbc() -> None:
    sender, database = _realtime.IoModule(), spec.database()
    identifier, data = sender.pack_inputs(0b0000_0011, 13_500)
    found = database.decode_message(identifier, data, decode_choices=False)
    assert (found["Ignition"], found["Interlock"], found["Crash"]) == (1, 1, 0)
    assert found["SupplyVoltage"] == 13_500
    identifier, data = sender.pack_outputs(0b0001, 2_500, 0)
    found = database.decode_message(identifier, data, decode_choices=False)
    assert (found["MainPlus"], found["MainMinus"], found["HeaterDuty"]) == (1, 0, 25.0)
    assert e2e.p01_crc(data, identifier) == data[0]


def test_before_the_first_frame_and_after_the_time_out_the_levels_are_safe() -> None:
    sender, receiver = _realtime.IoModule(), _realtime.IoModule()
    assert receiver.inputs(0) == (SAFE, 0)
    identifier, data = sender.pack_inputs(3, 13_500)
    receiver.take_inputs(1_000_000, identifier, data)
    assert receiver.inputs(1_000_000 + TIME_OUT_US) == (3, 13_500)
    assert receiver.inputs(1_000_001 + TIME_OUT_US) == (SAFE, 0)
    assert int(receiver.fields["losses"][0]) == 1
    identifier, data = sender.pack_inputs(3, 13_500)
    assert receiver.take_inputs(2_000_000, identifier, data)
    assert receiver.inputs(2_000_000) == (3, 13_500)


def test_outputs_that_fall_silent_are_all_zero() -> None:
    sender, receiver = _realtime.IoModule(), _realtime.IoModule()
    receiver.take_outputs(0, *sender.pack_outputs(0b0111, 10_000, 10_000))
    assert receiver.outputs(TIME_OUT_US + 1) == (0, 0, 0)


def test_a_frame_that_repeats_itself_does_not_keep_the_contactors_closed() -> None:
    sender, receiver = _realtime.IoModule(), _realtime.IoModule()
    identifier, data = sender.pack_outputs(0b0011)
    assert receiver.take_outputs(0, identifier, data)
    for now_us in range(10_000, 100_000, 10_000):
        assert not receiver.take_outputs(now_us, identifier, data)
    assert receiver.outputs(90_000) == (0, 0, 0)


def test_no_damaged_frame_changes_a_pin(seed: int) -> None:
    """One or two bits, which the CRC finds wherever they are, or a frame cut short."""
    chance = np.random.default_rng(seed)
    sender, receiver = _realtime.IoModule(), _realtime.IoModule()
    receiver.take_outputs(0, *sender.pack_outputs(0))
    for _ in range(2000):
        identifier, data = sender.pack_outputs(0b0111)
        broken = bytearray(data)
        for place in chance.integers(0, 64, int(chance.integers(1, 3))):
            broken[place // 8] ^= 1 << (place % 8)
        cut = (
            bytes(broken[: int(chance.integers(0, 9))]) if chance.random() < 0.3 else bytes(broken)
        )
        flags = 4 if chance.random() < 0.1 else 0
        good = receiver.take_outputs(0, identifier, cut, flags)
        assert not good or cut == data
        assert receiver.outputs(0)[0] == (0b0111 if good else 0)
        receiver = _realtime.IoModule()
        receiver.take_outputs(0, *sender.pack_outputs(0))
