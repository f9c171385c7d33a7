"""Faults of the CAN buses inside the closed loop, and frames from outside on them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from bms._loop import FRAME_DTYPE
from bms.sim import Simulation, Snapshot

CLOSED = 3
VEHICLE, SENSOR = 0, 1
FLIP = 1  # SEAM_FLIP


@pytest.fixture(scope="module")
def running() -> tuple[Simulation, Snapshot]:
    """A pack that drives, and a snapshot of it."""
    simulation = Simulation("drive", pack="bench_16s1p", seed=2)
    simulation.run(15, record=False)
    assert int(simulation.world.parts["plant"]["contactor_closed"][0]) == CLOSED
    return simulation, simulation.snapshot()


@pytest.fixture
def drive(running: tuple[Simulation, Snapshot]) -> Iterator[Simulation]:
    simulation, snapshot = running
    simulation.restore(snapshot)
    yield simulation
    for bus in (VEHICLE, SENSOR):
        simulation.world.tap_frames(bus, 0)


def closed(simulation: Simulation) -> bool:
    return int(simulation.world.parts["plant"]["contactor_closed"][0]) == CLOSED


def field(simulation: Simulation, bus: str, name: str) -> np.ndarray:
    return simulation.world.parts[bus][name]


def test_a_healthy_bus_has_no_errors_and_a_plausible_load(drive: Simulation) -> None:
    drive.run(3, record=False)
    for bus, low, high in (("vehicle_bus", 0.2, 0.35), ("sensor_bus", 0.04, 0.1)):
        assert int(field(drive, bus, "error_frames")[0]) == 0
        assert low < float(field(drive, bus, "load_frac")[0]) < high
        assert not field(drive, bus, "tec").any()
        assert not field(drive, bus, "rec").any()


@pytest.mark.parametrize(
    ("name", "value"), [("short_kind", 1), ("short_kind", 2), ("babble_on", 1)]
)
def test_without_its_vehicle_bus_the_pack_opens_its_contactors(
    drive: Simulation, name: str, value: int
) -> None:
    field(drive, "vehicle_bus", name)[0] = value
    drive.run(0.4, record=False)
    assert closed(drive)  # silence is not yet long enough
    drive.run(1.6, record=False)
    assert not closed(drive)


@pytest.mark.parametrize(("name", "value"), [("short_kind", 1), ("open_mask", 0b10)])
def test_without_its_current_sensor_the_firmware_says_so_and_opens(
    drive: Simulation, name: str, value: int
) -> None:
    field(drive, "sensor_bus", name)[0] = value
    before = len(drive.events)
    drive.run(2, record=False)
    assert "current_unknown" in [e.name for e in drive.events[before:] if e.kind == "diagnosis"]
    assert not closed(drive)


@pytest.mark.parametrize("cycles", range(15))
def test_a_second_sender_of_requests_is_told_wherever_its_counter_runs(
    drive: Simulation, cycles: int
) -> None:
    """Of 15 distances between the counters four make every other request good."""
    drive.run(0.01 * cycles, record=False)
    before = len(drive.events)
    drive.inject("COM-12")
    drive.run(0.3, record=False)
    told = [e.name for e in drive.events[before:] if e.kind == "diagnosis" and e.value > 0]
    assert "vcu_e2e" in told


@pytest.mark.parametrize(("good_s", "told"), [(0.01, ["vcu_e2e"]), (0.04, [])])
def test_one_bad_request_in_five_is_ridden_through_and_every_other_is_told(
    drive: Simulation, good_s: float, told: list[str]
) -> None:
    seam = drive.world.parts["seam"]
    for name, value in (("bus", VEHICLE), ("id", 0x80), ("byte", 2), ("value", 1)):
        seam[f"tamper_{name}"][1] = value
    before = len(drive.events)
    for _ in range(30):
        for kind, seconds in ((FLIP, 0.01), (0, good_s)):
            seam["tamper_kind"][1] = kind
            drive.run(seconds, record=False)
    assert [e.name for e in drive.events[before:] if e.kind == "diagnosis"] == told


@pytest.mark.parametrize("kind", [1.0, 2.0])
def test_a_current_sensor_that_is_silent_or_repeats_itself_opens(
    drive: Simulation, kind: float
) -> None:
    before, sent = len(drive.events), int(field(drive, "ivt", "sent")[0])
    drive.inject("SEN-13", value=kind)
    drive.run(1.0, record=False)
    assert "current_unknown" in [e.name for e in drive.events[before:] if e.kind == "diagnosis"]
    assert not closed(drive)
    assert (int(field(drive, "ivt", "sent")[0]) - sent > 300) == (kind == 2.0)


def test_a_bus_with_some_errors_is_ridden_through(drive: Simulation) -> None:
    for bus in ("vehicle_bus", "sensor_bus"):
        field(drive, bus, "bit_error_rate")[0] = 1e-4
    before = len(drive.events)
    drive.run(10, record=False)
    assert closed(drive)
    assert not [e for e in drive.events[before:] if e.kind == "diagnosis"]
    assert 60 < int(field(drive, "vehicle_bus", "error_frames")[0]) < 260
    assert int(field(drive, "vehicle_bus", "offs")[0]) == 0


def test_an_ecu_that_stays_bus_off_is_told_so_and_opens(drive: Simulation) -> None:
    """ecu_in_t.can_state is all it learns: the diagnosis is its own."""
    field(drive, "vehicle_bus", "keep_off_mask")[0] = 1
    field(drive, "vehicle_bus", "force_off_mask")[0] = 1
    drive.run(3, record=False)
    assert int(field(drive, "vehicle_bus", "offs")[0]) == 1
    assert not closed(drive)


def test_an_ecu_that_was_bus_off_for_a_moment_drives_on(drive: Simulation) -> None:
    field(drive, "vehicle_bus", "force_off_mask")[0] = 1
    drive.run(3, record=False)
    assert int(field(drive, "vehicle_bus", "offs")[0]) == 1
    assert closed(drive)


def frames(count: int, identifier: int, flags: int = 0) -> np.ndarray:
    out = np.zeros(count, FRAME_DTYPE)
    out["id"], out["length"], out["flags"] = identifier, 8, flags
    out["data"][:, 0] = np.arange(count)
    return out


def test_foreign_frames_are_carried_in_order_among_the_others(drive: Simulation) -> None:
    world = drive.world
    world.tap_frames(VEHICLE, 4096)
    assert world.put_frames(VEHICLE, frames(20, 0x18FF50E5, 1)) == 20
    drive.run(0.2, record=False)
    seen, lost = world.take_frames(VEHICLE)
    assert lost == 0
    assert (np.diff(seen["time_us"].astype(np.int64)) > 0).all()
    foreign = seen[seen["reserved"] == 7]
    assert foreign["data"][:, 0].tolist() == list(range(20))
    assert set(seen["reserved"].tolist()) == {0, 1, 7}
    assert world.take_frames(VEHICLE)[0].size == 0


def test_a_foreign_queue_and_the_ring_have_bounds_and_count(drive: Simulation) -> None:
    world = drive.world
    world.tap_frames(VEHICLE, 64)
    assert world.put_frames(VEHICLE, frames(100, 0x7F0)) == 64
    drive.run(1, record=False)
    seen, lost = world.take_frames(VEHICLE)
    assert len(seen) == 64
    assert lost > 1000


def test_looking_on_changes_no_bit(running: tuple[Simulation, Snapshot]) -> None:
    simulation, snapshot = running
    hashes = []
    for capacity in (0, 1024):
        simulation.restore(snapshot)
        simulation.world.tap_frames(VEHICLE, capacity)
        simulation.run(2, record=False)
        hashes.append(int(simulation.world.parts["loop"]["trace_hash"][0]))
    simulation.world.tap_frames(VEHICLE, 0)
    assert hashes[0] == hashes[1]


def test_errors_on_the_bus_fall_the_same_way_every_time(
    running: tuple[Simulation, Snapshot],
) -> None:
    simulation, snapshot = running
    found = []
    for _ in range(2):
        simulation.restore(snapshot)
        field(simulation, "vehicle_bus", "bit_error_rate")[0] = 1e-3
        simulation.run(2, record=False)
        loop = simulation.world.parts["loop"]
        found.append(
            (int(loop["trace_hash"][0]), int(field(simulation, "vehicle_bus", "error_frames")[0]))
        )
    assert found[0] == found[1]
    assert found[0][1] > 100
