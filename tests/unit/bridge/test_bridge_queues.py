"""What waits for a link: the order in which it leaves, and what a full queue drops."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from bms import links
from bms.bridge import load, table
from bms.bridge.daemon import _core, _open
from bms.links import Frame

numbers = itertools.count()
TEXT = """
[link.fast]
url = "inproc:{fast}"
[link.slow]
url = "inproc:{slow}"
bitrate_bps = 125000
paced = true
queue = {queue}
full = "{full}"
[[rule]]
name = "all"
latest = {latest}
"""


class Slow:
    """A fast link into a slow one, moved by hand in time."""

    def __init__(self, folder: Path, tag: str, queue: int, full: str, latest: bool = False):
        path = folder / "q.toml"
        path.write_text(
            TEXT.format(fast=f"queue-f{tag}", slow=f"queue-s{tag}", queue=queue, full=full,
                        latest=str(latest).lower())
        )  # fmt: skip
        plan = load(path)
        self.links = [_open(plan, name) for name in plan.names]
        self.core = _core(plan, dict(zip(plan.names, self.links, strict=True)), *table.rules(plan))
        self.ends = [links.open(link.url) for link in self.links]
        self.now_us = self.core.started_us

    def put(self, *frames: Frame) -> None:
        for frame in frames:
            self.ends[0].send(frame)
        self.core.cycle(self.now_us)

    def take(self, for_us: int = 1_000_000) -> list[Frame]:
        end_us = self.now_us + for_us
        while self.now_us < end_us:
            self.now_us += 200
            self.core.cycle(self.now_us)
        found = []
        while (frame := self.ends[1].receive()) is not None:
            found.append(frame)
        return found

    def close(self) -> None:
        self.core.close()
        for link in [*self.ends, *self.links]:
            link.close()


@pytest.fixture
def slow(tmp_path: Path) -> Any:
    made: list[Slow] = []

    def make(queue: int = 64, full: str = "newest", latest: bool = False) -> Slow:
        made.append(Slow(tmp_path, f"{next(numbers)}", queue, full, latest))
        return made[-1]

    yield make
    for one in made:
        one.close()


def numbered(identifiers: list[int]) -> list[Frame]:
    return [Frame(i, bytes([k])) for k, i in enumerate(identifiers)]


def test_the_more_urgent_goes_first_and_one_identifier_keeps_its_order(slow: Any) -> None:
    bench = slow()
    bench.put(*numbered([0x300, 0x100, 0x200, 0x100, 0x300, 0x100]))
    got = bench.take()
    assert sorted(f.data[0] for f in got) == list(range(6))
    waited = got[len(got) - 4 :]  # what left at once did not meet a rival
    assert [f.id for f in waited] == sorted(f.id for f in waited)
    for identifier in (0x100, 0x200, 0x300):
        order = [f.data[0] for f in got if f.id == identifier]
        assert order == sorted(order)


def test_extended_and_remote_frames_stand_where_arbitration_puts_them(slow: Any) -> None:
    bench = slow()
    first = Frame(0)
    rivals = [
        Frame(0x123), Frame(0x123, remote=True), Frame(0x123 << 18, extended=True),
        Frame(0x123 << 18, extended=True, remote=True), Frame(0x124),
    ]  # fmt: skip
    bench.put(*[first] * 12, *reversed(rivals))
    assert bench.take()[12:] == rivals


@pytest.mark.parametrize(
    ("full", "kept"),
    [("newest", [0, 1, 2, 3]), ("oldest", [6, 7, 8, 9]), ("urgent", [6, 7, 8, 9])],
)
def test_a_full_queue_drops_what_is_declared(slow: Any, full: str, kept: list[int]) -> None:
    bench = slow(queue=4, full=full)
    bench.put(Frame(0, bytes(8)))  # keeps the wire busy for longer than may be caught up
    bench.put(*numbered([0x500 - k for k in range(10)]))
    got = [f.data[0] for f in bench.take() if f.id]
    counts = bench.core.link_counts(1)
    assert sorted(got) == kept
    assert counts["dropped_full"] == 6 and counts["queue_most"] == 4
    assert counts["sent"] + counts["dropped_full"] == bench.core.link_counts(0)["received"]


def test_where_sources_wait_nothing_is_lost(slow: Any) -> None:
    bench = slow(queue=4, full="wait")
    bench.put(*numbered([0x10] * 100))
    assert bench.core.waiting(1) <= 4
    assert [f.data[0] for f in bench.take(2_000_000)] == list(range(100))
    assert bench.core.link_counts(1)["dropped_full"] == 0


def test_only_the_latest_value_waits(slow: Any) -> None:
    bench = slow(latest=True)
    bench.put(*[Frame(0, bytes(8))] * 3)
    bench.put(*numbered([0x10, 0x20] * 20))
    got = [(f.id, f.data[0]) for f in bench.take() if f.id]
    assert got[-2:] == [(0x10, 38), (0x20, 39)] and len(got) <= 4
    counts = bench.core.link_counts(1)
    assert counts["replaced"] + counts["sent"] == 43


def test_a_paced_link_gets_no_more_than_its_bit_rate(slow: Any) -> None:
    bench = slow(queue=1024)
    for _ in range(8):
        bench.put(*[Frame(0x100, bytes(8))] * 100)
    sent = len(bench.take(100_000))
    bits = bench.core.link_counts(1)["bits_out"]
    assert bits == sent * (bits // sent)
    assert 0.1 <= bits / 125_000 <= 0.1 + 0.003  # a burst, and the frame that is on the wire
    assert bench.core.waiting(1) == 800 - sent
