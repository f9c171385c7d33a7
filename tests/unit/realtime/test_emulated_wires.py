"""The pack's side of the wires, without a firmware: who says what on which bus, and who obeys."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from bms import _realtime, links
from bms.realtime.emulate import Emulation

pytestmark = pytest.mark.wires

IO_INPUTS, VCU_REQUEST, CURRENT, INSULATION = 0x0F0, 0x080, 0x521, 0x037
MAIN_MINUS = 0b010
WAIT_S = 10.0


@pytest.fixture(params=[1, 2], ids=["one bus", "two buses"])
def pack(request: pytest.FixtureRequest) -> Iterator[SimpleNamespace]:
    """An emulated pack that runs on one or two in-process buses, and our ends of them."""
    emulation = Emulation("bench_16s1p")
    names = ["vehicle", "sensor"][: request.param]
    ours = [links.open(f"inproc:wires-{name}") for name in names]
    lent = [links.open(f"inproc:wires-{name}") for name in names]
    addresses = [link.lend() for link in lent]
    emulation.emulator.attach(emulation.live, links.api_address(), [addresses[0], addresses[-1]])
    emulation.manage(None)
    thread = threading.Thread(target=emulation.emulator.run, args=(0,))
    thread.start()
    yield SimpleNamespace(emulation=emulation, vehicle=ours[0], sensor=ours[-1], ends=ours)
    emulation.emulator.stop()
    thread.join()
    for link in lent:
        link.take_back()
    for link in (*lent, *ours):
        link.close()


def until(holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(1e-3)


def heard(link: links.Link, ms: int, emulation: Emulation) -> set[int]:
    """Identifiers heard while the pack lives through so many milliseconds."""
    end = emulation.look_up("loop.steps") + ms
    until(lambda: emulation.look_up("loop.steps") >= end)
    found = set()
    while (frame := link.receive()) is not None:
        found.add(frame.id)
    return found


def test_each_bus_carries_what_belongs_to_it(pack: SimpleNamespace) -> None:
    vehicle = heard(pack.vehicle, 1200, pack.emulation)
    assert {IO_INPUTS, VCU_REQUEST} <= vehicle
    if len(pack.ends) == 1:
        assert {CURRENT, INSULATION} <= vehicle
        return
    assert not {CURRENT, INSULATION} & vehicle
    sensor = heard(pack.sensor, 20, pack.emulation)
    assert {CURRENT, INSULATION} <= sensor
    assert not {IO_INPUTS, VCU_REQUEST} & sensor


def test_a_contactor_closes_by_io_outputs_and_opens_when_they_stop(pack: SimpleNamespace) -> None:
    """Nobody else moves it: the pack has no firmware."""
    module = _realtime.IoModule()
    emulation = pack.emulation

    def say_and_look() -> bool:
        identifier, data = module.pack_outputs(MAIN_MINUS)
        pack.vehicle.send(links.Frame(identifier, data))
        time.sleep(8e-3)
        return bool(emulation.look_up("plant.contactor_closed") == MAIN_MINUS)

    assert emulation.look_up("plant.contactor_closed") == 0
    until(say_and_look)
    until(lambda: int(emulation.emulator.parts["io"]["losses"][0]) == 1)
    until(lambda: emulation.look_up("plant.contactor_closed") == 0)


def test_io_outputs_that_are_damaged_or_on_the_wrong_bus_move_nothing(
    pack: SimpleNamespace,
) -> None:
    module, emulation = _realtime.IoModule(), pack.emulation
    for _ in range(30):
        identifier, data = module.pack_outputs(MAIN_MINUS)
        wrong = bytes([data[0] ^ 1]) + data[1:]
        pack.vehicle.send(links.Frame(identifier, wrong))
        pack.vehicle.send(links.Frame(identifier, data, extended=True))
        pack.vehicle.send(links.Frame(identifier, data[:7]))
        if len(pack.ends) == 2:
            pack.sensor.send(links.Frame(identifier, data))
        heard(pack.vehicle, 2, emulation)
    assert emulation.look_up("loop.commanded_pins") == 0
    assert int(emulation.emulator.parts["io"]["errors"][0]) == 60
    assert int(emulation.emulator.parts["io"]["frames"][0]) == 0
