"""Protection: what opens the contactors, how fast, and what must not."""

import pytest


@pytest.mark.requirement("PRO-001")
@pytest.mark.requirement("PRO-002")
@pytest.mark.needs("fault:CEL-02")
@pytest.mark.parametrize("block", [0, 7, 15])
def test_one_cell_far_above_the_others_trips(rig, recording, block):
    rig.bring_to("normal")
    fault = rig.inject("CEL-02", index=block)
    rig.wait(1.5)
    recording.diagnosis("cell_overvoltage").reacts_within(ms=500, since=fault)
    recording.opens.reacts_within(ms=550, since=fault)


@pytest.mark.requirement("PRO-003")
@pytest.mark.needs("fault:CEL-04")
def test_a_cell_emptied_under_load_trips(rig, recording):
    rig.bring_to("normal")
    rig.load(current_a=60.0)
    fault = rig.inject("CEL-04")
    rig.wait(2.0)
    recording.diagnosis("cell_undervoltage").reacts_within(ms=500, since=fault)


@pytest.mark.requirement("PRO-004")
def test_too_much_discharge_current_trips(rig, recording):
    rig.bring_to("normal")
    limit_a = rig.cell.limits.current_discharge_a[2] * rig.pack.topology.parallel
    start_s = rig.now_s
    rig.load(current_a=1.08 * limit_a, obeys_limits=False)
    rig.wait(1.0)
    recording.diagnosis("current_discharge_high").reacts_within(ms=150, since=start_s)


@pytest.mark.requirement("PRO-005")
@pytest.mark.needs("virtual_time")
def test_a_burst_of_regeneration_shorter_than_the_debounce_is_ridden_through(rig, recording):
    rig.bring_to("normal")
    limit_a = rig.cell.limits.current_charge_a[2] * rig.pack.topology.parallel
    rig.load(current_a=-1.2 * limit_a, obeys_limits=False)
    rig.wait(0.06)
    rig.load(current_a=10.0)
    rig.wait(3.0)
    recording.trips.never()
    recording.opens.never()


@pytest.mark.requirement("PRO-006")
@pytest.mark.needs("events_1ms")
def test_a_short_is_decided_by_the_comparator(rig, recording):
    rig.bring_to("normal")
    rig.load(current_a=1.08 * rig.pack.sensors.comparator_a, obeys_limits=False)
    rig.wait(0.5)
    current = recording.signal("true_pack_current_a")
    crossed_s = float(current.time_s[current.values > rig.pack.sensors.comparator_a][0])
    # The BMS tells its diagnoses every 10 ms; the coils wait for two readings, the contacts travel.
    recording.diagnosis("current_comparator").reacts_within(ms=5 + 10, since=crossed_s)
    recording.opens.reacts_within(ms=5 + 30 + rig.pack.contactors.open_ms, since=crossed_s)


@pytest.mark.requirement("PRO-007")
@pytest.mark.needs("fault:CON-14", "contactor_feedback")
def test_an_open_interlock_trips(rig, recording):
    rig.bring_to("normal")
    fault = rig.inject("CON-14")
    rig.wait(1.0)
    recording.diagnosis("interlock_open").reacts_within(ms=150, since=fault)
    recording.opens.reacts_within(ms=200, since=fault)


@pytest.mark.requirement("PRO-008")
@pytest.mark.needs("world", "virtual_time")
def test_a_chattering_interlock_is_ridden_through(rig, recording):
    rig.bring_to("normal")
    for _ in range(10):
        rig.set("loop.interlock", 0)
        rig.wait(0.05)
        rig.set("loop.interlock", 1)
        rig.wait(0.2)
    recording.trips.never()


@pytest.mark.requirement("PRO-009")
@pytest.mark.needs("fault:CON-16", "contactor_feedback")
def test_the_crash_line_opens_at_once(rig, recording):
    rig.bring_to("normal")
    fault = rig.inject("CON-16")
    rig.wait(0.5)
    recording.diagnosis("crash").reacts_within(ms=50, since=fault)
    recording.opens.reacts_within(ms=100, since=fault)


@pytest.mark.requirement("PRO-010")
@pytest.mark.needs("fault:THM-09", "truth")
def test_thermal_runaway_is_reported(rig, recording):
    rig.bring_to("normal")
    rig.inject("THM-09", index=3)
    while rig.now_s < 60.0 and not recording.trips.times:
        rig.wait(5.0)
    rig.wait(1.0)
    limit = rig.cell.limits.temperature_max_discharge_degc[2]
    surface = recording.signal("true_cell_temperature_surface_degc").element(3)
    above = surface.time_s[surface.values > limit]
    recording.trips.reacts_within(ms=10_000, since=float(above[0]))


@pytest.mark.requirement("PRO-011")
@pytest.mark.needs("fault:CON-14", "contactor_feedback")
def test_a_trip_is_latched_until_it_is_cleared(rig, recording):
    rig.bring_to("normal")
    fault = rig.inject("CON-14")
    rig.wait(1.0)
    rig.withdraw(fault)
    rig.wait(5.0)
    recording.closes.after(0.0).never()
    rig.request("standby")
    rig.wait(0.5)
    rig.clear()
    rig.wait(1.0)
    recording.closes.after(0.0).never()
    asked_s = rig.now_s
    rig.request("drive")
    rig.wait(6.0)
    recording.closes.reacts_within(ms=5000, since=asked_s)


@pytest.mark.requirement("PRO-012")
@pytest.mark.parametrize("current_a", [-60.0, 0.0, 100.0])
def test_nothing_trips_inside_the_operate_limits(rig, recording, current_a):
    rig.bring_to("normal")
    rig.load(current_a=current_a)
    rig.wait(60.0 if "virtual_time" in rig.capabilities else 10.0)
    recording.trips.never()
    recording.opens.never()
