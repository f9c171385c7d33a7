"""Frames that we send again and again: when each is due, and what is in it.

Counter and CRC of our own protected messages are put in for every frame, so a message that is meant
to be right is right, and one that is meant to be wrong says so (`spoil`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bms.protocols import e2e

SHORTEST_S = 1e-3
SPOILS = ("", "crc", "counter")


@dataclass(frozen=True)
class Job:
    """One row of the transmit list. period_s: 0 sends once. data_id: of end-to-end profile 1, -1
    without. spoil: "crc" or "counter" sends that wrong on purpose."""

    key: int
    bus: int
    id: int
    data: bytes
    period_s: float = 0.1
    data_id: int = -1
    extended: bool = False
    spoil: str = ""


@dataclass
class _Running:
    job: Job
    due_s: float
    sender: e2e.Sender
    sent: int = 0


@dataclass
class Schedule:
    """Jobs and when they are due."""

    running: dict[int, _Running] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)

    def use(self, jobs: Iterable[Job], now_s: float) -> None:
        """These from now on. A job that was there goes on in its rhythm with its counter."""
        before, self.running = self.running, {}
        for job in jobs:
            old = before.get(job.key)
            if old is None:
                sender = e2e.Sender(max(0, job.data_id))
                self.running[job.key] = _Running(job, now_s, sender)
            else:
                due_s = min(old.due_s, now_s + max(SHORTEST_S, job.period_s))
                self.running[job.key] = _Running(job, due_s, old.sender, old.sent)

    @property
    def next_s(self) -> float:
        """When the next frame is due; infinite if none is."""
        return min((r.due_s for r in self.running.values()), default=float("inf"))

    def due(self, now_s: float) -> list[tuple[Job, bytes]]:
        """Frames due now; after a pause one of each, not all that were missed."""
        found = []
        for key in list(self.running):
            one = self.running[key]
            if one.due_s > now_s + 1e-9:
                continue
            found.append((one.job, _made(one)))
            self.sent[key] = self.sent.get(key, 0) + 1
            if one.job.period_s <= 0.0:
                del self.running[key]
                continue
            period_s = max(SHORTEST_S, one.job.period_s)
            one.due_s = max(one.due_s + period_s, now_s + 0.5 * period_s)
        return found


def _made(one: _Running) -> bytes:
    job = one.job
    if job.data_id < 0 or len(job.data) < 2:
        return job.data
    if job.spoil == "counter":
        one.sender.counter = 0
    frame = bytearray(one.sender.protect(job.data))
    if job.spoil == "crc":
        frame[0] ^= 0x5A
    return bytes(frame)
