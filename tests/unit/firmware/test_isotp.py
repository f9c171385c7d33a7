"""ISO-TP of the firmware: pacing, blocks, and what a peer that misbehaves costs (SEC-08)."""

from __future__ import annotations

import itertools

import pytest
from firmware_rig import STATE, Rig

from bms.spec import uds

READ_BLOCKS = bytes.fromhex("03 22 01 10")  # two bytes a block: several frames
GO = b"\x30\x00\x00"


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.until(lambda: rig.state == STATE["standby"], 3000)
    return rig.run(200)


def say(rig: Rig, *frames: bytes) -> list[tuple[int, bytes]]:
    """The answers, with the millisecond of each, of the 20 ms after the last frame."""
    rig.extra += [(0, uds.REQUEST_ID, data) for data in frames]
    return listen(rig, 20)


def listen(rig: Rig, ms: int) -> list[tuple[int, bytes]]:
    heard = []
    for _ in range(ms):
        rig.step()
        heard += [(rig.ms, data) for _bus, who, data in rig.sent if who == uds.ANSWER_ID]
    return heard


def alive(rig: Rig) -> bool:
    """Whether it answers a plain request."""
    return [d[:3] for _, d in say(rig, b"\x02\x3e\x00")] == [b"\x02\x7e\x00"]


def test_a_long_answer_waits_for_flow_control_and_keeps_blocks_and_pace(rig: Rig) -> None:
    first = say(rig, READ_BLOCKS)
    assert [d[0] >> 4 for _, d in first] == [1]
    block = say(rig, b"\x30\x02\x05")
    assert [d[0] for _, d in block] == [0x21, 0x22]
    assert block[1][0] - block[0][0] == 5
    rest = say(rig, GO)
    assert [d[0] for _, d in rest] == [0x23, 0x24, 0x25]
    total = (first[0][1][0] & 15) << 8 | first[0][1][1]
    assert total == 3 + 2 * rig.blocks
    data = first[0][1][2:] + b"".join(d[1:] for _, d in block + rest)
    assert data[:3] == b"\x62\x01\x10"
    assert int.from_bytes(data[3:5], "big") == pytest.approx(rig.volts[0] * 1e3, abs=5)


@pytest.mark.parametrize(
    ("st_min", "gap_ms"), [(0, 1), (1, 1), (3, 3), (0xF1, 1), (0xF9, 1), (0x7F, 127), (0x80, 127)]
)
def test_the_pace_asked_for_is_kept(rig: Rig, st_min: int, gap_ms: int) -> None:
    say(rig, READ_BLOCKS)
    rig.extra.append((0, uds.REQUEST_ID, bytes([0x30, 0, st_min])))
    frames = listen(rig, 800)
    assert len(frames) == 5
    gaps = {b[0] - a[0] for a, b in itertools.pairwise(frames)}
    assert gaps == {gap_ms}


def test_a_receiver_that_never_answers_costs_a_second(rig: Rig) -> None:
    say(rig, READ_BLOCKS)
    assert listen(rig, 900) == []
    assert not alive(rig)
    rig.run(150)
    assert alive(rig)


@pytest.mark.parametrize("flow", [b"\x32\x00\x00", b"\x33\x00\x00", b"\x3f\x00\x00"])
def test_overflow_and_nonsense_end_the_answer(rig: Rig, flow: bytes) -> None:
    say(rig, READ_BLOCKS)
    assert say(rig, flow) == []
    assert alive(rig)


def test_a_receiver_may_not_say_wait_for_ever(rig: Rig) -> None:
    say(rig, READ_BLOCKS)
    for _ in range(8):
        assert say(rig, b"\x31\x00\x00") == []
        rig.run(500)
    assert not alive(rig)
    say(rig, b"\x31\x00\x00")
    assert alive(rig)


def test_flow_control_nobody_asked_for_is_nothing(rig: Rig) -> None:
    assert say(rig, *[GO] * 20) == []
    assert alive(rig)


def test_a_message_that_does_not_fit_is_refused_and_forgotten(rig: Rig) -> None:
    for head in (b"\x1f\xff", b"\x10\x81", b"\x10\x00"):
        assert [d[0] for _, d in say(rig, head + bytes(6))] == [0x32]
    assert alive(rig)


def test_a_first_frame_and_silence_costs_nothing(rig: Rig) -> None:
    assert [d[0] for _, d in say(rig, b"\x10\x40" + bytes(6))] == [0x30]
    assert alive(rig), "a new message ends an old one"
    say(rig, b"\x10\x40" + bytes(6))
    rig.run(1100)
    assert say(rig, b"\x21" + bytes(7)) == []
    assert alive(rig)


def test_a_wrong_sequence_number_ends_the_message(rig: Rig) -> None:
    say(rig, b"\x10\x14\x2e\xf1\x90AAA")
    assert say(rig, b"\x22" + b"A" * 7) == []
    assert say(rig, b"\x21" + b"A" * 7, b"\x22" + b"A" * 7) == []
    assert alive(rig)


def test_it_asks_for_blocks_it_can_hold(rig: Rig) -> None:
    flow = say(rig, b"\x10\x80\x22" + bytes(5))
    assert [d[:3] for _, d in flow] == [b"\x30\x08\x01"]
    for k in range(1, 8):
        assert say(rig, bytes([0x20 | k]) + bytes(7)) == []
    assert [d[:1] for _, d in say(rig, b"\x28" + bytes(7))] == [b"\x30"]


def test_a_flood_of_first_frames_leaves_the_bus_alone(rig: Rig) -> None:
    answers = 0
    for _ in range(200):
        rig.extra += [(0, uds.REQUEST_ID, b"\x10\x40" + bytes(6))] * 10
        rig.step()
        answers += sum(who == uds.ANSWER_ID for _bus, who, _data in rig.sent)
    assert answers <= 200, "one flow control a millisecond at most"
    assert rig.state == STATE["standby"]
    rig.run(1100)
    assert alive(rig)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x08" + bytes(7), b"\x05\x3e\x00", b"\x40" * 8])
def test_malformed_frames_are_nothing(rig: Rig, data: bytes) -> None:
    assert say(rig, data) == []
    assert alive(rig)
