"""CAN traffic: verdicts as the receiver's, every frame once, what is odd told, filters by words."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bms_gui import decode
from bms_gui.snapshot import Frames
from bms_gui.traffic import NOT_PROTECTED, Filter, Shown, Traffic, judge, odd_times

from bms import Simulation
from bms.protocols import codec, dbc, e2e
from bms.tap import Tap


def frames_of(rows: list[tuple[float, int, bytes]], total: int, **more: int) -> Frames:
    n = len(rows)
    data = np.zeros((n, 8), np.uint8)
    for k, (_, _, payload) in enumerate(rows):
        data[k, : len(payload)] = list(payload)
    fill = {name: np.full(n, more.get(name, 0), np.uint8) for name in ("bus", "direction", "flags")}
    return Frames(
        np.array([r[0] for r in rows]),
        np.array([r[1] for r in rows], np.uint32),
        fill["bus"],
        fill["direction"],
        fill["flags"],
        np.array([len(r[2]) for r in rows], np.uint8),
        data,
        total,
    )


@pytest.fixture(scope="module")
def real() -> Frames:
    piece = Tap(Simulation("drive", pack="bench_16s1p", seed=1)).run(4.0)
    f = piece.frames
    names = ("time_s", "id", "bus", "direction", "flags", "length", "data")
    return Frames(*(getattr(f, n) for n in names), len(f.id))


def test_verdicts_are_those_of_the_receiver_one_by_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sender, receiver = e2e.Sender(0x100), e2e.Receiver(0x100)
    sent = []
    for _ in range(600):
        frame = bytearray(sender.protect(bytes(rng.integers(0, 256, 8, np.uint8))))
        match int(rng.integers(0, 8)):
            case 0:
                frame[int(rng.integers(0, 8))] ^= 1 << int(rng.integers(0, 8))
            case 1:
                sender.counter = int(rng.integers(0, 15))
            case 2 if sent:
                frame = bytearray(sent[-1])
        sent.append(bytes(frame))
    data = np.array([list(f) for f in sent], np.uint8)
    length = np.full(len(sent), 8, np.uint8)
    expected = [int(receiver.check(f)) for f in sent]
    told, counter = [], -1
    for part in np.array_split(np.arange(len(sent)), 37):
        verdicts, counter = judge(data[part], length[part], 0x100, counter)
        told += verdicts.tolist()
    assert told == expected and len(set(expected)) == 6


def test_a_frame_that_is_too_short_to_be_protected_is_wrong() -> None:
    verdicts, _ = judge(np.zeros((1, 8), np.uint8), np.array([1], np.uint8), 0x100, -1)
    assert verdicts[0] == e2e.Status.CRC_ERROR


def test_every_frame_is_taken_once_in_its_order_and_right(real: Frames) -> None:
    traffic, at = Traffic(), 0
    for n in (1, 700, 3, 1000, 10_000):
        part = slice(0, min(len(real.id), at + n))
        names = ("time_s", "id", "bus", "direction", "flags", "length", "data")
        now = Frames(*(getattr(real, x)[part] for x in names), part.stop)
        traffic.take(now)
        traffic.take(now)  # the same moment again adds nothing
        at = part.stop
    assert traffic.total == len(real.id) and traffic.missed == 0
    assert np.array_equal(traffic.time_s[: traffic.total], real.time_s)
    protected = traffic.verdict[: traffic.total]
    assert set(np.unique(protected)) <= {0, int(e2e.Status.INITIAL), NOT_PROTECTED}
    state = next(t for t in traffic.talkers if t.id == dbc.frame_id("BmsState"))
    assert state.kind.name == "BmsState" and state.odd == 0
    assert state.period_s == pytest.approx(0.01, rel=0.05)


def test_old_frames_are_forgotten_and_lost_ones_counted(real: Frames) -> None:
    traffic = Traffic(capacity=100)
    shown = Shown(traffic)
    shown.use(Filter())
    traffic.take(real)
    shown.follow()
    assert traffic.missed == len(real.id) - 100 and len(shown.numbers) == 100
    rows = [(real.time_s[-1] + 1.0, 0x100, bytes(8))]
    traffic.take(frames_of(rows, real.total + 1, direction=1))
    shown.follow()
    assert len(shown.numbers) == 100 and shown.numbers[-1] == 100 and shown.numbers[0] == 1


def test_another_source_begins_anew(real: Frames) -> None:
    traffic = Traffic()
    traffic.take(real)
    traffic.take(frames_of([(0.0, 0x100, bytes(8))], 1))
    assert traffic.total == 1 and len(traffic.talkers) == 1


@pytest.mark.parametrize(
    ("delta_s", "odd"), [(0.010, 0), (0.0155, 0), (0.0165, 1), (0.0035, -1), (0.0045, 0)]
)
def test_what_is_late_or_early_by_the_cycle_time(delta_s: float, odd: int) -> None:
    assert odd_times(np.array([delta_s]), 0.010)[0] == odd
    assert odd_times(np.array([delta_s]), float("nan"))[0] == 0
    assert odd_times(np.array([np.nan]), 0.010)[0] == 0


def test_only_odd_frames_are_left_when_asked(real: Frames) -> None:
    late = dataclasses.replace(real, time_s=real.time_s.copy())
    at = np.flatnonzero(real.id == 0x100)[-1]
    late.time_s[at] += 0.02
    traffic = Traffic()
    shown = Shown(traffic)
    traffic.take(late)
    shown.use(Filter(odd=True, text="bmsstate"))
    assert shown.numbers.tolist() == [at]


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Filter("bmsstate"), True), (Filter("0x100"), True), (Filter("firsttrip"), True),
        (Filter("100 state"), True), (Filter("101"), False), (Filter(bus=1), False),
        (Filter(bus=0, direction=1), True), (Filter(direction=2), False),
    ],
)  # fmt: skip
def test_a_filter_takes_by_words_bus_and_direction(wanted: Filter, takes: bool) -> None:
    traffic = Traffic()
    shown = Shown(traffic)
    traffic.take(frames_of([(0.0, 0x100, bytes(8))], 1, direction=1))
    shown.use(wanted)
    assert bool(len(shown.numbers)) is takes


def test_signals_have_units_and_words_and_bad_bytes_never_raise(seed: int) -> None:
    told = {n: (v, u) for n, v, u in decode.signals(0, 0x101, 0, bytes(8))}
    assert told["PackVoltage"] == ("0", "V")
    state = {n: v for n, v, _ in decode.signals(0, 0x100, 0, bytes(8))}
    assert state["State"] == "init" and state["FirstTripDiagnosis"] == "0 (none)"
    assert "does not fit BmsState" in decode.signals(0, 0x100, 0, b"1")[0][1]
    assert decode.signals(1, 0x521, 0, bytes((0, 0, 0, 0, 4, 0)))[0] == ("current", "1.024", "A")
    rng = np.random.default_rng(seed)
    for _ in range(2000):
        identifier = int(rng.choice([0x100, 0x521, 0x037, 0x18FF50E5, int(rng.integers(1 << 29))]))
        data = bytes(rng.integers(0, 256, int(rng.integers(0, 9)), np.uint8))
        rows: Any = decode.signals(int(rng.integers(2)), identifier, int(rng.integers(32)), data)
        assert all(len(row) == 3 for row in rows)
        assert isinstance(decode.kind(0, identifier, 1).name, str)


FOREIGN = """VERSION ""
BU_: ECU
BO_ 256 Motor: 2 ECU
 SG_ Speed : 0|16@1+ (0.5,0) [0|32767] "rpm" ECU
"""


def test_a_bus_that_is_not_ours_is_told_by_its_own_database(tmp_path: Path) -> None:
    path = tmp_path / "motor.dbc"
    path.write_text(FOREIGN)
    traffic = Traffic()
    traffic.book = codec.load(path)
    traffic.take(frames_of([(0.0, 0x100, b"\x04\x00"), (0.1, 0x101, bytes(8))], 2))
    assert [t.kind.name for t in traffic.talkers] == ["Motor", ""]
    assert decode.signals(0, 0x100, 0, b"\x04\x00", traffic.book) == [("Speed", "2", "rpm")]
    assert "does not fit Motor" in decode.signals(0, 0x100, 0, bytes(8), traffic.book)[0][1]
    traffic.clear()
    assert traffic.book is not None
