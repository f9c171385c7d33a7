"""Each limit trips within its budget (diagnoses.toml), a burst does not, unknown is never fine."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from firmware_rig import CRASH, INTERLOCK, OVERCURRENT, STATE, Rig

from bms import spec


def deadline_ms(name: str) -> int:
    return int(spec.diagnosis(name).deadline_ms)


def trips(rig: Rig, name: str) -> None:
    """The coils drop within the deadline, for this reason, and stay off."""
    rig.until(lambda: rig.coils == 0, deadline_ms(name))
    assert name in rig.active()
    assert rig.run(3000).coils == 0


def test_a_slow_overvoltage_of_all_cells_trips() -> None:
    rig = Rig().to_normal()
    rig.volts[:] = rig.cell.limits.voltage_max_v[2] + 0.02
    trips(rig, "cell_overvoltage")


@pytest.mark.parametrize("excess_v", [0.02, 0.3, 0.9])
def test_one_cell_far_above_its_neighbours_is_not_masked(excess_v: float) -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.volts[57] = rig.cell.limits.voltage_max_v[2] + excess_v
    trips(rig, "cell_overvoltage")


def test_one_cell_far_below_its_neighbours_is_not_masked() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.volts[5] = -0.5  # reversed
    rig.until(lambda: rig.coils == 0, deadline_ms("cell_undervoltage"))
    assert {"cell_undervoltage", "cell_deep_discharge"} & rig.active()


def test_a_voltage_spike_of_one_scan_does_not_trip() -> None:
    rig = Rig().to_normal()
    at_rest = rig.volts.copy()
    rig.volts[3] = 4.5
    rig.run(25)
    rig.volts[:] = at_rest
    rig.run(1000)
    assert rig.state == STATE["normal_drive"]


@pytest.mark.parametrize(
    ("name", "sign"), [("current_discharge_high", 1), ("current_charge_high", -1)]
)
def test_overcurrent_trips_and_a_burst_below_its_debounce_does_not(name: str, sign: int) -> None:
    rig = Rig().to_normal()
    rig.load_a = sign * 395.0
    rig.run(60)
    rig.load_a = 0.0
    rig.run(1000)
    assert rig.state == STATE["normal_drive"]
    rig.load_a = sign * 395.0
    trips(rig, name)


def test_a_current_at_the_end_of_the_range_counts_as_too_high() -> None:
    rig = Rig().to_normal()
    rig.load_a = 5000.0
    rig.until(
        lambda: "current_discharge_high" in rig.active(), deadline_ms("current_discharge_high")
    )


def test_the_comparator_trips_within_5_ms_and_opens_when_the_current_has_been_looked_at() -> None:
    rig = Rig().to_normal()
    rig.pins |= OVERCURRENT
    rig.until(lambda: rig.state == STATE["error"], deadline_ms("current_comparator"))
    assert rig.active() == {"current_comparator"}
    rig.until(lambda: rig.coils == 0, 25)  # two readings of the current: see fuse.c
    assert rig.run(3000).coils == 0


def test_a_crash_opens_within_50_ms_and_only_a_workshop_clears_it() -> None:
    rig = Rig().to_normal()
    rig.pins |= CRASH
    trips(rig, "crash")
    rig.pins &= ~CRASH
    rig.mode = 0
    rig.run(1500)
    rig.clear = 1
    rig.run(500)
    assert "crash" in rig.active()
    rig.clear = 0
    rig.run(50)
    rig.clear, rig.service = 1, 1
    rig.run(500)
    assert rig.active() == set() and rig.state == STATE["standby"]


def test_an_open_interlock_trips_and_chatter_does_not() -> None:
    rig = Rig().to_normal()
    for _ in range(20):
        rig.pins &= ~INTERLOCK
        rig.run(50)
        rig.pins |= INTERLOCK
        rig.run(20)
    assert rig.state == STATE["normal_drive"]
    rig.pins &= ~INTERLOCK
    trips(rig, "interlock_open")


def _without(identifier: int) -> Callable[[list], list]:
    return lambda frames: [frame for frame in frames if frame[0] != identifier]


def test_a_silent_current_sensor_trips() -> None:
    rig = Rig().to_normal()
    rig.sensor = _without(0x521)
    trips(rig, "current_unknown")


def test_a_current_sensor_that_repeats_its_counter_is_lost() -> None:
    rig = Rig().to_normal()
    same = struct.pack(">BBi", 0, 5, 0)
    rig.sensor = lambda frames: [(i, same if i == 0x521 else data) for i, data in frames]
    trips(rig, "current_unknown")


def test_heat_trips_and_a_dead_thermistor_does_not_make_it_good() -> None:
    rig = Rig().to_normal()
    rig.load_a = 50.0
    rig.degc[3] = rig.cell.limits.temperature_max_discharge_degc[2] + 3.0
    rig.until(lambda: rig.coils == 0, deadline_ms("temperature_high_discharge"))
    rig.run(500)
    held = {name for name in rig.active() if name.startswith("temperature_high")}
    assert held
    rig.chips.fields["thermistor_block"][1] = -1  # the hot one breaks
    rig.mode = 0
    rig.run(3000)
    rig.clear = 1
    rig.run(500)
    assert held <= rig.active() and rig.state == STATE["error"]


def test_all_thermistors_of_a_module_lost_trips() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.chips.fields["thermistor_block"][6:12] = -1
    trips(rig, "temperature_unknown")


def test_one_thermistor_lost_warns_and_halves_the_limits() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.run(3000)
    full = 1e3 * rig.cell.limits.current_discharge_a[0]
    assert rig.probe("discharge_limit_ma") > 0.9 * full
    rig.chips.fields["thermistor_block"][8] = -1
    rig.run(3000)
    assert rig.active() == {"temperature_unknown"} and rig.state == STATE["normal_drive"]
    assert rig.probe("discharge_limit_ma") <= 0.5 * full


def test_cold_forbids_charging_but_not_driving() -> None:
    rig = Rig()
    rig.degc[:] = rig.cell.limits.temperature_min_charge_degc[2] - 1.0
    rig.to_normal()
    rig.run(2500)
    assert rig.state == STATE["normal_drive"]
    assert rig.probe("charge_limit_ma") == 0 and rig.probe("discharge_limit_ma") > 0


@pytest.mark.parametrize(("kpa", "name"), [(300.0, "pressure_low"), (4800.0, "pressure_high")])
def test_stack_pressure_trips_both_ways(kpa: float, name: str) -> None:
    rig = Rig("car_96s1p").to_normal()
    edge = 550.0 if kpa < 1000.0 else 4400.0
    while abs(rig.kpa[2] - edge) > 1.0:  # slowly: a jump is another diagnosis
        rig.kpa[2] += max(-200.0, min(200.0, edge - rig.kpa[2]))
        rig.run(1000)
    assert rig.state == STATE["normal_drive"]
    rig.kpa[2] = kpa
    trips(rig, name)


def test_a_jump_of_pressure_trips_within_half_a_second() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.kpa[4] += 1000.0
    trips(rig, "pressure_rise")


def test_low_insulation_trips() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.insulation_kohm = 20.0
    rig.until(lambda: rig.coils == 0, deadline_ms("insulation_low"))
    assert "insulation_low" in rig.active()


def test_the_sum_of_blocks_is_held_against_the_pack_voltage() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.sensor = lambda frames: [
        (
            i,
            data[:2] + struct.pack(">i", struct.unpack(">i", data[2:])[0] * 104 // 100)
            if i == 0x522
            else data,
        )
        for i, data in frames
    ]
    trips(rig, "pack_voltage_mismatch")


def test_a_weak_supply_trips() -> None:
    rig = Rig().to_normal()
    rig.supply_mv = 6500
    trips(rig, "supply_low")


def test_a_controller_off_the_bus_trips() -> None:
    rig = Rig().to_normal()
    rig.can_state = (2, 0)
    trips(rig, "can_bus_off")


def test_a_reversed_current_sensor_is_found_under_load() -> None:
    rig = Rig("car_96s1p").to_normal()
    rig.ivt.fields["sign_flip"][0] = 1
    rest = rig.volts.copy()

    def load(amps: float) -> None:
        rig.load_a = amps
        rig.volts[:] = rest - 1e-3 * amps

    for k in range(100):
        load(80.0 if k % 2 else 10.0)
        rig.run(100)
    assert "current_sign" in rig.active()


def test_the_right_sign_is_never_suspected() -> None:
    rig = Rig("car_96s1p").to_normal()
    rest = rig.volts.copy()
    for k in range(100):
        rig.load_a = 80.0 if k % 2 else -20.0
        rig.volts[:] = rest - 1e-3 * rig.load_a
        rig.run(100)
    assert rig.state == STATE["normal_drive"]


def test_an_ignored_limit_trips_within_two_seconds() -> None:
    rig = Rig("car_96s1p")
    rig.degc[:] = rig.cell.limits.temperature_min_charge_degc[2] - 1.0  # charge limit 0
    rig.to_normal()
    rig.run(2000)
    rig.load_a = -30.0
    rig.until(lambda: rig.coils == 0, 4000)
    assert "charge_limit_ignored" in rig.active()


def test_a_trip_stays_until_the_cause_is_gone_and_a_clear_request_comes() -> None:
    rig = Rig().to_normal()
    at_rest = rig.volts.copy()
    rig.volts[0] = 4.4
    rig.until(lambda: rig.coils == 0, 500)
    rig.clear = 1
    rig.run(1500)
    assert rig.state == STATE["error"], "a clear request with the cause present does nothing"
    rig.clear = 0
    rig.volts[:] = at_rest
    rig.run(2500)
    assert rig.state == STATE["latched"], "the cause is gone; without a clear request it stays"
    rig.clear = 1
    rig.run(200)
    assert rig.state == STATE["standby"] and rig.coils == 0
    assert rig.run(3000).coils == 0, "the old request does not close: standby must come first"
    rig.mode = 0
    rig.run(200)
    rig.mode = 1
    rig.link_v = 0.0
    rig.until(lambda: rig.state == STATE["normal_drive"], 2500)


def test_an_error_is_never_silent(seed: int) -> None:
    rig = Rig().to_normal()
    rig.volts[0] = 4.4
    told = set()
    for _ in range(2000):
        rig.step()
        for _, identifier, data in rig.sent:
            if identifier == 0x100 and data[1] >> 4 == STATE["error"]:
                told.add(data[6])  # FirstTripDiagnosis
        if rig.state == STATE["error"]:
            assert rig.active()
    assert told == {spec.diagnosis("cell_overvoltage").id}
