"""The bus with physics between links of other people's processes: order and counts, no latency."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from bms import links
from bms.canbus import Bus, real_time

pytestmark = pytest.mark.wires


def eventually(is_so: Callable[[], bool], within_s: float = 5.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.005)
    return is_so()


def drain(link: links.Link) -> list[int]:
    found = []
    while (frame := link.receive()) is not None:
        found.append(frame.id)
    return found


def test_frames_pass_between_nodes_and_are_not_echoed() -> None:
    bus = Bus(("a", "b"))
    with (
        links.open("inproc:phys-a") as a, links.open("inproc:phys-a") as bus_a,
        links.open("inproc:phys-b") as b, links.open("inproc:phys-b") as bus_b,
        real_time(bus, {"a": bus_a, "b": bus_b}, links.api_address()),
    ):  # fmt: skip
        for identifier in range(0x100, 0x120):
            a.send(links.Frame(identifier, b"12345678"))
        heard: list[int] = []
        assert eventually(lambda: heard.extend(drain(b)) or len(heard) == 32)  # type: ignore[func-returns-value]
        assert heard == list(range(0x100, 0x120))
        assert drain(a) == []
    assert bus.core.carried == (32, 0)


def test_a_fault_written_while_it_runs_takes_a_node_off_and_it_comes_back() -> None:
    bus = Bus(("a", "b"))
    with (
        links.open("inproc:phys-c") as a, links.open("inproc:phys-c") as bus_a,
        links.open("inproc:phys-d") as b, links.open("inproc:phys-d") as bus_b,
        real_time(bus, {"a": bus_a, "b": bus_b}, links.api_address()),
    ):  # fmt: skip
        bus.faults["short_kind"][0] = 1
        a.send(links.Frame(0x100))
        assert eventually(lambda: int(bus.state["offs"][0]) == 1)
        bus.faults["short_kind"][0] = 0
        assert eventually(lambda: bus.node_state("a") == "active")
        a.send(links.Frame(0x101))
        heard: list[int] = []
        assert eventually(lambda: heard.extend(drain(b)) or heard == [0x101])  # type: ignore[func-returns-value]
