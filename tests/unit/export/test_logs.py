"""A log of a real bus never stops its reader, whatever is in it."""

from __future__ import annotations

import export_made as made
import numpy as np
import pytest

from bms.errors import ConfigError
from bms.recorder import Frame, logs
from bms.recorder.export import convert
from bms.recorder.logs import BRS, ERROR, EXTENDED, FD, REMOTE

CANDUMP = """\
(1436509052.249713) vcan0 044#2A366C2BBA
(1436509052.449847) vcan0 0F6#7ADFE07BD2 T
(1436509052.650004) can1 12345678#
(1436509052.65)     can1 123#R
(1436509052.650100) can1 123#R5 R
(1436509052.650200) can1 123##1DE.AD.BE.EF
(1436509052.650300) can1 20000080#0000000000000000

 (1436509052.650400) slcan7 7FF#00
"""


def read(tmp_path, name: str, text: str) -> tuple[list[Frame], logs.BusLog]:
    (tmp_path / name).write_text(text)
    log = logs.open_log(tmp_path / name)
    return list(log), log


def test_candump_lines_are_read_with_their_kinds(tmp_path):
    frames, log = read(tmp_path, "a.log", CANDUMP)
    assert log.malformed == 0 and log.start_unix_ns == 1436509052249713000
    assert frames[0] == Frame(0, 0, 0, 0x44, 0, bytes.fromhex("2A366C2BBA"))
    assert frames[1].direction == 1 and frames[1].t_ns == 200_134_000
    assert frames[2][1:] == (1, 0, 0x12345678, EXTENDED, b"")
    assert frames[3].flags == REMOTE and frames[3].data == b""
    assert frames[4].flags == REMOTE and len(frames[4].data) == 5
    assert frames[5][1:] == (1, 0, 0x123, FD | BRS, bytes.fromhex("DEADBEEF"))
    assert frames[6].flags == ERROR
    assert frames[7][1:] == (7, 0, 0x7FF, 0, b"\0")


@pytest.mark.parametrize(
    "line",
    [
        "rubbish", "(1.0) can0 123", "(1.0) can0 12#00", "(1.0) can0 123#0", "(x.0) can0 123#00",
        "(1.0) can0 FFF#00", "(1.0) can0 123#000000000000000000", "(1.0) can0 123##0" + "00" * 9,
        "(1.0) can0 123#R500", "(99999999999999.0) can0 123#00", "\0\0\0",
    ],
)  # fmt: skip
def test_a_line_that_is_no_frame_is_counted_and_the_next_is_read(tmp_path, line):
    frames, log = read(tmp_path, "a.log", f"(1.0) can0 001#00\n{line}\n(2.0) can0 002#00\n")
    assert [f.id for f in frames] == [1, 2] and log.malformed == 1


ASC = """\
date Sat Nov 22 11:52:25.678 am 2025
base hex  timestamps absolute
internal events logged
// a comment
Begin Triggerblock Sat Nov 22 11:52:25.678 am 2025
   0.000000 Start of measurement
   0.010000 1  123             Rx   d 8 11 22 33 44 55 66 77 88  Length = 240000 BitCount = 124
   0.020000 2  18FF50E5x       Tx   d 2 AB CD
   0.030000 1  7FF             Rx   r
   0.040000 1  7FF             Rx   r 8
   0.050000 2  ErrorFrame
   0.055000 1  Statistic: D 10 R 0 XD 0 XR 0 E 0 O 0 B 2.00%
   0.060000 CANFD   1 Rx        321                                  1 0 a 16 000102030405060708090a0b0c0d0e0f
   0.070000 CANFD   1 Tx        321  AName                           0 1 2  2 01 02   0 0 1000 0 0 0 0 0
   0.080000 CAN 1 Status:chip status error active
End TriggerBlock
"""  # noqa: E501


def test_asc_lines_are_read_with_their_kinds(tmp_path):
    text = ASC.replace("000102030405060708090a0b0c0d0e0f", " ".join(f"{k:02x}" for k in range(16)))
    frames, log = read(tmp_path, "a.asc", text)
    assert log.malformed == 0 and log.start_unix_ns == 1763812345678000000
    assert frames[0] == Frame(10_000_000, 0, 0, 0x123, 0, bytes.fromhex("1122334455667788"))
    assert frames[1][1:] == (1, 1, 0x18FF50E5, EXTENDED, b"\xab\xcd")
    assert [(f.flags, len(f.data)) for f in frames[2:4]] == [(REMOTE, 0), (REMOTE, 8)]
    assert frames[4][1:5] == (1, 0, 0, ERROR)
    assert frames[5][1:] == (0, 0, 0x321, FD | BRS, bytes(range(16)))
    assert frames[6][1:] == (0, 1, 0x321, FD, b"\1\2") and len(frames) == 7


def test_asc_in_decimal_and_with_relative_times(tmp_path):
    text = "base dec  timestamps relative\n 0.5 1 291 Rx d 1 10\n 0.25 1 256x Rx d 2 255 1\n"
    frames, _ = read(tmp_path, "a.asc", text)
    assert frames[0] == Frame(500_000_000, 0, 0, 0x123, 0, b"\x0a")
    assert frames[1] == Frame(750_000_000, 0, 0, 256, EXTENDED, b"\xff\x01")


def test_what_is_no_log_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="candump, asc, blf, mdf4"):
        logs.open_log(tmp_path / "a.txt")
    with pytest.raises(ConfigError, match="No such file"):
        logs.open_log(tmp_path / "a.blf")


def test_the_format_is_known_by_its_beginning(tmp_path):
    (tmp_path / "a.log").write_bytes(b"LOGG" + bytes(200))
    assert logs.kind_of(tmp_path / "a.log") == "blf"
    assert logs.open_log(tmp_path / "a.log").kind == "blf"


@pytest.mark.parametrize("end", ["log", "asc", "blf", "mf4"])
def test_damaged_logs_neither_raise_nor_hang(tmp_path, seed, end):
    if end == "mf4":
        pytest.importorskip("asammdf", reason="pip install 'solid-bms[export]'")
    rec = made.record(tmp_path / "a.arrow", made.all_kinds_of_frames(seed))
    whole = tmp_path / f"a.{end}"
    convert(rec.path, whole, to={"log": "candump", "mf4": "mdf4"}.get(end, end),
            signals=["cmd_state"])  # fmt: skip
    good, rng = whole.read_bytes(), np.random.default_rng(seed)
    hurt = 0
    for _ in range(40 if end != "mf4" else 12):
        data = bytearray(good[: int(rng.integers(1, len(good)))])
        for at in rng.integers(0, len(data), 12):
            data[at] = rng.integers(0, 256)
        path = tmp_path / f"bad.{end}"
        path.write_bytes(data)
        log = logs.open_log(path, kind=logs.kind_of(whole))
        frames = list(log)
        hurt += log.malformed > 0
        assert len(frames) <= 300
        assert all(len(f.data) <= 64 and f.id < 1 << 29 and 0 <= f.bus < 256 for f in frames)
    assert hurt
