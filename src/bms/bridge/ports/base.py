"""What all ports have: threads, a state, counters, things to say, time stamps on two clocks."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bms.links import FRAME_DTYPE, CanUrl, Link

BATCH = 512
POLL_S = 0.05
DELAY_FIRST_S, DELAY_LAST_S = 0.05, 5.0
SAYINGS_MOST = 256
STEP_NS = 100_000_000
"""So far may the wall clock move against the other one before it was set, not slewed."""
DRAIN_S = 1.0
Batch = NDArray[np.void]


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a port is told. `lost`: frames the bridge itself did not hand to it, so far."""

    name: str
    place: CanUrl
    options: Any
    file: Path
    links: list[str]
    dbc: str
    title: str = ""
    origin: bytes = b"\0" * 8
    lost: Callable[[], int] = lambda: 0

    def path(self, text: str) -> Path:
        """A path of the file: beside it unless it is absolute."""
        return self.file.parent / Path(text).expanduser()


class WallClock:
    """Wall time of CLOCK_MONOTONIC stamps. A clock that is set is followed, and counted.

    Stamps are unsigned and wrap, so a time before this machine was started comes back as it was."""

    def __init__(self) -> None:
        self.offset_ns = time.time_ns() - time.monotonic_ns()
        self.steps, self.last_step_s = 0, 0.0

    def look(self) -> float:
        """Seconds by which the clock was set since the last look; 0.0 as a rule."""
        moved_ns = time.time_ns() - time.monotonic_ns() - self.offset_ns
        if abs(moved_ns) < STEP_NS:
            return 0.0
        self.offset_ns += moved_ns
        self.steps += 1
        self.last_step_s = 1e-9 * moved_ns
        return self.last_step_s

    def unix_ns(self, time_us: NDArray[Any]) -> NDArray[Any]:
        """Wall time in ns of stamps in us."""
        offset_us = np.array(self.offset_ns // 1000 % 2**64, np.uint64)
        return (time_us.astype(np.uint64) + offset_us) * np.uint64(1000)

    def time_us(self, unix_ns: NDArray[Any]) -> NDArray[Any]:
        """The reverse; 1 in place of 0, which would mean that there is none."""
        offset_us = np.array(self.offset_ns // 1000 % 2**64, np.uint64)
        found = unix_ns.astype(np.uint64) // np.uint64(1000) - offset_us
        return np.where(found == 0, np.uint64(1), found)


CLOCK = WallClock()


class Backoff:
    """Ever longer pauses, shifted by chance."""

    def __init__(self) -> None:
        self._next_s = DELAY_FIRST_S

    def pause_s(self) -> float:
        """The next one."""
        found = self._next_s * random.uniform(0.75, 1.25)
        self._next_s = min(2 * self._next_s, DELAY_LAST_S)
        return found

    def reset(self) -> None:
        """It worked."""
        self._next_s = DELAY_FIRST_S


class Port:
    """The far end of a link. A kind gives `works`: methods, each in a thread until `stopping`."""

    COUNTS: tuple[str, ...] = ()
    """Names that status and metrics always show."""

    def __init__(self, context: Context, outer: Link, inner: Link):
        self.context, self.outer, self.inner = context, outer, inner
        self.counts: Counter[str] = Counter(dict.fromkeys(self.COUNTS, 0))
        self.sayings: deque[dict[str, Any]] = deque(maxlen=SAYINGS_MOST)
        self.stopping = threading.Event()
        self.is_bad = False
        """A thread of it ended by a defect: it says so and does no more."""
        self._threads: list[threading.Thread] = []

    def works(self) -> tuple[Callable[[], None], ...]:
        """What its threads do."""
        raise TypeError("a port has work")

    def start(self) -> None:
        """Begins."""
        for work in self.works():
            thread = threading.Thread(
                target=self._run, args=(work,), name=f"{self.context.name} port", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        backoff = Backoff()
        while not self.stopping.is_set():
            try:
                work()
                return
            except Exception as error:  # whatever a driver or library raises: a reason, not our end
                self.down(error)
                self.counts["failures"] += 1
                self.stopping.wait(backoff.pause_s())

    def close(self) -> None:
        """Ends its threads; what is handed over already is still worked off, for DRAIN_S."""
        end_s = time.monotonic() + DRAIN_S
        while self.inner.pending and self.outer.state == "up" and time.monotonic() < end_s:
            time.sleep(0.005)
        self.stopping.set()
        for thread in self._threads:
            thread.join()
        self.finish()
        self.inner.close()

    def finish(self) -> None:
        """Called once all threads have ended."""

    def up(self) -> None:
        """Frames may come."""
        self.outer.set_state("up")

    def down(self, reason: object) -> None:
        """They may not, and why."""
        text = " ".join(str(reason).split()) or type(reason).__name__
        self.outer.set_state("waiting", text[:150])

    def say(self, event: str, **more: Any) -> None:
        """A line for the log of the service."""
        self.sayings.append({"event": event, "link": self.context.name, **more})

    def take(self, batch: Batch, timeout_s: float = POLL_S) -> Batch:
        """Frames that the bridge sent, as a view of `batch`."""
        return batch[: self.inner.receive_batch(batch, timeout_s)]

    def give(self, batch: Batch) -> int:
        """Frames for the bridge; those that cannot be are counted."""
        taken = self.inner.send_batch(batch)
        self.counts["impossible"] += len(batch) - taken
        return taken

    def has_room(self) -> bool:
        """Whether the bridge has taken enough of what it was given."""
        return self.outer.pending < 2 * BATCH

    def details(self) -> dict[str, Any]:
        """For status."""
        return dict(self.counts)


def room_for(count: int) -> Batch:
    """An empty batch."""
    return np.zeros(count, FRAME_DTYPE)
