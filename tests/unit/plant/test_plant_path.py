"""Contactors, precharge, link, fuse and what hangs on the link."""

import math

import numpy as np
import pytest

from bms.plant import twin

OPEN, CURRENT, POWER, CHARGER = 0, 1, 2, 3
PLUS, MINUS, PRE = 1, 2, 4


def closed_each_step(r, steps):
    """contactor_closed after each of the steps."""
    seen = []
    for _ in range(steps):
        r.step()
        seen.append(r["contactor_closed"])
    return seen


@pytest.mark.parametrize("bit", (PLUS, MINUS, PRE))
def test_a_contactor_takes_its_travel_time_both_ways(rig, bit):
    r = rig().set(coil_command=bit)
    travel, bounce, back = (
        round(getattr(r.pack.contactors, f"{name}_ms")) for name in ("close", "bounce", "open")
    )
    seen = closed_each_step(r, travel + bounce + 5)
    assert not any(seen[: travel - 1])
    assert seen[travel + bounce :] == [bit] * 5
    r.set(coil_command=0)
    seen = closed_each_step(r, back + 5)
    assert seen[: back - 1] == [bit] * (back - 1)
    assert seen[back:] == [0] * 5


def test_a_closing_contact_bounces_and_then_stays(rig):
    # At 10 us a step the bounce itself can be seen: several openings within the bounce time.
    r = rig(step_us=100, coil_command=PLUS).step(200 - 5)
    seen = closed_each_step(r, 50)
    changes = np.flatnonzero(np.diff(seen)) * 0.1
    assert len(changes) >= 4
    assert changes[-1] - changes[0] <= r.pack.contactors.bounce_ms + 0.2
    assert seen[-1] == PLUS


def test_a_short_pulse_on_the_coil_does_not_close(rig):
    r = rig().set(coil_command=PLUS).step(round(rig().pack.contactors.close_ms) - 5)
    r.set(coil_command=0)
    assert not any(closed_each_step(r, 60))


def test_a_welded_contactor_stays_closed_and_carries_current(rig):
    r = rig().close().set(contactor_weld=PLUS | MINUS, coil_command=0).current(50.0).step(100)
    assert r["contactor_closed"] == PLUS | MINUS
    assert r["pack_current_a"] == pytest.approx(50.0, abs=0.1)


def test_one_weld_alone_carries_nothing(rig):
    r = rig().close().current(50.0).set(contactor_weld=PLUS, coil_command=0).step(100)
    assert r["contactor_closed"] == PLUS
    assert r["pack_current_a"] == 0.0


def test_a_stuck_contactor_never_closes_but_one_that_is_in_still_opens(rig):
    r = rig().set(contactor_stuck=MINUS, coil_command=PLUS | MINUS).step(100)
    assert r["contactor_closed"] == PLUS
    r = rig().close().set(contactor_stuck=MINUS).step(50)
    assert r["contactor_closed"] == PLUS | MINUS
    assert r.set(coil_command=0).step(50)["contactor_closed"] == 0


@pytest.mark.parametrize("mode", (OPEN, CURRENT, POWER, CHARGER))
@pytest.mark.parametrize("coils", (0, PLUS, MINUS, PRE, PLUS | PRE))
def test_no_current_flows_with_the_path_open(rig, mode, coils):
    r = rig().set(load_mode=mode, load_current_a=100.0, load_power_w=5e3)
    r.set(charger_current_a=50.0, charger_voltage_v=500.0, coil_command=coils)
    soc = r["cell_soc_frac"]
    for _ in range(100):
        assert r.step()["pack_current_a"] == 0.0
    assert np.abs(soc - r["cell_soc_frac"]).max() < 1e-8  # self-discharge
    assert r["energy_terminal_j"] == 0.0


def test_opening_above_the_rating_is_counted(rig):
    r = rig(break_current_a=100.0).close().current(50.0).set(coil_command=0).step(50)
    assert r["breaks_over_rating"] == 0
    r = rig(break_current_a=100.0).close().current(200.0).step(5).set(coil_command=0).step(50)
    assert r["breaks_over_rating"] >= 1


def test_precharge_follows_the_analytic_exponential(rig):
    r = rig(96, 1, spread=False, link_bleed_s=0.0, contactor_bounce_us=0.0)
    r.set(coil_command=MINUS | PRE)
    while r["contactor_closed"] != MINUS | PRE:
        r.step()
    start_s, start_v, curve = r["time_us"] * 1e-6, r["link_voltage_v"], []
    for _ in range(250):
        r.step()
        curve.append((r["time_us"] * 1e-6 - start_s, r["link_voltage_v"]))
    time_s, link_v = np.array(curve).T
    contactors = r.pack.contactors
    path = contactors.precharge_ohm + contactors.cable_ohm + 2 * contactors.resistance_ohm
    tau_s = (path + r["string_ohm"]) * contactors.link_capacity_f
    emf_v = r["pack_voltage_v"] + r["string_ohm"] * r["pack_current_a"]
    want = emf_v + (start_v - emf_v) * np.exp(-time_s / tau_s)
    # 2e-4: the cells polarise a little and charge goes; the analytic curve knows neither.
    np.testing.assert_allclose(link_v, want, atol=2e-4 * emf_v)
    energy_j = 0.5 * contactors.link_capacity_f * emf_v**2
    assert r["precharge_heat_j"] == pytest.approx(energy_j, rel=0.03)  # less what cooled
    assert r["precharge_burnt"] == 0


def test_precharge_into_a_short_burns_the_resistor_and_stops(rig):
    r = rig(96, 1, link_short_siemens=10.0).set(coil_command=MINUS | PRE).step(3000)
    assert r["precharge_burnt"] == 1
    assert r["pack_current_a"] == 0.0


def test_closing_without_precharge_shows_an_inrush_and_precharging_does_not(rig):
    harsh = rig(96, 1).set(coil_command=PLUS | MINUS).step(60)
    gentle = rig(96, 1).close()
    assert harsh["contactor_inrush_a"] > 1000.0
    assert gentle["contactor_inrush_a"] < 20.0


def test_a_regenerating_load_cannot_move_an_open_link_up_nor_any_load_below_zero(rig, chance):
    r = rig(96, 1).close().set(coil_command=0)
    r.step(50)
    assert r["contactor_closed"] == 0
    top = r["link_voltage_v"]
    assert top > 300.0
    for _ in range(300):
        r.set(load_mode=int(chance.integers(4)), load_current_a=chance.normal(-50, 20))
        r.set(load_power_w=chance.normal(-2e4, 1e4), charger_current_a=chance.uniform(0, 200))
        r.set(charger_voltage_v=1000.0).step()
        assert 0.0 <= r["link_voltage_v"] <= top
        top = r["link_voltage_v"]
    r.set(load_mode=POWER, load_power_w=5e4).step(20)
    assert 0.0 <= r["link_voltage_v"] <= 1.0, "a load empties it and takes it no further"


def test_an_open_link_discharges_through_its_bleed_resistor(rig):
    r = rig(96, 1).close().set(coil_command=0).step(50)
    start = r["link_voltage_v"]
    tau_s = r.pack.contactors.link_bleed_ohm * r.pack.contactors.link_capacity_f
    r.seconds(20)
    assert r["link_voltage_v"] == pytest.approx(start * math.exp(-20 / tau_s), rel=1e-6)


def test_a_load_of_constant_power_gets_its_power(rig):
    r = rig(96, 1).close().set(load_mode=POWER)
    for power in (1e3, 30e3, -20e3):
        r.set(load_power_w=power).seconds(1)
        bleed = r["link_bleed_s"] * r["link_voltage_v"] ** 2
        got = r["link_voltage_v"] * r["pack_current_a"]
        assert got == pytest.approx(power + bleed, rel=1e-6)


def test_a_load_beyond_what_the_path_can_give_gets_the_most_there_is(rig):
    r = rig(16, 1, fuse_rating_a=1e6).close().set(load_mode=POWER, load_power_w=1e6)
    r.step(50)
    ohm = r["string_ohm"] + r["cable_ohm"] + 2 * r["contactor_ohm"]
    assert r["link_voltage_v"] == pytest.approx(0.5 * r["emf_sum_v"], rel=1e-3)
    assert r["pack_current_a"] == pytest.approx(0.5 * r["emf_sum_v"] / ohm, rel=1e-2)


def test_the_fuse_carries_its_rating_and_melts_at_its_i2t(rig):
    r = rig(16, 3).close()
    rating, melt = r["fuse_rating_a"], r["fuse_melt_a2s"]
    r.current(0.98 * rating).seconds(5)
    assert r["fuse_blown"] == 0
    r = rig(16, 3, fuse_rating_a=300.0, fuse_melt_a2s=melt / 25).close()
    amps = 900.0
    r.current(amps)
    expected_s = melt / 25 / (amps**2 - 300.0**2)
    r.seconds(0.97 * expected_s)
    assert r["fuse_blown"] == 0
    r.seconds(0.05 * expected_s)
    assert r["fuse_blown"] == 1
    assert r.step(2)["pack_current_a"] == 0.0


def test_the_fuse_blows_on_command(rig):
    r = rig().close().current(20.0).set(fuse_trigger=1).step(2)
    assert r["fuse_blown"] == 1
    assert r["pack_current_a"] == 0.0


def test_a_charger_holds_current_and_then_voltage(rig):
    r = rig(96, 1, soc=0.75).close()
    target = 96 * 4.12
    r.set(load_mode=CHARGER, charger_current_a=77.0, charger_voltage_v=target)
    seen = []
    for _ in range(1500):
        r.seconds(1)
        seen.append((r["pack_current_a"], r["link_voltage_v"]))
    amps, link_v = np.array(seen).T
    held = link_v < target - 0.05
    assert held[0] and not held[-1]
    bleed = r["link_bleed_s"] * target
    np.testing.assert_allclose(amps[held], -77.0, atol=bleed + 1e-3)
    np.testing.assert_allclose(link_v[~held], target, atol=0.06)
    late = amps[~held]
    assert np.all(np.diff(late[5:]) > -1e-3), "the current tapers"
    assert -77.0 < late[-1] < 0.0
    assert link_v.max() <= target + 1e-6


def test_a_charger_set_below_the_pack_gives_nothing(rig):
    r = rig(96, 1).close()
    r.set(load_mode=CHARGER, charger_current_a=50.0, charger_voltage_v=300.0).seconds(2)
    assert 0.0 <= r["pack_current_a"] < 0.1  # only the link's bleed resistor


def test_the_pack_is_the_sum_of_its_blocks(rig, chance):
    r = rig(24, 3).close()
    for _ in range(50):
        r.current(chance.normal(0, 200)).step()
        total = twin.blocks(r.f, "block_voltage_v").sum()
        assert r["pack_voltage_v"] == pytest.approx(total, rel=1e-12)


def test_insulation_is_both_poles_in_parallel(rig):
    r = rig().set(insulation_plus_kohm=1000.0, insulation_minus_kohm=250.0).step(100)
    assert r["insulation_kohm"] == pytest.approx(200.0)
