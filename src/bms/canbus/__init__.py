"""A CAN bus with its physics: exact lengths, arbitration, acknowledge, error counters, bus-off.

    bus = Bus(("ecu", "charger"), bitrate_bps=500_000)
    bus.put("ecu", 0x100, b"\\x01\\x02")
    bus.put("charger", 0x80)
    for event in bus.run_us(1000):
        print(event.time_us, event.kind, event.node, hex(event.id), event.data.hex())

In virtual time nothing moves but by `run_us`, and the same calls give the same events everywhere.
In real time (`real_time`) a compiled thread joins links, one for each node, through the same bus.
`faults` are arrays to be written: bus.faults["bit_error_rate"][0] = 1e-4. The physics and what is
left out are in ext/canbus/canbus.h; docs/canbus.md is the manual. In the closed loop the same bus
is `world.parts["vehicle_bus"]` and `["sensor_bus"]`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np

from bms import _canbus

__all__ = ["ANY_ID", "FIELDS", "Bus", "Event", "frame_bits", "frame_us", "real_time"]

ANY_ID = 0xFFFFFFFF
KINDS: tuple[str, ...] = ("", "frame", "error", "off", "back")
OUTCOMES: tuple[str, ...] = ("received", "bit error", "no acknowledge", "misread")
STATES: tuple[Literal["active", "passive", "off"], ...] = ("active", "passive", "off")
INTERMISSION = 3
MOST_NODES = _canbus.NODES - 1  # the last one is the stranger, which babbles

FIELDS: dict[str, tuple[str, str]] = {row[0]: (row[1], row[2]) for row in _canbus.describe()}
"""Every field of a bus: name -> unit, meaning. "fault:" at its beginning marks a fault."""


class Event(NamedTuple):
    """Something that happened. `kind`: "frame" (carried), "error" (an attempt that failed), "off"
    and "back" (`node` went bus-off, came back). `heard_by`: the nodes that have the frame now."""

    kind: str
    node: str
    time_us: float
    heard_by: tuple[str, ...]
    outcome: str
    id: int
    flags: int
    data: bytes


class Bus:
    """Nodes by name, in the order given, at most 7.

    bitrate_bps: one whose bit lasts whole nanoseconds. fifo: nodes that send in the order given;
    the others send their most urgent frame first. silent: nodes that only listen. seed: of the
    random bit errors. ValueError for what cannot be.
    """

    def __init__(
        self,
        nodes: Sequence[str],
        *,
        bitrate_bps: int = 500_000,
        data_bitrate_bps: int = 0,
        fifo: Sequence[str] = (),
        silent: Sequence[str] = (),
        seed: int = 1,
    ) -> None:
        if not 1 <= len(nodes) <= MOST_NODES or len(set(nodes)) != len(nodes):
            raise ValueError(f"nodes {list(nodes)}: 1 to {MOST_NODES} different names")
        if bitrate_bps <= 0 or data_bitrate_bps < 0:
            raise ValueError(f"bit rates {bitrate_bps}, {data_bitrate_bps}: above zero")
        self.nodes = tuple(nodes)
        self.core = _canbus.Bus()
        state = self.core.state
        state["bitrate_bps"][0], state["data_bitrate_bps"][0] = bitrate_bps, data_bitrate_bps
        state["members_mask"][0] = (1 << len(nodes)) - 1
        state["fifo_mask"][0], state["silent_mask"][0] = self.mask(fifo), self.mask(silent)
        state["load_window_us"][0] = 100_000
        state["chance_key"][0] = seed
        state["corrupt_id"][0] = ANY_ID
        self.core.start()

    def mask(self, nodes: Sequence[str]) -> int:
        """The bits of nodes, for the fields that are masks."""
        return sum(1 << self.number(node) for node in nodes)

    def number(self, node: str) -> int:
        """Where a node stands in the arrays of `state`; "stranger" is the one that babbles."""
        if node == "stranger":
            return _canbus.STRANGER
        if node not in self.nodes:
            raise ValueError(f"node {node!r}: one of {', '.join(self.nodes)}")
        return self.nodes.index(node)

    def name(self, number: int) -> str:
        """The name of a node."""
        return self.nodes[number] if number < len(self.nodes) else "stranger"

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Live arrays of every field, see FIELDS; per-node ones have shape (8,)."""
        return self.core.state

    @property
    def faults(self) -> dict[str, np.ndarray]:
        """The fields that may be written to hurt the bus."""
        return {k: v for k, v in self.core.state.items() if FIELDS[k][1].startswith("fault:")}

    def put(self, node: str, identifier: int, data: bytes = b"", flags: int = 0) -> bool:
        """A frame wants to leave now; False if it was dropped and counted. flags: 1 extended,
        2 remote, 4 FD, 8 with the faster data phase."""
        return self.core.put(self.number(node), identifier, data, flags)

    def run_us(self, until_us: float) -> list[Event]:
        """What happens up to this time since the start."""
        return [self._event(row) for row in self.core.run(round(until_us * 1000))]

    def _event(self, row: tuple[Any, ...]) -> Event:
        kind, node, time_ns, receivers, outcome, identifier, flags, data = row
        heard = tuple(self.name(n) for n in range(_canbus.NODES) if receivers >> n & 1)
        return Event(
            KINDS[kind], self.name(node), time_ns / 1000, heard, OUTCOMES[outcome],
            identifier, flags, data,
        )  # fmt: skip

    def node_state(self, node: str) -> Literal["active", "passive", "off"]:
        """Error-active, error-passive or bus-off."""
        return STATES[self.core.node_state(self.number(node))]

    @property
    def load_frac(self) -> float:
        """Part of the last 100 ms in which the bus was taken."""
        return float(self.core.state["load_frac"][0])


def frame_bits(identifier: int, data: bytes = b"", flags: int = 0) -> int:
    """Bits of a frame from its start bit to the end of its intermission, stuff bits included."""
    return sum(_canbus.frame_length(identifier, data, flags)) + INTERMISSION


def frame_us(
    identifier: int,
    data: bytes = b"",
    flags: int = 0,
    *,
    bitrate_bps: int,
    data_bitrate_bps: int = 0,
) -> float:
    """The same in microseconds."""
    head, fast, tail = _canbus.frame_length(identifier, data, flags)
    slow = (head + tail + INTERMISSION) / bitrate_bps
    return 1e6 * (slow + fast / (data_bitrate_bps or bitrate_bps))


@contextmanager
def real_time(
    bus: Bus, links: Mapping[str, Any], api_address: int, *, period_us: int = 500
) -> Iterator[Bus]:
    """The bus in real time while the `with` lasts: what arrives on the link of a node is that
    node's to send, and what others sent leaves on it.

    links: node -> an open link (`bms.links.Link`), lent for so long; api_address:
    `bms.links.api_address()`. Frames are handed on at most period_us late.
    """
    addresses = {bus.number(node): link.lend() for node, link in links.items()}
    thread = threading.Thread(
        target=bus.core.pump, args=(api_address, addresses, period_us), daemon=True, name="can bus"
    )
    thread.start()
    try:
        yield bus
    finally:
        bus.core.stop()
        thread.join()
        for link in links.values():
            link.take_back()
