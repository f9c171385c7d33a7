"""CAN traffic as a screen needs it: a ring of frames, what each identifier does, what passes a
filter. Everything is worked out for whole batches at once, so ten thousand frames a second are a
small part of a picture.

Frames are numbered from 0 as they come; `first` is the oldest that is still held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bms_gui import decode
from bms_gui.snapshot import Frames

from bms.protocols import e2e

CAPACITY = 1 << 17
LATE, EARLY = 1.5, 0.5
"""Of the cycle time: a frame after more, or less, than this share of it is marked."""
LATE_S = 1e-3  # a millisecond of jitter is nothing
NOT_PROTECTED = 255
VERDICTS = {
    e2e.Status.OK: "ok",
    e2e.Status.OK_SOME_LOST: "some lost",
    e2e.Status.INITIAL: "first",
    e2e.Status.REPEATED: "repeated",
    e2e.Status.WRONG_SEQUENCE: "wrong sequence",
    e2e.Status.CRC_ERROR: "wrong CRC",
}
_TABLE = np.array(e2e._CRC8, np.uint8)
MAX_STEP = 2  # of the counter, as e2e.Receiver
DIRECTIONS = ("to the BMS", "from the BMS", "sent by us")


@dataclass
class Talker:
    """One identifier on one bus from one side, and what it has done."""

    bus: int
    id: int
    flags: int
    direction: int
    kind: decode.Kind
    count: int = 0
    odd: int = 0
    last_s: float = float("nan")
    delta_s: float = float("nan")
    period_s: float = float("nan")
    newest: int = -1
    counter: int = -1  # of the last frame whose CRC was right


class Traffic:
    """See above. `take` gives it the frames of a snapshot."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.book: Any = None
        """Message database of a bus that is not ours; None: our own."""
        self.total = self.seen = self.missed = 0
        self.talkers: list[Talker] = []
        self._of_key: dict[int, int] = {}
        n = capacity
        self.time_s, self.delta_s = np.zeros(n), np.full(n, np.nan)
        self.talker = np.zeros(n, np.int32)
        self.length, self.verdict = np.zeros(n, np.uint8), np.zeros(n, np.uint8)
        self.data = np.zeros((n, 8), np.uint8)

    @property
    def first(self) -> int:
        """Number of the oldest frame that is held."""
        return max(0, self.total - self.capacity)

    def clear(self) -> None:
        """Begins anew; frames seen so far do not come back."""
        seen, book = self.seen, self.book
        self.__init__(self.capacity)  # type: ignore[misc]
        self.seen, self.book = seen, book

    def take(self, frames: Frames) -> int:
        """The frames of a snapshot that are new; returns how many. `missed` counts those that came
        and went between two snapshots."""
        if frames.total < self.seen:  # another source
            self.seen = 0
            self.clear()
        new = frames.total - self.seen
        self.seen = frames.total
        held = min(new, len(frames.id), self.capacity)
        self.missed += new - held
        if held == 0:
            return 0
        self._add(frames, slice(len(frames.id) - held, len(frames.id)))
        return held

    def _add(self, frames: Frames, part: slice) -> None:
        time_s, data = np.asarray(frames.time_s[part], float), frames.data[part]
        length = frames.length[part]
        which = self._which(frames, part)
        delta_s = np.full(len(time_s), np.nan)
        verdict = np.full(len(time_s), NOT_PROTECTED, np.uint8)
        order = np.argsort(which, kind="stable")
        starts = np.flatnonzero(np.diff(which[order], prepend=-1))
        for begin, end in zip(starts, [*starts[1:], len(order)], strict=True):
            rows = order[begin:end]
            self._one(self.talkers[which[rows[0]]], rows, time_s, data, length, delta_s, verdict)
        at = (self.total + np.arange(len(time_s))) % self.capacity
        self.time_s[at], self.delta_s[at], self.talker[at] = time_s, delta_s, which
        self.length[at], self.verdict[at], self.data[at] = length, verdict, data
        self.total += len(time_s)

    def _which(self, frames: Frames, part: slice) -> np.ndarray:
        """Number of the talker of each frame."""
        flags = frames.flags[part].astype(np.int64) & (decode.EXTENDED | decode.ERROR)
        key = (
            frames.id[part].astype(np.int64)
            | frames.bus[part].astype(np.int64) << 32
            | flags << 40
            | frames.direction[part].astype(np.int64) << 48
        )
        keys, inverse = np.unique(key, return_inverse=True)
        numbers = np.zeros(len(keys), np.int64)
        for k, one in enumerate(keys.tolist()):
            if one not in self._of_key:
                identifier, bus = one & 0xFFFFFFFF, one >> 32 & 0xFF
                flag, way = one >> 40 & 0xFF, one >> 48 & 0xFF
                self._of_key[one] = len(self.talkers)
                known = decode.kind(bus, identifier, flag, self.book)
                self.talkers.append(Talker(bus, identifier, flag, way, known))
            numbers[k] = self._of_key[one]
        return numbers[inverse]

    def _one(
        self,
        talker: Talker,
        rows: np.ndarray,
        time_s: np.ndarray,
        data: np.ndarray,
        length: np.ndarray,
        delta_s: np.ndarray,
        verdict: np.ndarray,
    ) -> None:
        """The new frames of one talker."""
        times = time_s[rows]
        delta_s[rows] = np.diff(times, prepend=talker.last_s)
        talker.count += len(rows)
        talker.last_s, talker.delta_s = float(times[-1]), float(delta_s[rows[-1]])
        talker.newest = self.total + int(rows[-1])
        known = delta_s[rows][np.isfinite(delta_s[rows])]
        if known.size:
            mean = float(known.mean())
            share = min(1.0, 0.05 * known.size)
            before = talker.period_s
            talker.period_s = mean if np.isnan(before) else before + share * (mean - before)
        if talker.kind.data_id >= 0:
            found, talker.counter = judge(
                data[rows], length[rows], talker.kind.data_id, talker.counter
            )
            verdict[rows] = found
            talker.odd += int((found > e2e.Status.INITIAL).sum())
        talker.odd += int(odd_times(delta_s[rows], talker.kind.period_s).astype(bool).sum())


def judge(
    data: np.ndarray, length: np.ndarray, data_id: int, counter: int
) -> tuple[np.ndarray, int]:
    """(verdicts (n,) as e2e.Status, counter of the last frame whose CRC was right) of frames of one
    message, what e2e.Receiver would say of each in turn. counter: of the one before, -1 none."""
    crc = np.full(len(data), _TABLE[_TABLE[data_id & 0xFF] ^ (data_id >> 8 & 0xFF)], np.uint8)
    for k in range(1, 8):
        crc = np.where(k < length, _TABLE[crc ^ data[:, k]], crc)
    counts = (data[:, 1] & 15).astype(np.int64)
    good = (length >= 2) & (crc == data[:, 0]) & (counts < e2e.P01_COUNTERS)
    verdicts = np.full(len(data), int(e2e.Status.CRC_ERROR), np.uint8)
    mine = counts[good]
    if not mine.size:
        return verdicts, counter
    before = np.concatenate(([counter], mine[:-1]))
    step = (mine - before) % e2e.P01_COUNTERS
    status = np.where(
        step == 0,
        int(e2e.Status.REPEATED),
        np.where(
            step == 1,
            int(e2e.Status.OK),
            np.where(
                step <= MAX_STEP, int(e2e.Status.OK_SOME_LOST), int(e2e.Status.WRONG_SEQUENCE)
            ),
        ),
    )
    if counter < 0:
        status[0] = int(e2e.Status.INITIAL)
    verdicts[good] = status
    return verdicts, int(mine[-1])


def odd_times(delta_s: np.ndarray, period_s: float) -> np.ndarray:
    """(n,) 1 late, -1 early, 0 in time or without a cycle time."""
    if not np.isfinite(period_s):
        return np.zeros(len(delta_s), np.int8)
    with np.errstate(invalid="ignore"):
        late = delta_s > LATE * period_s + LATE_S
        early = delta_s < EARLY * period_s - LATE_S
    return late.astype(np.int8) - early.astype(np.int8)


@dataclass(frozen=True)
class Filter:
    """What is shown: words that identifier, name, sender or signals hold; bus and direction, -1
    all; odd: only what is late, early or not right."""

    text: str = ""
    bus: int = -1
    direction: int = -1
    odd: bool = False

    def takes(self, talker: Talker) -> bool:
        """Whether frames of a talker are shown."""
        if self.bus not in (-1, talker.bus) or self.direction not in (-1, talker.direction):
            return False
        known = talker.kind
        told = " ".join(
            (f"{talker.id:03x} 0x{talker.id:x}", known.name, known.sender, *known.signals)
        ).lower()
        return all(word in told for word in self.text.lower().split())


class Shown:
    """Numbers of the frames that pass a filter, kept up with the traffic."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic
        self.filter = Filter()
        self.numbers = np.zeros(0, np.int64)
        self._until = 0
        self._takes: np.ndarray = np.zeros(0, bool)

    def use(self, wanted: Filter) -> None:
        """Another filter, over all that is held."""
        self.filter = wanted
        self.numbers, self._until = np.zeros(0, np.int64), self.traffic.first
        self._takes = np.zeros(0, bool)
        self.follow()

    def follow(self) -> None:
        """Takes what has come since."""
        traffic = self.traffic
        if traffic.total < self._until:
            self.numbers, self._until = np.zeros(0, np.int64), traffic.first
            self._takes = np.zeros(0, bool)
        for talker in traffic.talkers[len(self._takes) :]:
            self._takes = np.append(self._takes, self.filter.takes(talker))
        fresh = np.arange(max(self._until, traffic.first), traffic.total)
        self._until = traffic.total
        at = fresh % traffic.capacity
        keep = self._takes[traffic.talker[at]] if len(fresh) else np.zeros(0, bool)
        if self.filter.odd and len(fresh):
            keep &= self._odd(at)
        begin = int(np.searchsorted(self.numbers, traffic.first))
        self.numbers = np.concatenate((self.numbers[begin:], fresh[keep]))

    def _odd(self, at: np.ndarray) -> np.ndarray:
        traffic = self.traffic
        period_s = np.array([t.kind.period_s for t in traffic.talkers])[traffic.talker[at]]
        with np.errstate(invalid="ignore"):
            late = traffic.delta_s[at] > LATE * period_s + LATE_S
            early = traffic.delta_s[at] < EARLY * period_s - LATE_S
        verdict = traffic.verdict[at]
        bad = (verdict > int(e2e.Status.INITIAL)) & (verdict != NOT_PROTECTED)
        error = np.array([bool(t.flags & decode.ERROR) for t in traffic.talkers])
        return np.asarray(late | early | bad | error[traffic.talker[at]])
