"""Hands on a simulated pack: frames when due, protected as they should be; registers; clearing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bms_gui.transmit import Job, Schedule

from bms.protocols import dbc, e2e

RAW = Job(1, 0, 0x555, bytes(8), 0.1)
STATUS = Job(2, 0, dbc.frame_id("IoInputs"), bytes(8), 0.01, dbc.data_id("IoInputs") or 0)


def ours(near: Any) -> Any:
    frames = near.samples.frames()
    return frames, frames.direction == 2


def test_frames_are_sent_in_their_rhythm_in_simulated_time(near: Any) -> None:
    near.run(1.0)
    assert near.hands.do(("transmit", (RAW, STATUS))) == ""
    near.run(1.0)
    frames, mine = ours(near)
    raw_s = frames.time_s[mine & (frames.id == RAW.id)]
    assert len(raw_s) == 10 and np.allclose(np.diff(raw_s), 0.1, atol=0.002)
    assert (mine & (frames.id == STATUS.id)).sum() == 100
    assert near.hands.do(("transmit", ())) == ""
    near.run(1.0)
    assert ours(near)[1].sum() == 110


def test_counter_and_crc_are_right_or_wrong_on_purpose(near: Any) -> None:
    def verdicts(job: Job) -> list[e2e.Status]:
        seen = near.samples.frames().total
        near.hands.do(("transmit", (job,)))
        near.run(0.2)
        frames = near.samples.frames()
        new = slice(len(frames.id) - (frames.total - seen), None)
        receiver = e2e.Receiver(job.data_id)
        mine = frames.direction[new] == 2
        return [receiver.check(bytes(d)) for d in frames.data[new][mine]]

    right = verdicts(STATUS)
    assert set(right[1:]) == {e2e.Status.OK} and len(right) >= 19
    crc = Job(3, 0, STATUS.id, bytes(8), 0.01, STATUS.data_id, spoil="crc")
    assert set(verdicts(crc)) == {e2e.Status.CRC_ERROR}
    stuck = Job(4, 0, STATUS.id, bytes(8), 0.01, STATUS.data_id, spoil="counter")
    assert set(verdicts(stuck)[1:]) == {e2e.Status.REPEATED}


def test_a_frame_sent_once_is_sent_once() -> None:
    schedule = Schedule()
    schedule.use([Job(1, 0, 0x123, b"\x01", 0.0)], 5.0)
    assert [data for _, data in schedule.due(5.0)] == [b"\x01"]
    assert schedule.due(9.0) == [] and schedule.next_s == float("inf")


def test_after_a_pause_not_all_that_was_missed_is_sent() -> None:
    schedule = Schedule()
    schedule.use([RAW], 0.0)
    assert len(schedule.due(0.0)) == 1
    assert len(schedule.due(60.0)) == 1 and schedule.next_s > 60.0


def test_changing_a_row_keeps_its_counter() -> None:
    schedule = Schedule()
    schedule.use([STATUS], 0.0)
    first = [schedule.due(0.01 * k)[0][1][1] & 15 for k in range(3)]
    schedule.use([Job(2, 0, STATUS.id, bytes([0, 0, 1]) + bytes(5), 0.02, STATUS.data_id)], 0.03)
    assert first == [0, 1, 2] and schedule.due(0.05)[0][1][1] & 15 == 3


@pytest.mark.parametrize(
    "job", [Job(1, 7, 0x100, b""), Job(1, 0, 1 << 29, b""), Job(1, 0, -1, b"")]
)
def test_a_frame_no_bus_can_carry_is_refused(near: Any, job: Job) -> None:
    assert "no bus" in near.hands.do(("transmit", (job,)))


def test_a_register_is_written_with_what_that_sets_off(near: Any) -> None:
    near.run(6.0)
    near.hands.do(("registers", True))
    assert near.hands.tell()["registers"].values.shape == (1, 512)
    assert near.hands.do(("write_register", 0, 0x30D, 0x04)) == ""  # MAIN_GO, stop converting
    near.run(1.0)
    raised = {e.name for e in near.events if e.kind == "diagnosis" and "raised" in e.text}
    assert raised & {"afe_frozen", "cell_voltage_unknown"}, raised
    assert any(e.kind == "act" and e.name == "register 0x30D" for e in near.events)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (("write_register", 0, 0x568, 1), "cannot be written"),
        (("write_register", 5, 0x309, 1), "of chip 6 cannot"),
        (("write_register", 0, 0x309, 256), "0 to 255"),
        (("inject", "XYZ-99", 0, None, 0.0, None, None), "XYZ-99"),
        (("inject", "CEL-02", 4000, None, 0.0, None, None), "4000"),
        (("fly",), "cannot fly"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    near: Any, message: tuple[Any, ...], words: str
) -> None:
    told = near.hands.do(message)
    assert words in told and "\n" not in told and "Traceback" not in told


def test_registers_cost_nothing_while_nobody_looks(near: Any) -> None:
    assert near.hands.tell()["registers"] is None
    near.hands.do(("registers", True))
    near.hands.do(("registers", False))
    assert near.hands.tell()["registers"] is None


def test_a_clear_request_is_sent_by_the_vehicle_for_a_while(near: Any) -> None:
    near.run(1.0)
    near.hands.do(("clear", True))
    near.run(2.0)
    frames = near.samples.frames()
    asked = [
        dbc.decode(0x080, bytes(d))["ClearRequest"]  # type: ignore[index]
        for d in frames.data[frames.id == 0x080]
    ]
    assert 40 <= asked.count("clear") <= 60 and asked[-1] == "no"


def test_a_fault_comes_goes_and_can_be_withdrawn(near: Any) -> None:
    near.run(1.0)
    assert near.hands.do(("inject", "CEL-02", 5, None, 1.0, 0.0, None)) == ""
    armed = near.hands.tell()["injected"]
    assert [(i.id, i.index, i.state) for i in armed] == [("CEL-02", 5, "armed")]
    near.run(1.5)
    assert near.hands.tell()["injected"][0].state == "active"
    near.hands.do(("withdraw", armed[0].handle))
    near.run(0.1)
    assert all(i.state == "over" for i in near.hands.tell()["injected"])
    told = [(e.name, e.text) for e in near.events if e.kind == "fault"]
    assert ("CEL-02", "on") in told and ("CEL-02", "off") in told
