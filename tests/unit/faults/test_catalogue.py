"""The catalogue is whole, honest and legible."""

from __future__ import annotations

from pathlib import Path

import pytest

from bms import _loop, faults, packs, spec
from bms.cells import load as load_cell
from bms.errors import ConfigError
from bms.faults import GROUPS, Fault
from bms.faults.table import TYPES

ROOT = Path(__file__).resolve().parents[3]
COUNTS = {
    "CEL": 15, "SEN": 17, "AFE": 12, "COM": 17, "CON": 17, "ISO": 6, "THM": 12, "PRS": 8,
    "CHG": 13, "SYS": 16, "SEC": 16,
}  # fmt: skip
ALL = list(faults.load().values())


def test_catalogue_has_149_faults_in_eleven_groups_without_a_gap() -> None:
    assert sum(COUNTS.values()) == len(ALL) == 149
    for group, count in COUNTS.items():
        wanted = [f"{group}-{k:02d}" for k in range(1, count + 1)]
        assert [one.id for one in ALL if one.group == group] == wanted
    assert list(COUNTS) == list(GROUPS)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.id)
def test_fault_either_acts_or_says_who_closes_it(one: Fault) -> None:
    assert bool(one.writes) != bool(one.left_to)
    if one.left_to:
        assert len(one.left_to) > 40, "a reason, not a word"
        return
    assert one.budget_ms > 0 and len(one.source) > 8
    assert set(one.diagnoses) | set(one.allowed) <= {d.name for d in spec.diagnoses()}
    if one.reaction in ("warn", "derate", "trip"):
        assert one.diagnoses


@pytest.mark.parametrize("one", [one for one in ALL if one.closed_by], ids=lambda one: one.id)
def test_what_is_closed_elsewhere_names_a_test_that_exists(one: Fault) -> None:
    file, _, name = one.closed_by.partition("::")
    assert one.left_to and f"\ndef {name}(" in (ROOT / file).read_text()


def test_open_rows_are_counted_on_the_page() -> None:
    left = [one for one in ALL if one.is_open]
    assert f"{len(left)} are left open" in (ROOT / "docs/faults.md").read_text() and len(left) < 10


@pytest.mark.parametrize("one", faults.acting(), ids=lambda one: one.id)
@pytest.mark.parametrize("pack", ["bench_16s1p", "car_96s3p", "bus_96s"])
def test_fault_lands_inside_the_world_of_every_pack(one: Fault, pack: str) -> None:
    places = _loop.places() | {("firmware", "memory"): (0, 1 << 31, "u1")}
    made = packs.load(pack)
    cell = load_cell(made.cell)
    last = faults.count(one, made) - 1
    for index in {0, min(last, 1_000_000)}:
        for row in faults.moves(one, made, cell, index=index):
            part, _, field = row.field.partition(".")
            _, count, dtype = places[part, field]
            assert row.first >= 0 and row.first + (row.count - 1) * row.step < count
            assert dtype in TYPES


def test_nothing_acts_on_the_firmware_but_the_flipped_bit() -> None:
    touching = {o.id for o in faults.acting() for w in o.writes if w.field.startswith("firmware.")}
    assert touching == {"SYS-04"}


def test_masks_leave_limits_closing_and_diagnoses_alone() -> None:
    masked = {mask.invariant for one in ALL for mask in one.masks}
    assert not masked & {"S8", "S10", "C", "D", "T"}
    assert all(mask.bound and mask.why for one in ALL for mask in one.masks)


@pytest.mark.parametrize("name", ["CEL-01", "SEN-17", "SEC-16", "CON-09"])
def test_number_and_id_are_one(name: str) -> None:
    assert faults.from_number(faults.number(name)) == name


def test_unknown_fault_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="perhaps CEL-02"):
        faults.fault("cel-02")


@pytest.mark.parametrize(
    ("name", "how", "told"),
    [
        ("CEL-02", {"index": 96}, "0 to 95"),
        ("CEL-02", {"value": 7.0}, "0.3 to 1.5 V"),
        ("CEL-02", {"value": float("nan")}, "0.3 to 1.5 V"),
        ("SEN-14", {}, "no action in the world"),
    ],
)
def test_what_the_fault_cannot_be_is_refused(name: str, how: dict, told: str) -> None:
    pack = packs.load("car_96s1p")
    with pytest.raises(ConfigError, match=told):
        faults.moves(faults.fault(name), pack, load_cell(pack.cell), **how)


def test_json_of_every_fault_has_what_a_script_needs() -> None:
    for one in ALL:
        plain = faults.as_json(one)
        assert {"id", "group", "reaction", "diagnoses", "budget_ms", "masks", "writes"} <= set(
            plain
        )
