"""The table of timed moves: what a field was comes back, in whatever order moves end."""

from __future__ import annotations

import numpy as np
import pytest

from bms.errors import BmsError, ConfigError
from bms.faults import table
from bms.faults.model import Write
from bms.faults.place import Move
from bms.sim import Simulation


@pytest.fixture(scope="module")
def world():
    made = Simulation("drive", pack="bench_16s1p", seed=3)
    made.run(1.0, record=False)
    return made, made.snapshot()


def put(made, field, op, value, *, first=0, count=1, step=1, at=0.0, ramp=0.0, lasts=None, **how):
    write = Write(field=field, op=op, **how)
    when = table.timing(round(made.time_s * 1e6), at, ramp, lasts)
    row = Move(field, op, first, count, step, value, write)
    rows, places = [row], made._places()
    return table._put(made.world.parts["inject"], places, rows, when, kind=257, index=0, value=0.0)


def value(made, field, k=0):
    part, _, name = field.partition(".")
    return made.world.parts[part][name][k].item()


@pytest.mark.parametrize(
    ("field", "op", "amount", "expected"),
    [
        ("imd.error_frac", "set", 0.25, lambda was: 0.25),
        ("imd.error_frac", "add", 0.25, lambda was: was + 0.25),
        ("plant.cable_ohm", "scale", 3.0, lambda was: was * 3.0),
        ("loop.supply_mv", "set", 8000.0, lambda was: 8000),
        ("loop.supply_mv", "add", -1e9, lambda was: 0),
        ("plant.contactor_weld", "or", 5.0, lambda was: was | 5),
        ("chips.registers", "flip", 3.0, lambda was: was ^ 3),
        ("loop.boot_ms", "clear", 4.0, lambda was: was & ~4),
        ("loop.start_us", "add", 1e15, lambda was: was + 10**15),
        ("vehicle.obs_soh_frac", "set", 0.5, lambda was: 0.5),
    ],
)
def test_move_acts_for_its_time_and_gives_back_the_same_bits(world, field, op, amount, expected):
    made, snapshot = world
    made.restore(snapshot)
    was = value(made, field)
    put(made, field, op, amount, at=0.002, lasts=0.003)
    made.run(0.002, record=False)
    assert value(made, field) == was or was != was
    made.run(0.001, record=False)
    assert value(made, field) == expected(was)
    made.run(0.003, record=False)
    assert value(made, field) == was or was != was


def test_ramp_rises_evenly_and_ends_at_the_value(world):
    made, snapshot = world
    made.restore(snapshot)
    put(made, "imd.error_frac", "set", 1.0, ramp=0.1)
    was = value(made, "imd.error_frac")
    seen = []
    for _ in range(12):
        made.run(0.01, record=False)
        seen.append(value(made, "imd.error_frac"))
    steps = np.diff([was, *seen])
    assert steps[1:9] == pytest.approx([(1.0 - was) / 10] * 8) and seen[-1] == 1.0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_overlapping_moves_come_apart_in_any_order(world, order):
    made, snapshot = world
    made.restore(snapshot)
    field = "plant.ambient_degc"
    was = value(made, field)
    handles = [put(made, field, op, x) for op, x in (("add", 5.0), ("scale", 2.0), ("add", 1.0))]
    made.run(0.002, record=False)
    assert value(made, field) == (was + 5.0) * 2.0 + 1.0
    left = {0: lambda x: x + 5.0, 1: lambda x: x * 2.0, 2: lambda x: x + 1.0}
    for k in order:
        made.withdraw(handles[k])
        made.run(0.002, record=False)
        del left[k]
        expected = was
        for j in sorted(left):
            expected = left[j](expected)
        assert value(made, field) == expected


def test_value_that_others_write_under_a_held_move_is_what_comes_back(world):
    made, snapshot = world
    made.restore(snapshot)
    handle = put(made, "vehicle.charge_voltage_v", "set", 55.0, hold=True)
    made.run(0.002, record=False)
    made.world.parts["vehicle"]["charge_voltage_v"][0] = 44.0
    made.run(0.002, record=False)
    assert value(made, "vehicle.charge_voltage_v") == 55.0
    made.withdraw(handle)
    made.run(0.002, record=False)
    assert value(made, "vehicle.charge_voltage_v") == 44.0


@pytest.mark.parametrize("ramp", [0.0, 0.003])
def test_counter_that_the_world_uses_up_is_taken_back(world, ramp):
    made, snapshot = world
    made.restore(snapshot)
    put(made, "chips.crc_corrupt", "set", 1000.0, ramp=ramp, lasts=0.2)
    made.run(0.1, record=False)
    assert 0 < value(made, "chips.crc_corrupt") < 1000
    made.run(0.2, record=False)
    assert value(made, "chips.crc_corrupt") == 0


def test_move_that_comes_and_goes_keeps_its_turns(world):
    made, snapshot = world
    made.restore(snapshot)
    put(made, "loop.interlock", "set", 0.0, period_s=0.01, width_s=0.004, lasts=0.05)
    seen = []
    for _ in range(70):
        made.run(0.001, record=False)
        seen.append(value(made, "loop.interlock"))
    assert seen[:50] == ([0] * 4 + [1] * 6) * 5 and seen[50:] == [1] * 20


def test_push_adds_its_value_once_and_nothing_comes_back(world):
    made, snapshot = world
    made.restore(snapshot)
    was = value(made, "plant.module_gas_kpa")
    handle = put(made, "plant.module_gas_kpa", "push", 100.0, ramp=0.05)
    made.run(0.2, record=False)
    assert value(made, "plant.module_gas_kpa") == pytest.approx(was + 100.0)
    made.withdraw(handle)
    made.run(0.01, record=False)
    assert value(made, "plant.module_gas_kpa") == pytest.approx(was + 100.0)


@pytest.mark.parametrize("ramp", [0.0, 0.05])
@pytest.mark.parametrize(("by", "furthest"), [(-60.0, -70.0), (60.0, 100.0)])
def test_pushes_that_follow_each_other_end_at_the_furthest(world, ramp, by, furthest):
    made, snapshot = world
    made.restore(snapshot)
    was = value(made, "plant.module_gas_kpa")
    for _ in range(3):
        put(made, "plant.module_gas_kpa", "push", by, ramp=ramp, furthest=was + furthest)
        made.run(0.06, record=False)
    assert value(made, "plant.module_gas_kpa") == pytest.approx(was + furthest)
    put(made, "plant.module_gas_kpa", "push", by, furthest=was)
    made.run(0.01, record=False)  # what lies further already is not pulled back
    assert value(made, "plant.module_gas_kpa") == pytest.approx(was + furthest)


def test_strided_move_touches_its_elements_only(world):
    made, snapshot = world
    made.restore(snapshot)
    put(made, "plant.cell_heat_w", "set", 7.0, first=1, count=3, step=4)
    made.run(0.002, record=False)
    heat = made.world.parts["plant"]["cell_heat_w"]
    assert np.flatnonzero(heat).tolist() == [1, 5, 9] and set(heat[[1, 5, 9]]) == {7.0}


def test_table_that_is_full_says_so_and_makes_room_when_faults_are_over(world):
    made, snapshot = world
    made.restore(snapshot)
    for _ in range(table.MOVES):
        put(made, "loop.interlock", "set", 0.0, at=0.005, lasts=0.001)
    with pytest.raises(BmsError, match="64 of 64 moves in use"):
        made.inject("CON-14")
    made.run(0.01, record=False)
    handle = made.inject("CON-14")
    assert [one.state for one in made.faults() if one.handle == handle] == ["armed"]
    made.run(0.002, record=False)
    assert value(made, "loop.interlock") == 0


def test_elements_beyond_the_room_are_refused(world):
    made, snapshot = world
    made.restore(snapshot)
    put(made, "plant.cell_heat_w", "set", 1.0, count=1200)
    with pytest.raises(BmsError, match="no room for 1200 more elements"):
        put(made, "plant.cell_short_siemens", "set", 1.0, count=1200)


@pytest.mark.parametrize("field", ["plant.nothing", "loop.interlock[2]", "", "firmware.other"])
def test_field_that_is_not_there_is_refused(world, field):
    made, _ = world
    with pytest.raises(ConfigError):
        put(made, field, "set", 1.0)


@pytest.mark.parametrize("how", [{"after_s": -1.0}, {"for_s": float("inf")}, {"ramp_s": 1e10}])
def test_span_that_cannot_be_is_refused(world, how):
    made, _ = world
    with pytest.raises(ConfigError, match="seconds"):
        made.inject("CON-14", **how)


@pytest.mark.parametrize("handle", [0, -1, 12345, 2**40])
def test_handle_that_nobody_has_is_refused(world, handle):
    made, snapshot = world
    made.restore(snapshot)
    with pytest.raises(ConfigError, match="a handle that inject gave"):
        made.withdraw(handle)


def test_row_gone_wrong_is_ended_and_writes_nothing(world):
    made, snapshot = world
    made.restore(snapshot)
    put(made, "plant.ambient_degc", "set", 1.0)
    rows = made.world.parts["inject"]
    rows["offset"][np.flatnonzero(rows["phase"] == table.ARMED)] = 2**32 - 8
    made.run(0.002, record=False)
    assert not np.any(rows["phase"] == table.ON)


def test_injection_is_told_when_it_begins_and_ends(world):
    made, snapshot = world
    made.restore(snapshot)
    before = len(made.events)
    made.inject("SEN-05", index=3, value=0.4, after_s=0.01, for_s=0.02)
    assert made.faults()[-1].state == "armed"
    made.run(0.1, record=False)
    told = [e for e in made.events[before:] if e.kind == "fault"]
    assert [(e.name, e.index, e.text) for e in told] == [("SEN-05", 3, "on"), ("SEN-05", 3, "off")]
    assert told[0].value == pytest.approx(0.4) and told[1].t_ns - told[0].t_ns == 20_000_000
    assert made.faults()[-1].state == "over"
