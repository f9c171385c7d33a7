"""Pressure, voids, soft shorts, ageing, runaway: do they behave as cells do?"""

import numpy as np
import pytest

MINUTE, HOUR = 60.0, 3600.0


def carried(r):
    """Voids in all, of each cell."""
    return r["cell_void_frac"] + r["cell_void_lost_frac"]


def critical_a(r, side):
    """Current of one cell at its critical current density, at 25 degC and reference pressure."""
    return r[f"{side}_ma_per_cm2"] * r["electrode_cm2"] * 1e-3


# ---- stack pressure ----


def test_a_stack_grows_tight_on_charge_and_slack_on_discharge(rig):
    pressure = {}
    for amps in (-60.0, 60.0):
        r = rig(16, 1, soc=0.5, spread=False).close()
        before = r["module_pressure_kpa"]
        r.current(amps).seconds(MINUTE)
        pressure[amps] = float((r["module_pressure_kpa"] - before).mean())
    ah, breathing = 1.0, 34.0 - 3.4
    assert pressure[-60.0] == pytest.approx(0.32 * breathing * ah, rel=0.1)  # 1 Ah charged
    assert pressure[60.0] == pytest.approx(-0.32 * breathing * ah, rel=0.1)


def test_a_stack_grows_tight_with_heat(rig):
    cold, warm = (rig(soc=0.5, degc=t, spread=False)["module_pressure_kpa"] for t in (0.0, 40.0))
    np.testing.assert_allclose(warm - cold, 0.32 * 4.0 * 40.0, rtol=1e-6)


def test_the_fixture_creeps_back_by_its_share(rig):
    r = rig(soc=0.9, spread=False, creep_s=5.0, leak_frac_per_s=0.0)
    start = r["module_pressure_kpa"][0]
    r.seconds(50)
    elastic = start - r["preload_kpa"]
    assert start - r["module_pressure_kpa"][0] == pytest.approx(0.08 * elastic, rel=1e-3)


def test_less_pressure_means_more_contact_resistance(rig):
    low, high = (rig(soc=0.5, preload_kpa=p)["cell_resistance_ohm"] for p in (500.0, 2000.0))
    assert np.all(low > high)
    contact = rig(soc=0.5)["contact_ohm"]
    assert float((low - high).mean()) == pytest.approx(
        contact, rel=0.1
    )  # p^-0.5: twice at a quarter


# ---- voids ----


def stripped(rig, degc, factor):
    """Voids after a minute at `factor` times what holds at 25 degC."""
    r = rig(16, 1, soc=0.6, degc=degc, spread=False, fuse_rating_a=1e6).close()
    r.current(factor * critical_a(r, "stripping")).seconds(MINUTE)
    return r


def test_voids_grow_on_fast_stripping_in_the_cold_and_not_when_slow_or_warm(rig):
    assert carried(stripped(rig, -10.0, 1.0)).min() > 1e-3
    assert carried(stripped(rig, 45.0, 1.0)).max() == 0.0
    assert carried(stripped(rig, -10.0, 0.02)).max() == 0.0
    assert carried(stripped(rig, -10.0, -0.5)).max() == 0.0, "plating makes no voids"


def test_voids_raise_the_resistance_and_heal_but_for_their_share(rig):
    r = stripped(rig, -10.0, 1.0).current(0.0)
    full, lost, kept = r["cell_void_frac"], r["cell_void_lost_frac"], r.plant.snapshot()
    np.testing.assert_allclose(lost / (full + lost), r["void_lost_frac"], rtol=0.05)
    rough = r.step(20)["cell_resistance_ohm"]
    r.plant.restore(kept)
    r.set(cell_void_frac=0.0, cell_void_lost_frac=0.0)
    assert np.all(rough > r.step(20)["cell_resistance_ohm"])
    r.plant.restore(kept)
    r.set(void_healing_s=10.0).seconds(3 * MINUTE)
    assert r["cell_void_frac"].max() < 0.05 * full.max()
    np.testing.assert_array_equal(r["cell_void_lost_frac"], lost)


def test_voids_never_take_more_than_their_share(rig):
    r = rig(16, 1, degc=-10.0, void_growth=50.0, fuse_rating_a=1e6).close()
    r.current(500.0).seconds(30)
    assert carried(r).max() <= r["void_max_frac"] + 1e-3
    assert carried(r).min() > 0.5 * r["void_max_frac"]


# ---- soft shorts ----


def plated(rig, factor, seed=1, **more):
    """A pack of 1200 equal cells, 12.5 s at `factor` times the critical plating current."""
    r = rig(400, 3, 16, soc=0.5, seed=seed, spread=False, stiffness_kpa_per_um=0.0, **more)
    r.set(contactor_weld=3, short_hazard_per_s=0.02, fuse_rating_a=1e6, thermal_um_per_k=0.0)
    r.set(preload_kpa=2000.0, critical_law=1.0, pressure_critical=1.0)
    r.current(-3.0 * factor * critical_a(r, "plating")).seconds(2.5)
    return r


def test_no_soft_short_appears_up_to_the_critical_current(rig):
    r = plated(rig, 0.98)
    assert 0.95 < r["cell_plating_margin"].min() <= r["cell_plating_margin"].max() < 1.0
    assert not r["cell_short_siemens"].any()


def test_soft_shorts_appear_at_twice_the_critical_current_as_often_as_they_should(rig, seed):
    r = plated(rig, 2.0, seed=seed)
    margin = r["cell_plating_margin"]
    assert margin == pytest.approx(2.0, rel=1e-2)
    expected = 1200 * 2.5 * 0.02  # cells, seconds, hazard at an overload of one
    found = int(np.count_nonzero(r["cell_short_siemens"]))
    print(f"{found} soft shorts, {expected:.0f} expected")
    assert abs(found - expected) <= 5.0 * np.sqrt(expected)  # 5 sigma of a Poisson count


def test_the_hazard_goes_with_the_overload_to_its_shape(rig, seed):
    shape = 2.0
    found = int(np.count_nonzero(plated(rig, 1.5, seed=seed)["cell_short_siemens"]))
    expected = 1200 * 2.5 * 0.02 * 0.5**shape
    print(f"{found} soft shorts, {expected:.0f} expected")
    assert abs(found - expected) <= 5.0 * np.sqrt(expected)


def test_the_draws_of_soft_shorts_follow_the_seed(rig):
    one, again, other = (plated(rig, 2.0, seed=s)["cell_short_siemens"] > 0 for s in (3, 3, 4))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_soft_short_grows_while_plating_goes_on_and_drains_its_cell(rig):
    r = plated(rig, 2.0, short_growth_per_s=0.5)
    shorted = r["cell_short_siemens"] > 0.0
    before = r["cell_short_siemens"][shorted]
    r.seconds(1.0)
    assert np.all(r["cell_short_siemens"][shorted] > 1.4 * before)
    r.current(-3.0 * 0.95 * critical_a(r, "plating")).seconds(1.0)
    held = r["cell_short_siemens"][shorted]
    r.seconds(1.0)
    np.testing.assert_array_equal(r["cell_short_siemens"][shorted], held)
    assert r["cell_short_siemens"].max() <= r["short_max_s"]


def test_an_internal_short_drains_its_cell_and_heats_it(rig):
    r = rig(16, 1, spread=False)
    r.f["cell_short_siemens"][4] = 1.0
    r.seconds(MINUTE)
    soc, core = r["cell_soc_frac"], r["cell_core_degc"]
    assert np.argmin(soc) == 4 and np.argmax(core) == 4
    volts = r["block_voltage_v"][4]
    charge = (soc[0] - soc[4]) * r["cell_capacity_now_as"][4]
    assert charge == pytest.approx(volts * 1.0 * MINUTE, rel=1e-2)


# ---- ageing and self-discharge ----


def test_interphase_and_calendar_loss_go_with_the_square_root_of_time(rig):
    grown = {}
    for days in (1, 4, 16):
        r = rig(16, 1, spread=False, ageing_acceleration=days * 86400.0).seconds(10)
        grown[days] = (r["cell_interphase_ohm"][0], r["cell_calendar_frac"][0])
    for k in range(2):
        assert grown[4][k] == pytest.approx(2 * grown[1][k], rel=1e-4)
        assert grown[16][k] == pytest.approx(4 * grown[1][k], rel=1e-4)
    rate = r["interphase_ohm"]
    assert grown[1][0] == pytest.approx(rate * np.sqrt(10 * 86400.0), rel=1e-4)


def test_ageing_is_faster_when_warm_and_takes_capacity(rig):
    cold, warm = (rig(16, 1, degc=t, ageing_acceleration=1e7).seconds(10) for t in (10.0, 45.0))
    assert warm["cell_interphase_ohm"].min() > 1.5 * cold["cell_interphase_ohm"].max()
    assert np.all(warm["cell_capacity_now_as"] < warm["cell_capacity_as"])
    assert np.all(warm["cell_resistance_ohm"] > rig(16, 1, degc=45.0)["cell_resistance_ohm"])


def test_cycling_takes_its_loss_for_each_full_cycle(rig):
    r = rig(16, 1, spread=False, ageing_acceleration=1e4, calendar_frac=0.0).close()
    for amps in (77.0, -77.0) * 3:
        r.current(amps).seconds(20)
    cycles = 1e4 * r["cell_throughput_as"][0] / (2 * r["cell_capacity_as"][0])
    assert r["cell_cycled_frac"][0] == pytest.approx(cycles * r["cycle_loss_frac"], rel=0.02)
    assert r["cell_contact_loss_frac"][0] == pytest.approx(
        cycles * r["contact_loss_frac"], rel=0.02
    )


def test_a_cell_at_rest_loses_its_monthly_share(rig):
    r = rig(16, 1, spread=False, calendar_frac=0.0, leak_frac_per_s=1e-5, leak_law=1.0)
    start = r["cell_soc_frac"].copy()
    r.seconds(100)
    np.testing.assert_allclose(start - r["cell_soc_frac"], 1e-3, rtol=1e-3)


def test_pack_soc_is_zero_at_the_weakest_and_one_at_the_fullest(rig):
    r = rig(16, 1, spread=False)
    r.f["cell_soc_frac"][:16] = 0.5
    r.f["cell_soc_frac"][3] = 0.0
    assert r.step(100)["pack_soc_frac"] == pytest.approx(0.0, abs=1e-4)
    r.f["cell_soc_frac"][3], r.f["cell_soc_frac"][9] = 0.5, 1.0
    assert r.step(100)["pack_soc_frac"] == pytest.approx(1.0, abs=1e-4)


# ---- runaway ----


def test_a_hot_cell_runs_away_within_the_first_minute_and_raises_pressure(rig):
    r = rig(16, 1, spread=False)
    before = r["module_pressure_kpa"].copy()
    r.f["cell_heat_w"][4] = 6000.0
    while r["cell_core_degc"][4] < 190.0:
        r.step(10)
        assert r["time_us"] < 60e6, "the heater did not get the cell hot"
    r.f["cell_heat_w"][4] = 0.0
    start = r["time_us"]
    r.seconds(MINUTE)
    hottest = r["cell_core_degc"][4]
    assert r["cell_resistance_ohm"].min() > 0.0
    print(f"hot after {start * 1e-6:.1f} s; a minute later {hottest:.0f} degC")
    assert hottest > 200.0
    assert r["cell_reacted_1"][4] > 0.5
    assert r["cell_short_siemens"][4] >= r["runaway_short_s"]
    assert r["module_gas_kpa"][0] == r["runaway_vent_kpa"]
    assert r["module_pressure_kpa"][0] > before[0] + 100.0
    assert r["module_gas_kpa"][1] == 0.0
    assert r["cell_core_degc"][5] > r["cell_core_degc"][7], "heat goes to the neighbour first"


def test_no_reaction_below_the_onset(rig):
    r = rig(16, 1, degc=120.0, ambient=120.0).seconds(30)
    assert not r["cell_reacted_1"].any() and not r["cell_reacted_2"].any()
    assert r["energy_reaction_j"] == 0.0


# ---- heat ----


def test_heat_leaves_through_plate_coolant_and_radiator_to_the_ambient(rig):
    r = rig(
        16, 1, degc=40.0, ambient=10.0, plate_j_per_k=300.0, coolant_j_per_k=900.0, pump_frac=1.0
    )
    r.seconds(HOUR)
    for name in ("cell_core_degc", "cell_surface_degc", "plate_degc", "coolant_degc"):
        assert np.max(np.abs(np.asarray(r[name]) - 10.0)) < 0.5, name


def test_a_failed_pump_leaves_the_pack_hot_and_a_stuck_heater_heats_it(rig):
    cooled, failed = (
        rig(16, 1, degc=45.0, ambient=10.0, pump_frac=1.0, pump_failed=f).seconds(600)
        for f in (0, 1)
    )
    assert failed["cell_core_degc"].min() > cooled["cell_core_degc"].max() + 1.0
    stuck = rig(16, 1, degc=10.0, ambient=10.0, heater_stuck=1).seconds(60)
    assert stuck["plate_degc"] > 11.0 and stuck["cell_core_degc"].min() > 10.0
