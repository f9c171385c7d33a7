"""What a CAN bus carries, message by message, as `bms monitor` shows it.

    traffic = Traffic(codec)
    traffic.feed(frames)                frames: array of links.FRAME_DTYPE, in the order of time
    traffic.snapshot(now_us)            Snapshot: rates, missing and late messages, last values

Nothing here reads a clock or a link. A message is *late* each time it comes after more than LATE of
its cycle times, and more than SLACK_US after it was due, since a computer that looks on is not
punctual itself. It is *missing* while it has been silent for more than MISSING cycle times, and
SLACK_US. Cycle times are those of the database (GenMsgCycleTime). Values are decoded only when they
are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import msgspec
import numpy as np

from bms import _canbus
from bms.protocols import Malformed, e2e
from bms.protocols.codec import EXTENDED, Codec, Value

LATE, MISSING, SLACK_US = 1.5, 3.0, 10_000.0
ERROR_FLAG, EXTENDED_FLAG, REMOTE_FLAG = 16, 1, 2
LOAD_SPAN_S = 0.2  # a load over less than this says nothing
STRANGERS_MOST = 512  # identifiers that are not in the database; more are counted together


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """One message as it stands. None: not known. `e2e` is the verdict on the last frame."""

    id: int
    extended: bool
    name: str
    count: int
    rate_hz: float
    cycle_ms: float | None
    late: int
    missing: bool
    age_ms: float
    longest_gap_ms: float
    data: str
    e2e: str | None
    e2e_errors: int
    malformed: int
    values: dict[str, Value]
    units: dict[str, str]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole bus. `never_seen`: messages with a cycle time that did not come at all."""

    frames: int
    frames_per_s: float
    load_frac: float | None
    error_frames: int
    unknown_frames: int
    malformed: int
    late: int
    missing: tuple[str, ...]
    never_seen: tuple[str, ...]
    messages: tuple[MessageView, ...]


@dataclass
class _Entry:
    key: int
    message: Any  # of the database; None: a stranger
    receiver: e2e.Receiver | None = None
    cycle_us: float = 0.0
    count: int = 0
    seen_us: int = 0
    late: int = 0
    longest_us: int = 0
    data: bytes = b""
    verdict: e2e.Status | None = None
    wrong_length: int = 0
    told: tuple[int, float] = (0, 0.0)  # count and time of the last snapshot


@dataclass
class Traffic:
    """Counts and last contents of every message. patterns: names ("Bms*") or identifiers ("0x100")
    to which it is confined; empty: all. bitrate_bps, data_bitrate_bps: for the load; 0: not known.
    """

    codec: Codec
    patterns: tuple[str, ...] = ()
    bitrate_bps: int = 0
    data_bitrate_bps: int = 0
    started_us: int = 0
    entries: dict[int, _Entry] = field(default_factory=dict)
    frames: int = 0
    error_frames: int = 0
    unknown_frames: int = 0
    busy_us: float = 0.0
    _told: tuple[int, float, float] = (0, 0.0, 0.0)

    def feed(self, frames: np.ndarray) -> None:
        """Take frames in; any bytes are taken."""
        is_error = frames["flags"] & ERROR_FLAG != 0
        self.error_frames += int(is_error.sum())
        self.frames += len(frames) - int(is_error.sum())
        if self.bitrate_bps:
            nominal, fast = _canbus.bits_of(frames)
            fast_bps = self.data_bitrate_bps or self.bitrate_bps
            self.busy_us += 1e6 * (nominal / self.bitrate_bps + fast / fast_bps)
        keys = frames["id"] | ((frames["flags"] & EXTENDED_FLAG).astype(np.uint32) << 31)
        columns = (frames["time_us"], keys, frames["length"], frames["flags"])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for k, (time_us, key, length, flags) in enumerate(rows):
            if flags & ERROR_FLAG:
                continue
            data = b"" if flags & REMOTE_FLAG else frames["data"][k, :length].tobytes()
            entry = self.entries.get(key)
            if entry is None:
                entry = self._entry(key)
                if entry is None:
                    continue
            self._take(entry, time_us, data)

    def _entry(self, key: int) -> _Entry | None:
        """The place of a new message; None if it is not wanted, or one stranger too many."""
        message = self.codec.by_identifier.get(key)
        if message is None:
            self.unknown_frames += 1
            if len(self.entries) >= STRANGERS_MOST + len(self.codec.by_identifier):
                return None
        if not self.is_wanted(message.name if message else "", key):
            return None
        data_id = self.codec.data_ids.get(message.name) if message else None
        entry = _Entry(key, message, e2e.Receiver(data_id) if data_id is not None else None)
        entry.cycle_us = 1000.0 * (message.cycle_time or 0) if message else 0.0
        self.entries[key] = entry
        return entry

    def is_wanted(self, name: str, key: int) -> bool:
        """Whether the patterns take a message."""
        number = key & ~EXTENDED
        texts = (name, f"{number:#x}", f"0x{number:03x}", str(number))
        return not self.patterns or any(
            fnmatchcase(text.lower(), pattern.lower())
            for pattern in self.patterns
            for text in texts
            if text
        )

    def _take(self, entry: _Entry, time_us: int, data: bytes) -> None:
        if entry.message is None and entry.count:
            self.unknown_frames += 1
        if entry.count:
            gap_us = time_us - entry.seen_us
            entry.longest_us = max(entry.longest_us, gap_us)
            if entry.cycle_us and gap_us > max(LATE * entry.cycle_us, entry.cycle_us + SLACK_US):
                entry.late += 1
        entry.count += 1
        entry.seen_us, entry.data = time_us, data
        if entry.message is not None and len(data) < entry.message.length:
            entry.wrong_length += 1
        if entry.receiver is not None:
            entry.verdict = entry.receiver.check(data)

    def snapshot(self, now_us: int) -> Snapshot:
        """Everything as it stands at now_us, the clock of the frames. Rates and load are those
        since the last snapshot."""
        views = [self._view(entry, now_us) for entry in self._sorted()]
        frames, at_us, busy_us = self._told
        span_s = 1e-6 * (now_us - (at_us or self.started_us))
        is_known = span_s > 0.0
        load = None
        if self.bitrate_bps and span_s >= LOAD_SPAN_S:
            load = min(1.0, 1e-6 * (self.busy_us - busy_us) / span_s)
        rate = (self.frames - frames) / span_s if is_known else 0.0
        self._told = (self.frames, float(now_us), self.busy_us)
        return Snapshot(
            frames=self.frames, frames_per_s=rate, load_frac=load, error_frames=self.error_frames,
            unknown_frames=self.unknown_frames, malformed=sum(v.malformed for v in views),
            late=sum(v.late for v in views), missing=tuple(v.name for v in views if v.missing),
            never_seen=self._never_seen(now_us), messages=tuple(views),
        )  # fmt: skip

    def _sorted(self) -> list[_Entry]:
        return sorted(self.entries.values(), key=lambda e: (e.key & EXTENDED, e.key))

    def _never_seen(self, now_us: int) -> tuple[str, ...]:
        waited_us = now_us - self.started_us
        return tuple(
            m.name
            for key, m in self.codec.by_identifier.items()
            if m.cycle_time and key not in self.entries and self.is_wanted(m.name, key)
            and waited_us > MISSING * 1000.0 * m.cycle_time + SLACK_US
        )  # fmt: skip

    def _view(self, entry: _Entry, now_us: int) -> MessageView:
        age_us = now_us - entry.seen_us
        count, at_us = entry.told
        span_s = 1e-6 * (now_us - (at_us or self.started_us))
        entry.told = (entry.count, float(now_us))
        found = self._values(entry)
        is_read = not isinstance(found, Malformed)
        errors = 0
        if entry.receiver is not None:
            errors = sum(n for status, n in entry.receiver.counts.items() if not status.is_usable)
        return MessageView(
            id=entry.key & ~EXTENDED, extended=bool(entry.key & EXTENDED),
            name=entry.message.name if entry.message else "",
            count=entry.count, rate_hz=(entry.count - count) / span_s if span_s > 0 else 0.0,
            cycle_ms=1e-3 * entry.cycle_us or None, late=entry.late,
            missing=bool(entry.cycle_us) and age_us > MISSING * entry.cycle_us + SLACK_US,
            age_ms=1e-3 * age_us, longest_gap_ms=1e-3 * entry.longest_us, data=entry.data.hex(),
            e2e=None if entry.verdict is None else entry.verdict.name.lower(), e2e_errors=errors,
            malformed=entry.wrong_length or int(entry.message is not None and not is_read),
            values={} if isinstance(found, Malformed) else dict(found),
            units=self._units(entry) if is_read else {},
        )  # fmt: skip

    def _values(self, entry: _Entry) -> Mapping[str, Value] | Malformed:
        if entry.message is None:
            return Malformed("not in the database")
        number, is_extended = entry.key & ~EXTENDED, bool(entry.key & EXTENDED)
        found: Mapping[str, Value] | Malformed = self.codec.decode(number, entry.data, is_extended)
        return found

    def _units(self, entry: _Entry) -> dict[str, str]:
        return {s.name: s.unit for s in entry.message.signals if s.unit}
