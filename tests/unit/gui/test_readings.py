"""What panels read out of events, samples and registers, without a window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bms_gui.catalogue import catalogue, places
from bms_gui.detection import detection
from bms_gui.diagnoses import amount, entries, frozen, place
from bms_gui.history import elements, line, lines, rank
from bms_gui.registers import FIRST_READ_ONLY, Register, bits_of, slot, table, value_of, words
from bms_gui.snapshot import Injected, Shape

from bms.recorder import Event


def event(time_s: float, name: str, text: str, index: int = -1, value: float = np.nan) -> Event:
    return Event(round(time_s * 1e9), "diagnosis", name, index, value, text)


# ---- diagnoses ----


def test_a_diagnosis_is_one_entry_with_its_worst_tier_and_count() -> None:
    told = entries(
        [
            event(1.0, "cell_overvoltage", "operate raised", 3, 4210.0),
            event(2.0, "cell_overvoltage", "operate cleared", 3),
            event(3.0, "cell_overvoltage", "operate raised", 4, 4220.0),
            event(3.5, "cell_overvoltage", "trip raised", 4, 4310.0),
            event(4.0, "cell_imbalance", "warn raised", 1, 301.0),
            event(5.0, "cell_imbalance", "warn cleared", 1),
        ]
    )
    assert [e.name for e in told] == ["cell_imbalance", "cell_overvoltage"]
    over = told[1]
    assert (over.count, over.worst, over.active, over.index) == (2, "trip", "trip", 4)
    assert (over.first_s, over.last_s, over.worst_s) == (1.0, 3.5, 3.5)
    assert over.is_latched and place(over) == "cell 5" and amount(over) == "4.310 V"
    assert told[0].active == "" and told[0].count == 1


def test_what_was_not_yet_is_not_told_when_looking_back() -> None:
    told = [event(1.0, "crash", "trip raised"), event(9.0, "interlock_open", "trip raised")]
    assert [e.name for e in entries(told, until_s=5.0)] == ["crash"]


def test_names_from_the_wire_never_raise() -> None:
    (entry,) = entries([event(1.0, "<b>no such</b>", "trip raised", 7, 3.0)])
    assert entry.known is None and place(entry) == "" and amount(entry) == "3"
    assert entries([event(1.0, "crash", "garbage")]) == []


def test_the_moment_it_was_raised_is_frozen(near: Any) -> None:
    near.run(8.0)
    snapshot = near.snapshot()
    rows = dict(frozen(snapshot.data, dict(snapshot.signals), 7.0))
    assert rows["cmd_state"] == "normal_drive" and rows["meas_pack_voltage_v"].endswith(" V")
    assert frozen(None, {}, 7.0) == []


# ---- faults ----


def active(on_s: float, **more: Any) -> Injected:
    return Injected(1, "CEL-02", 3, 1.0, "active", on_s, float("inf"), **more)


def test_a_trip_is_noticed_when_told_and_reacted_to_when_the_contacts_part() -> None:
    fault = catalogue()["CEL-02"]
    opened = Event(10_200_000_000, "contactor", "main plus opened", -1, 0.0, "")
    told = [event(9.0, "soc_low", "warn raised"), event(10.1, fault.diagnoses[0], "trip raised")]
    found = detection(fault, active(10.0), [*told, opened], 12.0)
    assert found.diagnosis == fault.diagnoses[0] and found.is_expected
    assert found.detected_ms == pytest.approx(100.0) and found.reacted_ms == pytest.approx(200.0)
    assert found.is_in_time is (fault.budget_ms >= 200.0)


def test_a_fault_nobody_noticed_is_late_only_when_its_budget_is_over() -> None:
    fault = catalogue()["CEL-02"]
    soon = 10.0 + 0.5e-3 * fault.budget_ms
    assert detection(fault, active(10.0), [], soon).is_in_time is None
    assert detection(fault, active(10.0), [], 10.0 + 2e-3 * fault.budget_ms).is_in_time is False
    ramped = active(10.0, ramp_s=5.0)
    assert detection(fault, ramped, [], 100.0).is_in_time is None  # when it was due, nobody knows


def test_a_fault_that_waits_and_one_unknown_say_nothing() -> None:
    waiting = Injected(1, "CEL-02", 3, 1.0, "armed", 10.0, float("inf"))
    assert detection(catalogue()["CEL-02"], waiting, [], 5.0).diagnosis == ""
    assert (
        detection(None, active(1.0), [event(2.0, "crash", "trip raised")], 3.0).is_in_time is None
    )


def test_places_are_those_of_the_pack() -> None:
    fault = catalogue()["CEL-02"]
    assert places(fault, "bench_16s1p") == 16 and places(fault, "car_96s1p") == 96
    assert places(fault, "no such pack") > 400


# ---- a cell ----


@pytest.mark.parametrize(
    ("count", "k", "expected"),
    [
        (288, 5, [5, 101, 197]), (96, 5, [5]), (8, 13, [1]), (48, 13, [6]), (0, 3, []),
        (96, 96, []),        (96, -1, []),
    ],
)  # fmt: skip
def test_elements_of_a_block(count: int, k: int, expected: list[int]) -> None:
    assert elements(Shape("car", 96, 3, 12), count, k).tolist() == expected


def test_a_cell_is_told_with_its_history_and_against_the_others(near: Any) -> None:
    near.run(10.0)
    snapshot = near.snapshot()
    told = {q.title: rows for q, rows in lines(snapshot, 4, 60.0)}
    assert {"Voltage", "Core", "Charge", "Pressure"} <= set(told)
    truth, measured = told["Voltage"]
    assert (truth.kind, measured.kind) == ("truth", "measured")
    everybody = np.asarray(snapshot.vector("true_cell_voltage_v"), float)
    assert truth.now == pytest.approx(everybody[4])
    assert truth.off == pytest.approx(everybody[4] - everybody.mean())
    assert truth.least <= truth.now <= truth.most and len(truth.time_s) == len(truth.values) > 10
    assert truth.now == pytest.approx(measured.now, abs=0.01) and not measured.is_stale
    assert line(snapshot, "no_such_signal", 4, 60.0, 1.0) is None
    assert line(snapshot, "true_cell_voltage_v", 400, 60.0, 1.0) is None


@pytest.mark.parametrize(
    ("values", "k", "words"),
    [
        ([3.0, 2.0, 1.0], 0, "highest of all"), ([3.0, 2.0, 1.0], 2, "lowest of all"),
        ([3.0, 2.0, 1.0, np.nan], 1, "2 of 3 from the top"), ([np.nan], 0, ""), ([], 3, ""),
    ],
)  # fmt: skip
def test_the_rank_of_a_cell(values: list[float], k: int, words: str) -> None:
    assert rank(values, k) == words


# ---- registers ----


def test_every_register_has_a_place_of_its_own() -> None:
    rows = table()
    places_of = [slot(r.address) + k for r in rows for k in range(r.size)]
    assert len(places_of) == len(set(places_of)) and max(places_of) < 512 and len(rows) > 120
    assert all(len(bits_of(r)) == 8 for r in rows)
    assert slot(0x200) == -1 and slot(0xE00) == -1
    assert not Register(FIRST_READ_ONLY, "PARTID").is_writable


def test_cell_registers_are_the_voltages_the_firmware_reads(near: Any) -> None:
    near.run(7.0)
    near.hands.do(("registers", True))
    values = near.hands.tell()["registers"].values[0]
    by_name = {r.name: r for r in table()}
    measured = near.snapshot().vector("meas_cell_voltage_v")
    for k in (0, 7, 15):
        told = words(by_name[f"VCELL{k + 1}"], value_of(values, by_name[f"VCELL{k + 1}"]))
        assert float(told.removesuffix(" V")) == pytest.approx(float(measured[k]), abs=0.01)
    assert words(by_name["ACTIVE_CELL"], value_of(values, by_name["ACTIVE_CELL"])) == "16 channels"
    assert "V" in words(by_name["OV_THRESH"], value_of(values, by_name["OV_THRESH"]))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OV_THRESH", 0x2E, "4.475 V"),
        ("OV_THRESH", 0x0F, "outside the three windows"),
        ("UV_THRESH", 0x00, "1.20 V"),
        ("CB_CELL3_CTRL", 0x04, "5 min"),
        ("CB_CELL3_CTRL", 0x10, "120 min"),
        ("CB_CELL3_CTRL", 0x11, "150 min"),
        ("CB_CELL3_CTRL", 0x1F, "600 min"),
        ("FAULT_SUMMARY", 0x12, "SYS, COMM"),
        ("FAULT_SUMMARY", 0x00, "none"),
        ("FAULT_OV2", 0x01, "cell 1"),
        ("FAULT_OV1", 0x80, "cell 16"),
        ("ADC_CTRL1", 0x06, "continuous, go"),
        ("VCELL1", 0x8000, "no result"),
        ("VCELL1", 0x4BC7, "3.7000 V"),
        ("PARTID", 0x21, "BQ79616"),
        ("BAL_TIME", 0x82, "600 s"),
        ("VCB_DONE_THRESH", 0x3F, "4.000 V"),
        ("GPIO_CONF1", 0x09, "odd ADC and"),
    ],
)
def test_registers_in_words_by_the_data_sheet(name: str, value: int, expected: str) -> None:
    register = next(r for r in table() if r.name == name)
    assert expected in words(register, value)


def test_any_value_has_words_that_never_raise() -> None:
    for register in table():
        for value in range(
            0, 256 if register.size == 1 else 65536, 1 if register.size == 1 else 977
        ):
            assert isinstance(words(register, value), str)
