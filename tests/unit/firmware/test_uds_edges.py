"""Diagnostics and transport at their edges: each refusal, length, and frame that is too short."""

from __future__ import annotations

import pytest
from firmware_rig import DRIVE, STATE, Rig
from uds_bench import Tester, key_of, unlocked

from bms.spec import uds


@pytest.fixture
def rig() -> Rig:
    rig = Rig()
    rig.until(lambda: rig.state == STATE["standby"], 3000)
    return rig.run(300)


@pytest.fixture
def tester(rig: Rig) -> Tester:
    return Tester(rig)


def asked(tester: Tester, words: str) -> str:
    answer = tester.ask(bytes.fromhex(words))
    return answer.hex(" ") if answer is not None else "nothing"


@pytest.mark.parametrize(
    ("words", "answered"),
    [
        ("11 02", "7f 11 12"),
        ("11 01 00", "7f 11 13"),
        ("27 01 00", "7f 27 13"),
        ("27 02", "7f 27 13"),
        ("27 02" + 16 * " 00", "7f 27 24"),  # a key nobody gave a seed for
        ("27 05", "7f 27 12"),
        ("31 01 02", "7f 31 13"),
        ("31 02 02 01", "7f 31 12"),
        ("31 01 02 01 00", "7f 31 13"),
        ("31 01 12 34", "7f 31 31"),
        ("31 03 02 01", "7f 31 24"),
        ("31 03 02 02", "7f 31 24"),
        ("31 01 02 02", "7f 31 33"),
        ("2e f1 90", "7f 2e 13"),
        ("2e f1 86 01", "7f 2e 31"),
        ("2e 12 34 01", "7f 2e 31"),
        ("14 1a 00 01", "7f 14 31"),
        ("14 00 01 63", "7f 14 31"),
        ("19 0a 00", "7f 19 13"),
        ("19 04 00 00 00", "7f 19 13"),
        ("19 06 ff ff ff 01", "7f 19 31"),
    ],
)
def test_each_refusal_of_an_extended_session(tester: Tester, words: str, answered: str) -> None:
    assert asked(tester, "10 03")[:5] == "50 03"
    assert asked(tester, words) == answered


def first_code(tester: Tester) -> bytes:
    answer = tester.ask(bytes.fromhex("19 0a"))
    assert answer is not None
    return answer[3:6]


def test_one_code_is_told_without_a_frame_with_and_for_any_record(tester: Tester) -> None:
    code = first_code(tester)
    for record in (b"\x01", b"\xff"):
        answer = tester.ask(b"\x19\x04" + code + record)
        assert answer is not None and answer[:5] == b"\x59\x04" + code and len(answer) == 6
    answer = tester.ask(b"\x19\x06" + code + b"\x01")
    assert answer is not None and answer[6:] == b"\x01\x00", "not latched"
    assert asked(tester, "19 04 " + code.hex(" ") + " 02") == "7f 19 31", "no such record"
    last = bytes([code[0], 0xFF, code[2]])
    assert asked(tester, "19 04 " + last.hex(" ") + " 01") == "7f 19 31", "no such diagnosis"
    none = bytes([code[0], 0x00, code[2]])
    assert asked(tester, "19 04 " + none.hex(" ") + " 01") == "7f 19 31"
    assert asked(tester, "14 " + none.hex(" ")) == "7f 14 31"
    assert asked(tester, "14 " + last.hex(" ")) == "7f 14 31"


def test_one_code_alone_is_cleared(rig: Rig, tester: Tester) -> None:
    rig.pins = 0  # interlock open
    rig.run(500)
    status = tester.ask(bytes.fromhex("19 02 01"))
    assert status is not None and len(status) > 3
    rig.pins = Rig().pins
    rig.run(3000)
    code = status[3:6]
    assert asked(tester, "10 03")[:5] == "50 03"
    assert asked(tester, "14 " + code.hex(" ")) == "54"


def test_an_unlocked_tester_is_given_a_seed_of_zeros(tester: Tester) -> None:
    unlocked(tester)
    assert tester.ask(bytes.fromhex("27 01")) == bytes.fromhex("67 01") + bytes(16)


def test_a_right_key_forgets_wrong_ones(tester: Tester) -> None:
    assert asked(tester, "10 03")[:5] == "50 03"
    for _ in range(2):
        tester.ask(bytes.fromhex("27 01"))
        assert asked(tester, "27 02" + 16 * " 00") == "7f 27 35"
    seed = tester.ask(bytes.fromhex("27 01"))
    assert seed is not None
    assert tester.ask(b"\x27\x02" + key_of(seed[2:])) == b"\x67\x02"
    assert asked(tester, "10 03")[:5] == "50 03"
    for _ in range(2):  # not the third and fourth wrong one
        tester.ask(bytes.fromhex("27 01"))
        assert asked(tester, "27 02" + 16 * " 00") == "7f 27 35"


def test_during_the_penalty_neither_seed_nor_key_is_taken(tester: Tester) -> None:
    assert asked(tester, "10 03")[:5] == "50 03"
    for _ in range(3):
        tester.ask(bytes.fromhex("27 01"))
        last = asked(tester, "27 02" + 16 * " 00")
    assert last == "7f 27 36"
    assert asked(tester, "27 01") == "7f 27 37"
    assert asked(tester, "27 02" + 16 * " 00") == "7f 27 37"


def test_nothing_is_written_reset_or_tested_while_contactors_are_closed(
    rig: Rig, tester: Tester
) -> None:
    rig.mode = DRIVE
    rig.until(lambda: rig.state == STATE["normal_drive"], 5000)
    unlocked(tester)
    row = next(row for row in uds.identifiers().values() if row.write)
    wanted = f"2e {row.id >> 8:02x} {row.id & 255:02x}" + row.bytes * " 00"
    for words in (wanted, "11 01", "31 01 02 01", "31 01 02 02", "14 ff ff ff"):
        assert asked(tester, words) == f"7f {words[:2]} 22", words


def test_a_result_is_told_again_and_a_repeat_starts_anew(tester: Tester) -> None:
    unlocked(tester)
    first = asked(tester, "31 01 02 01")
    assert asked(tester, "31 03 02 01") == first.replace("71 01", "71 03")


# ---- transport ----


@pytest.mark.parametrize(
    "data",
    [
        b"\x10",  # a first frame without its length
        b"\x10\x10",
        b"\x10\x10\x22\x01\x10\x01\x10",  # seven bytes
        b"\x10\x07\x22\x01\x10\x01\x10\x01",  # would have been a single frame
        b"\x10\x00\x00\x00\x10\x00\x00\x00",  # a length of 32 bits
        b"\x21\x00",
        b"\x70\x00",
    ],
)
def test_frames_that_are_no_message_leave_it_ready(rig: Rig, tester: Tester, data: bytes) -> None:
    rig.extra.append((0, uds.REQUEST_ID, data))
    rig.run(1100)
    assert asked(tester, "3e 00") == "7e 00"


def test_a_consecutive_frame_that_is_too_short_ends_the_message(rig: Rig, tester: Tester) -> None:
    rig.extra += [
        (0, uds.REQUEST_ID, b"\x10\x0b\x22\x01\x10\x01\x10\x01"),
        (0, uds.REQUEST_ID, b"\x21\x10\x01\x10"),
    ]
    rig.run(20)
    assert asked(tester, "3e 00") == "7e 00"


def test_a_flow_control_without_its_pace_is_not_one(rig: Rig) -> None:
    rig.extra.append((0, uds.REQUEST_ID, b"\x03\x22\x01\x10"))
    rig.run(20)
    rig.extra.append((0, uds.REQUEST_ID, b"\x30\x00"))
    quiet = [d for _ in range(20) for _b, who, d in rig.step().sent if who == uds.ANSWER_ID]
    assert quiet == []
    rig.extra.append((0, uds.REQUEST_ID, b"\x30\x00\xfa"))  # a reserved pace: the slowest
    rig.step()
    heard = [d for _ in range(200) for _b, who, d in rig.step().sent if who == uds.ANSWER_ID]
    assert 1 <= len(heard) <= 2


def test_everybody_is_asked_in_single_frames_only(rig: Rig, tester: Tester) -> None:
    for data in (b"\x10\x10\x22\x01\x10\x01\x10\x01", b"\x30\x00\x00"):
        rig.extra.append((0, uds.EVERYBODY_ID, data))
        heard = [d for _ in range(20) for _b, who, d in rig.step().sent if who == uds.ANSWER_ID]
        assert heard == []
    assert asked(tester, "3e 00") == "7e 00"


def test_a_second_question_before_the_first_is_answered_is_not_for_us(rig: Rig) -> None:
    question = (0, uds.REQUEST_ID, b"\x02\x3e\x00")
    rig.extra += [question, question, question]
    heard = [d for _ in range(20) for _b, who, d in rig.step().sent if who == uds.ANSWER_ID]
    assert len(heard) == 1
