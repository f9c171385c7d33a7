"""The driver of the monitor chips under bad bytes, silence and broken chips."""

from __future__ import annotations

import itertools
import random

import numpy as np
from firmware_rig import STATE, Rig

TRIP_BOUND_MS = 200  # afe_link, diagnoses.toml


def test_one_wrong_checksum_is_dropped_and_counted_without_a_trip() -> None:
    rig = Rig("car_96s1p").to_normal()
    before = rig.probe("afe_crc_errors")
    rig.chips.fields["crc_corrupt"][2] = 1
    rig.run(1000)
    assert rig.probe("afe_crc_errors") > before
    assert rig.state == STATE["normal_drive"] and rig.active() == set()


def test_a_lost_or_added_byte_costs_one_frame_and_no_trip() -> None:
    for edit in (lambda d: d[:5] + d[6:], lambda d: d[:5] + b"\x00" + d[5:]):
        rig = Rig("car_96s1p").to_normal()
        done = []

        def once(data: bytes, edit=edit, done=done) -> bytes:
            if len(data) < 50 or done:
                return data
            done.append(data)
            return edit(data)[:128]

        rig.uart = once
        rig.run(1000)
        assert done and rig.state == STATE["normal_drive"] and rig.active() == set()


def test_random_bytes_never_become_a_reading(seed: int) -> None:
    chance = random.Random(seed)
    rig = Rig("car_96s1p")
    rig.uart = lambda data: chance.randbytes(chance.randrange(129))
    rig.mode = 1
    rig.run(3000)
    assert rig.coils == 0 and rig.probe("cell_scan") == 0 and rig.state == STATE["error"]


def test_silent_chips_trip_within_the_budget() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.uart = lambda data: b""
    assert rig.until(lambda: rig.coils == 0, TRIP_BOUND_MS + 20) <= TRIP_BOUND_MS + 20
    assert "afe_link" in rig.active()


def test_a_lasting_checksum_error_of_one_chip_trips_within_the_budget() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.chips.fields["crc_corrupt"][4] = 0xFFFFFFFF
    assert rig.until(lambda: rig.coils == 0, TRIP_BOUND_MS + 20) <= TRIP_BOUND_MS + 20


def test_a_chip_that_repeats_itself_is_stale_and_trips_within_a_second() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.chips.fields["frozen"][1] = 1
    rig.until(lambda: rig.coils == 0, 1000)
    assert "afe_frozen" in rig.active()


def test_a_blank_chip_is_not_a_voltage() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.chips.fields["blank"][0] = 1  # FF everywhere with a right checksum: -0.2 mV
    rig.until(lambda: rig.coils == 0, TRIP_BOUND_MS)
    assert rig.active() == {"afe_link"}, "no answer, and nothing said of any voltage"


def test_a_chip_that_lost_its_address_is_woken_and_read_again() -> None:
    rig = Rig("car_96s1p").to_standby()
    rig.chips.fields["brown_out"][3] = 1
    rig.run(2500)
    assert rig.probe("afe_restarts") >= 1
    scans = rig.probe("cell_scan")
    rig.run(200)
    assert rig.probe("cell_scan") >= scans + 9 and rig.probe("cells_unknown") == 0


def test_the_line_is_never_spoken_on_while_an_answer_is_on_its_way() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.run(3000)
    assert rig.chips.fields["answers_cut"][0] == 0
    assert rig.chips.fields["crc_errors"][0] == 0 and rig.chips.fields["byte_errors"][0] == 0


def test_all_cells_are_read_every_20_ms_and_400_every_100() -> None:
    rig = Rig("car_96s1p").to_standby()
    before = rig.probe("cell_scan")
    rig.run(1000)
    assert rig.probe("cell_scan") - before == 50


def test_balancing_bleeds_only_what_is_high_never_two_neighbours_and_pauses_to_look() -> None:
    rig = Rig("bench_16s1p")
    rig.volts[[3, 4, 9]] += 0.05
    rig.balance = 1
    rig.to_standby()
    bled, pauses = np.zeros(16), 0  # milliseconds
    for _ in range(24_000):
        rig.step()
        on = rig.chips.fields["bleed_on"][:16].nonzero()[0].tolist()
        assert all(b - a > 1 for a, b in itertools.pairwise(on))
        bled[on] += 1
        pauses += not on
    assert set((bled > 200).nonzero()[0]) == {3, 4, 9}, "the rest only in the tests of the switches"
    assert pauses >= 1900
    rig.volts[[3, 4, 9]] -= 0.05
    rig.run(20_000)
    assert not rig.chips.fields["bleed_on"][:16].any()
