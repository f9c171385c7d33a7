"""Changing a world that is being stepped: all of a change between two steps, nothing beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from bms import links
from bms.errors import BmsError, ConfigError
from bms.realtime import live
from bms.realtime.emulate import Emulation, inject

pytestmark = pytest.mark.wires


@pytest.fixture
def running() -> Iterator[Emulation]:
    """An emulated pack whose runner runs, on a bus with nobody else."""
    emulation = Emulation("bench_16s1p", settings={"phase.wake.duration_s": "0.1"})
    link = links.open("inproc:live-world")
    address = link.lend()
    emulation.emulator.attach(emulation.live, links.api_address(), [address, address])
    emulation.manage(None)
    thread = threading.Thread(target=emulation.emulator.run, args=(0,))
    thread.start()
    yield emulation
    emulation.emulator.stop()
    thread.join()
    link.take_back()
    link.close()


def settled(emulation: Emulation) -> None:
    while not emulation.emulator.is_poked:
        time.sleep(1e-3)


def test_a_change_arrives_and_leaves_what_it_did_not_mean(running: Emulation) -> None:
    elapsed = running.look_up("loop.elapsed_us")
    running.change({"plant.ambient_degc": 40.0, "plant.cell_short_siemens[5]": 0.01})
    settled(running)
    assert running.look_up("plant.ambient_degc") == 40.0
    assert running.look_up("plant.cell_short_siemens[5]") == 0.01
    assert running.look_up("plant.cell_short_siemens[4]") == 0.0
    assert running.look_up("loop.elapsed_us") >= elapsed, "time was not set back"


def test_the_world_is_stepped_while_it_is_changed_again_and_again(running: Emulation) -> None:
    before = running.look_up("loop.steps")
    for k in range(50):
        running.change({"plant.ambient_degc": float(k)})
    settled(running)
    assert running.look_up("plant.ambient_degc") == 49.0
    while running.look_up("loop.steps") < before + 20:
        time.sleep(1e-3)


def test_phases_begin_when_they_are_due_and_bring_their_requests(running: Emulation) -> None:
    events = []
    while running.phase_name == "wake":
        events += running.manage(None)
        time.sleep(1e-3)
    settled(running)
    assert [e.name for e in events if e.kind == "phase"] == ["close"]
    assert running.look_up("vehicle.request") == 1
    assert running.time_s >= 0.1


@pytest.mark.parametrize("place", ["plant", "plant.nothing", "plant.ambient_degc[1]", "loop.x[-1]"])
def test_a_field_that_is_not_there_is_refused(running: Emulation, place: str) -> None:
    with pytest.raises(ConfigError):
        running.change({place: 1.0})
    with pytest.raises(ConfigError):
        running.look_up(place)


def test_a_fault_begins_and_is_withdrawn_in_a_running_world(running: Emulation) -> None:
    answer = inject(running, {"id": "CON-14", "after_s": 0.0})
    while running.look_up("loop.interlock") == 1:
        time.sleep(1e-3)
    assert [(f.handle, f.state) for f in running.faults()] == [(answer["handle"], "active")]
    running.withdraw(answer["handle"])
    while running.look_up("loop.interlock") == 0:
        time.sleep(1e-3)
    assert running.faults()[0].state == "over"
    events = []
    while sum(e.kind == "fault" for e in events) < 2:
        events += running.manage(None)
        time.sleep(1e-3)
    told = [(e.name, e.text) for e in events if e.kind == "fault"]
    assert told == [("CON-14", "on"), ("CON-14", "off")]


@pytest.mark.parametrize(
    "wanted",
    ["CON-99", {}, {"id": 3}, {"id": "CON-14", "place": 1}, {"id": "CON-14", "after_s": "soon"},
     {"id": "CEL-02", "index": 1.5}, {"id": "CEL-02", "index": 99}, {"id": "SYS-04"}, None,
     {"id": "CON-14", "for_s": -1}, {"id": "CEL-02", "value": True}],
)  # fmt: skip
def test_a_fault_that_cannot_be_is_refused(running: Emulation, wanted: object) -> None:
    with pytest.raises(ConfigError):
        inject(running, wanted)
    assert running.faults() == ()


def test_too_many_changes_at_once_are_refused_whole() -> None:
    emulation = Emulation("bench_16s1p")
    emulation.shadow.refresh()
    emulation.shadow.parts["loop"]["nvm"][: live.POKES_MAX + 1] = 0
    with pytest.raises(BmsError, match="at once"):
        emulation.shadow.commit()
    assert emulation.emulator.is_poked
