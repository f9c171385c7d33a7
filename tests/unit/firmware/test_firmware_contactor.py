"""Precharge, welds, dropped contactors, and the way out."""

from __future__ import annotations

import pytest
from firmware_rig import FUSE, MAIN_MINUS, MAIN_PLUS, PRECHARGE, STATE, Rig


def closing(pack: str = "car_96s1p") -> Rig:
    rig = Rig(pack).to_standby()
    rig.mode = 1
    rig.until(lambda: bool(rig.coils & PRECHARGE), 1500)
    return rig


def test_a_link_that_does_not_fill_times_out_and_latches() -> None:
    rig = closing()

    def leak() -> bool:
        rig.link_v = min(rig.link_v, 0.7 * rig.volts.sum())
        return rig.coils == 0

    assert 1300 < rig.until(leak, 1600) <= 1510
    assert rig.active() == {"precharge_timeout"}
    rig.run(2000)
    assert rig.coils == 0 and rig.state == STATE["latched"]


def test_a_short_on_the_link_ends_precharge_early() -> None:
    rig = closing()

    def short() -> bool:
        rig.link_v = 0.0
        return rig.coils == 0

    assert rig.until(short, 300) < 250
    assert "precharge_current" in rig.active()


def test_a_link_that_is_full_before_precharge_proves_nothing() -> None:
    rig = Rig("car_96s1p").to_standby()
    rig.mode = 1
    for _ in range(3000):
        rig.link_v = rig.volts.sum()  # stuck
        rig.step()
        assert rig.coils == 0
    assert "link_voltage_implausible" in rig.active()


@pytest.mark.parametrize("bit", [MAIN_PLUS, MAIN_MINUS, PRECHARGE])
def test_a_welded_contactor_is_found_before_closing(bit: int) -> None:
    rig = Rig("car_96s1p").to_standby()
    rig.welded = bit
    rig.run(400)
    assert rig.state == STATE["error"]
    rig.mode = 1
    assert rig.run(2000).coils == 0


def test_a_weld_whose_feedback_is_cut_is_seen_by_the_link_voltage() -> None:
    rig = Rig("car_96s1p").to_standby()
    rig.welded = MAIN_PLUS
    rig.mode = 1
    for _ in range(3000):
        rig.feedback = rig.coils << 3  # an echo of the command, the classic wrong wiring
        rig.step()
        assert rig.coils & MAIN_PLUS == 0
    assert "contactor_main_plus" in rig.active()


@pytest.mark.parametrize("bit", [MAIN_PLUS, MAIN_MINUS])
def test_a_contactor_that_drops_trips_within_300_ms_and_is_not_closed_again(bit: int) -> None:
    rig = Rig("car_96s1p").to_normal()
    opened_after = 0
    for ms in range(400):
        opened_after = ms
        rig.feedback = (rig.coils & ~bit) << 3
        rig.step()
        if rig.coils == 0:
            break
    assert opened_after <= 300
    rig.feedback = None
    assert rig.run(3000).coils == 0


def test_feedback_on_the_bus_is_the_reading_not_the_command() -> None:
    rig = Rig("car_96s1p").to_standby()
    rig.mode = 1
    rig.feedback = 0
    seen = set()
    for _ in range(200):
        rig.step()
        seen |= {data[2] & 7 for _, identifier, data in rig.sent if identifier == 0x100}
    assert rig.ms and seen == {0}


def test_standby_opens_main_plus_first_and_waits_for_the_current() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.load_a = 60.0
    rig.run(100)
    rig.mode = 0
    rig.run(200)
    assert rig.coils == MAIN_PLUS | MAIN_MINUS, "the vehicle still draws"
    rig.load_a = 0.0
    seen = []
    for _ in range(400):
        rig.step()
        if not seen or seen[-1] != rig.coils:
            seen.append(rig.coils)
    assert seen[-2:] == [MAIN_MINUS, 0] and rig.state == STATE["standby"] and rig.active() == set()


def test_a_current_beyond_what_contactors_break_fires_the_fuse_first() -> None:
    rig = Rig().to_normal()
    rig.ivt.fields["current_range_a"][0] = 20_000.0
    rig.load_a = 3.0 * rig.pack.contactors.break_current_a
    opened_at = fired_at = None
    for ms in range(700):
        rig.step()
        if fired_at is None and rig.firmware.pins & FUSE:
            fired_at = ms
            assert rig.coils != 0, "contactors stay closed while the arc would destroy them"
        if fired_at is not None and rig.coils == 0:
            opened_at = ms
            break
    assert fired_at is not None and fired_at <= 150
    assert opened_at is not None and opened_at - fired_at <= 60


def test_ignition_off_parks() -> None:
    rig = Rig().to_normal()
    rig.pins &= ~1
    rig.until(lambda: rig.state == STATE["standby"], 500)
    assert rig.active() == set()


def test_a_supply_that_fails_in_normal_never_closes_again_by_itself() -> None:
    rig = Rig().to_normal()
    rig.supply_mv = 3000
    rig.run(300)
    rig.supply_mv = 13_500
    assert rig.run(3000).coils == 0
