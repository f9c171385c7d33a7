"""Who may close: authority by CMAC and freshness, lock-out, and what needs no authority."""

from __future__ import annotations

import random

import pytest
from firmware_rig import CHARGE, DRIVE, INTERLOCK, STANDBY, STATE, Rig

from bms import _firmware
from bms.errors import ConfigError
from bms.firmware import config
from bms.protocols import dbc, request

AUTHORITY = dbc.frame_id("VcuAuthority")
NOT_AUTHORISED, LOCKED_OUT = 1, 2


def asked(rig: Rig) -> Rig:
    """Everything is ready but the authority: the link has fallen, a second of standby is over."""
    rig.to_standby()
    rig.mode = DRIVE
    return rig


def silent(rig: Rig) -> list[bytes]:
    """Keeps the sender's authority from the firmware; what it would have sent."""
    kept: list[bytes] = []

    def keep(data: bytes) -> bytes:
        kept.append(data)
        return b""  # a frame without a byte: counted, no more

    rig.authority = keep
    return kept


def test_a_request_without_authority_closes_nothing_and_with_it_closes_at_once() -> None:
    rig = Rig()
    silent(rig)
    asked(rig).run(1500)
    assert rig.coils == 0 and rig.state == STATE["standby"]
    assert rig.probe("refusal") == NOT_AUTHORISED and rig.probe("vcu_good") > 100
    rig.authority = lambda data: data
    assert rig.until(lambda: rig.state == STATE["normal_drive"], 1500) < 1000


def test_another_key_closes_nothing() -> None:
    rig = Rig()
    rig.operator.key = bytes(16)
    asked(rig).run(2000)
    assert rig.coils == 0 and rig.probe("authority_good") == 0


def test_every_bit_of_the_authority_counts() -> None:
    """No frame that differs from a genuine one is taken; three in ten seconds are tried at all."""
    rig = Rig().to_standby()
    rig.run(200)
    sender = rig.operator
    assert sender.challenge is not None
    genuine = request.authority(sender.key, sender.challenge, 7, "drive")
    start, ms = rig.firmware.snapshot(), rig.ms
    for bit in range(64):
        rig.firmware.restore(start)
        rig.ms = ms
        data = bytearray(genuine)
        data[bit // 8] ^= 1 << bit % 8
        rig.extra = [(0, AUTHORITY, bytes(data))]
        good = rig.probe("authority_good")
        rig.step()
        assert rig.probe("authority_good") == good and rig.probe("authority_wrong") == 1
    rig.firmware.restore(start)
    rig.ms = ms
    rig.extra = [(0, AUTHORITY, genuine)]
    assert rig.step().probe("authority_good") == 1


def test_a_recorded_frame_is_worth_nothing_again_nor_after_a_reset(seed: int) -> None:
    rig = Rig()
    kept: list[bytes] = []

    def record(data: bytes) -> bytes:
        kept.append(data)
        return data

    rig.authority = record
    rig.to_normal()
    rig.mode = STANDBY
    rig.until(lambda: rig.state == STATE["standby"], 1000)
    assert len(kept) > 3
    for again in range(3):  # the same chance at each boot: only the number of the boot differs
        silent(rig)
        if again:
            rig.reset(0)
        rig.to_standby()
        rig.mode = DRIVE
        for data in kept * 5:
            rig.extra = [(0, AUTHORITY, data)]
            rig.step()
            assert rig.coils == 0
        assert rig.probe("authority_good") == (len(kept) if not again else 0)
        rig.mode = STANDBY
        rig.run(11_000)


def test_a_challenge_never_comes_back_over_many_boots() -> None:
    rig, seen = Rig(), set()
    for _ in range(6):
        rig.until(lambda: rig.operator.challenge is not None, 1500)
        seen.add(rig.operator.challenge)
        rig.operator.challenge = None
        rig.reset(0)
    assert len(seen) == 6


def test_both_sides_find_together_again_within_a_second_after_a_reset() -> None:
    rig = Rig().to_normal()
    rig.mode = STANDBY
    rig.until(lambda: rig.state == STATE["standby"], 1000)
    rig.reset(1)
    rig.to_standby()
    rig.mode = DRIVE
    before = rig.probe("authority_good")
    assert rig.until(lambda: rig.probe("authority_good") > before, 1000) < 300
    rig.operator = request.Sender(request.TEST_KEY)  # and when the vehicle starts anew
    before = rig.probe("authority_good")
    assert rig.until(lambda: rig.probe("authority_good") > before, 1000) < 300


def test_going_to_standby_needs_no_authority() -> None:
    rig = Rig().to_normal()
    rig.authority = lambda _data: b""
    rig.mode = STANDBY
    assert rig.until(lambda: rig.coils == 0, 200) < 200


def test_drive_becomes_charge_only_with_authority() -> None:
    rig = Rig().to_normal()
    silent(rig)
    rig.run(500)
    rig.mode = CHARGE
    rig.run(500)
    assert rig.state == STATE["normal_drive"] and rig.probe("refusal") == NOT_AUTHORISED
    rig.authority = lambda data: data
    rig.until(lambda: rig.state == STATE["normal_charge"], 500)


def test_a_latch_is_cleared_only_with_authority() -> None:
    rig = Rig().to_normal()
    rig.pins &= ~INTERLOCK
    rig.until(lambda: rig.state == STATE["error"], 400)
    rig.pins |= INTERLOCK
    rig.mode = STANDBY
    rig.until(lambda: rig.state == STATE["latched"], 3000)
    silent(rig)
    rig.clear = 1
    rig.run(1000)
    assert rig.state == STATE["latched"]
    rig.authority = lambda data: data
    rig.until(lambda: rig.state == STATE["standby"], 500)


def test_spam_of_wrong_frames_locks_closing_out_for_ten_seconds(seed: int) -> None:
    rig, chance = Rig().to_standby(), random.Random(seed)
    for _ in range(30):
        rig.extra = [(0, AUTHORITY, chance.randbytes(8))]
        rig.step()
    assert rig.probe("lock_outs") == 1 and rig.probe("authority_wrong") == 3
    rig.mode = DRIVE
    rig.run(9500)
    assert rig.coils == 0 and rig.probe("refusal") == LOCKED_OUT and rig.operator.lock_out_s <= 1
    rig.until(lambda: rig.state == STATE["normal_drive"], 2000)
    rig.mode = STANDBY  # and opening is never locked out
    rig.until(lambda: rig.coils == 0, 300)


def test_a_fourth_wish_within_ten_seconds_locks_out() -> None:
    rig = Rig().to_standby()
    for _ in range(4):
        rig.mode = DRIVE
        rig.run(300)
        rig.mode = STANDBY
        rig.run(300)
    assert rig.probe("lock_outs") == 1
    rig.mode = DRIVE
    rig.run(6000)
    assert rig.coils == 0


def test_random_frames_never_close(seed: int) -> None:
    rig, chance = Rig(), random.Random(seed)
    silent(rig)
    asked(rig)
    for _ in range(3000):
        rig.extra = [(0, AUTHORITY, chance.randbytes(chance.choice((0, 3, 8, 8, 8, 12))))]
        assert rig.step().coils == 0


def test_a_key_of_the_configuration_is_the_one_that_counts() -> None:
    key = bytes(range(16))
    rig = Rig()
    rig.firmware = _firmware.Firmware(
        config.build(rig.cell, rig.pack, request_key=key), rig.start_us
    )
    rig.operator.key = key
    rig.to_normal()
    with pytest.raises(ConfigError, match="16 bytes"):
        config.build(rig.cell, rig.pack, request_key=b"short")
    with pytest.raises(ConfigError, match="32 hexadecimal digits"):
        request.read_key("not a key")
    assert request.read_key(key.hex()) == key
    assert b"TEST-ONLY" in request.TEST_KEY and "0001" not in repr(request.Sender(key))


def test_the_python_sender_and_the_firmware_mean_the_same_bytes(seed: int) -> None:
    chance = random.Random(seed)
    key, challenge = chance.randbytes(16), chance.randbytes(5)
    data = request.authority(key, challenge, 0x1234, "charge", clear=True)
    text = b"A" + AUTHORITY.to_bytes(2, "little") + challenge + data[:3]
    assert data[3:] == _firmware.cmac(key, text)[:5]
    said = dbc.decode(AUTHORITY, data)
    assert isinstance(said, dict)
    assert (said["Mode"], said["Clear"], said["Count"]) == ("charge", "clear", 0x1234)
