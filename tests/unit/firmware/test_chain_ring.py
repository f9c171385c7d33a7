"""A cut daisy chain: a ring is read from both ends; what nobody reaches is unknown and trips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from firmware_rig import STATE, Rig

import bms.packs
from bms import spec

TRIP_BOUND_MS = 200  # afe_link, diagnoses.toml
RING = 'chip_ring = { value = false, assumption = "a plain chain" }\n'
RIPPLE_V = np.arange(400) * 1e-4 % 0.01  # every block shows that it is itself


def rig_with(folder: Path, *edits: tuple[str, str], pack: str = "car_96s1p") -> Rig:
    """A rig whose pack file has these edits."""
    text = (Path(bms.packs.__file__).parent / f"{pack}.toml").read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / "pack.toml"
    path.write_text(text)
    return Rig(str(path))


def events(rig: Rig, ms: int, name: str) -> Iterator[dict[str, float]]:
    """Messages BmsEvent about this diagnosis in so many milliseconds."""
    event = spec.database().get_message_by_name("BmsEvent")
    for _ in range(ms):
        rig.step()
        for _bus, identifier, data in rig.sent:
            if identifier != event.frame_id:
                continue
            found = event.decode(data, decode_choices=False)
            if found["DiagnosisId"] == spec.diagnosis(name).id:
                yield found


def assert_whole(rig: Rig) -> None:
    """Every block is fresh and shows its own voltage."""
    assert rig.probe("cells_unknown") == 0
    seen = rig.firmware.probes["block_uv"][: rig.blocks] * 1e-6
    assert seen == pytest.approx(rig.volts, abs=0.006)
    assert np.diff(seen - rig.volts).std() < 0.004
    for counter in ("answers_cut", "byte_errors", "crc_errors"):
        assert rig.chips.fields[counter][0] == 0, counter


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_ring_that_is_cut_anywhere_is_told_and_drives_on_with_every_cell(cut: int) -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.chips.fields["chain_cut_at"][0] = cut
    told = list(events(rig, 400, "afe_ring_open"))
    assert told and told[0]["Index"] == cut and told[0]["Value"] == 6 - cut
    rig.volts += 0.02 * (np.arange(96) // 16)  # a module is not taken for another
    rig.run(3000)
    assert rig.state == STATE["normal_drive"]
    assert rig.active() <= {"afe_ring_open", "cell_imbalance"}
    assert_whole(rig)
    assert rig.probe("afe_restarts") == 0


def test_a_whole_ring_is_never_told_open() -> None:
    rig = Rig("car_96s1p").to_normal()
    assert not list(events(rig, 3000, "afe_ring_open")) and rig.active() == set()


def test_a_line_that_is_silent_for_a_moment_opens_no_ring() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.uart = lambda data: b""
    rig.run(45)
    rig.uart = lambda data: data
    rig.run(1500)
    assert rig.active() == set() and rig.state == STATE["normal_drive"]
    assert_whole(rig)


@pytest.mark.parametrize(("first", "second"), [(2, 4), (4, 2), (1, 6), (3, 6), (1, 2), (5, 1)])
def test_what_lies_between_two_cuts_is_unknown_and_trips_within_the_budget(
    first: int, second: int
) -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.chips.fields["chain_cut_at"][0] = first
    rig.run(1500)
    assert rig.active() == {"afe_ring_open"}
    rig.chips.fields["chain_cut_also"][0] = second
    rig.until(lambda: rig.coils == 0, TRIP_BOUND_MS)
    assert "afe_link" in rig.active()


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_without_a_ring_a_cut_trips_within_the_budget(tmp_path: Path, cut: int) -> None:
    rig = rig_with(tmp_path, ("cell = ", RING + "cell = ")).to_normal()
    assert not rig.chips.fields["ring_is_closed"][0]
    rig.chips.fields["chain_cut_at"][0] = cut
    rig.until(lambda: rig.coils == 0, TRIP_BOUND_MS)
    assert "afe_link" in rig.active() and "afe_ring_open" not in rig.active()


def test_a_ring_that_is_wired_on_paper_only_trips_as_without() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.chips.fields["ring_is_closed"][0] = 0
    rig.chips.fields["chain_cut_at"][0] = 3
    rig.until(lambda: rig.coils == 0, TRIP_BOUND_MS)
    assert "afe_link" in rig.active()


@pytest.mark.parametrize("cut", [1, 4])
def test_a_pack_starts_and_closes_with_its_ring_open(cut: int) -> None:
    rig = Rig("car_96s1p")
    rig.chips.fields["chain_cut_at"][0] = cut
    rig.volts += RIPPLE_V[:96]
    rig.to_normal()
    assert rig.active() == {"afe_ring_open"}
    assert_whole(rig)


def test_a_mended_cable_is_found_at_the_next_start() -> None:
    rig = Rig("car_96s1p").to_standby()
    rig.chips.fields["chain_cut_at"][0] = 3
    rig.run(1500)
    rig.chips.fields["chain_cut_at"][0] = 0
    rig.run(1500)
    assert rig.active() == {"afe_ring_open"}, "nobody has looked"
    rig.reset()
    rig.to_standby()
    assert "afe_ring_open" not in rig.active()
    assert_whole(rig)


def test_blocks_beyond_the_gap_are_bled_and_nothing_else() -> None:
    rig = Rig("car_96s1p")
    rig.chips.fields["chain_cut_at"][0] = 3
    rig.volts[[20, 70]] += 0.05  # modules 1 and 4
    rig.balance = 1
    rig.to_standby()
    bled = np.zeros(96)
    for _ in range(9000):
        rig.step()
        bled += rig.chips.fields["bleed_on"][:96]
    assert set((bled > 400).nonzero()[0]) == {20, 70}


def test_alarms_from_beyond_the_gap_reach_the_line() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.chips.fields["chain_cut_at"][0] = 3
    rig.run(500)
    rig.volts[80] = 4.5
    rig.run(30)
    assert rig.chips.fields["fault_line"][0] == 1


@pytest.mark.parametrize("late_ms", [2, 3, 4, 5, 7, 11])
def test_an_answer_that_comes_late_is_never_taken_for_that_of_another_chip(late_ms: int) -> None:
    rig = Rig("car_96s1p").to_standby()
    rig.chips.fields["chain_cut_at"][0] = 3
    rig.run(500)
    rig.volts += 0.05 * (np.arange(96) // 16)
    rig.run(200)
    rig.chips.fields["late_ms"][0] = late_ms
    for _ in range(1500):
        rig.step()
        seen = rig.firmware.probes["block_uv"][:96] * 1e-6
        assert np.abs(seen - rig.volts).max() < 0.03


def test_the_longest_stack_is_mended_before_it_trips(tmp_path: Path) -> None:
    """25 chips: what finds and turns them must be done within the debounce of afe_link."""
    edits = (("blocks = 96", "blocks = 400"), ("value = 1500.0", "value = 9000.0"))
    for cut in (1, 7, 13, 24):
        rig = rig_with(tmp_path, *edits).to_normal()
        rig.chips.fields["chain_cut_at"][0] = cut
        rig.run(1500)
        assert rig.active() == {"afe_ring_open"} and rig.state == STATE["normal_drive"], cut
