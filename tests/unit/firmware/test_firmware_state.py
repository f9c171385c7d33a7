"""Instances, snapshots, assertions, and the small functions everything stands on."""

from __future__ import annotations

import math
import random
import zlib

from firmware_rig import STATE, Rig

from bms import _firmware


def test_two_instances_side_by_side_are_equal() -> None:
    one, two = Rig("car_96s1p"), Rig("car_96s1p")
    for _ in range(1500):
        one.step()
        two.step()
        assert one.firmware.frames == two.firmware.frames and one.firmware.uart == two.firmware.uart
        if one.ms == 700:
            one.mode = two.mode = 1
    assert one.firmware.snapshot() == two.firmware.snapshot()


def test_a_restored_snapshot_goes_on_to_the_same_bits() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.log = []
    start = rig.firmware.snapshot()
    rig.load_a = 40.0
    rig.run(700)
    end = rig.firmware.snapshot()
    rig.firmware.restore(start)
    rig.firmware.replay_ns(b"".join(rig.log))
    assert rig.firmware.snapshot() == end != start


def test_time_that_runs_backwards_is_an_assertion_and_ends_in_zero_outputs() -> None:
    rig = Rig().to_normal()
    rig.firmware.step(rig.now_us - 500_000, 3)
    assert rig.firmware.pins == 0 and rig.probe("assert_place") > 0
    rig.run(2000)
    assert rig.firmware.pins == 0 and rig.state == STATE["asserted"]


def test_random_pins_frames_and_bytes_never_close_a_contactor(seed: int) -> None:
    chance = random.Random(seed)
    firmware = _firmware.Firmware(Rig().config, 0)
    for ms in range(1, 4000):
        frames = [
            (
                chance.randrange(2),
                chance.choice((0x80, 0xA0, 0x521, 0x522, 0x523, 0x37)),
                chance.randbytes(chance.choice((6, 8))),
            )
            for _ in range(chance.randrange(8))
        ]
        firmware.step(
            ms * 1000,
            chance.getrandbits(8),
            chance.getrandbits(14),
            chance.randbytes(chance.randrange(129)),
            frames,
        )
        assert firmware.pins & 7 == 0


def test_float_to_integer_rounds_clamps_and_knows_nan() -> None:
    convert = _firmware.float_to_int
    assert convert(1.5, -10, 10, 0) == 2 and convert(-1.5, -10, 10, 0) == -2
    assert convert(math.inf, -10, 10, 0) == 10 and convert(-math.inf, -10, 10, 0) == -10
    assert convert(1e30, -10, 10, 0) == 10 and convert(math.nan, -10, 10, -7) == -7
    assert convert(3e9, -(2**31), 2**31 - 1, 0) == 2**31 - 1


def test_the_clamp_turns_nan_into_its_lower_end() -> None:
    assert _firmware.float_clamp(math.nan, 0.0, 1.0) == 0.0
    assert (
        _firmware.float_clamp(2.0, 0.0, 1.0) == 1.0
        and _firmware.float_clamp(-math.inf, 0.0, 1.0) == 0.0
    )


def test_the_square_root_is_right_over_the_whole_range() -> None:
    for exponent in range(-30, 31):
        for x in (1.0, 1.7, 3.3, 9.99):
            value = x * 10.0**exponent
            assert abs(_firmware.float_sqrt(value) / math.sqrt(value) - 1.0) < 3e-7
    assert _firmware.float_sqrt(-1.0) == 0.0 and _firmware.float_sqrt(math.nan) == 0.0


def test_checksums_agree_with_their_check_values_and_with_a_bitwise_twin(seed: int) -> None:
    assert _firmware.crc16(b"123456789") == 0x4B37
    assert _firmware.crc32(b"123456789") == 0xCBF43926
    chance = random.Random(seed)
    for length in range(140):
        data = chance.randbytes(length)
        crc = 0xFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        assert _firmware.crc16(data) == crc
        assert _firmware.crc32(data) == zlib.crc32(data)


def test_the_end_to_end_code_agrees_with_the_profile() -> None:
    assert _firmware.e2e(0x0123, bytes(8)) == 0xCC
    assert _firmware.e2e(0x0123, bytes.fromhex("0001112233445566")) == 0x80
