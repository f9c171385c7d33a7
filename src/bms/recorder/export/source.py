"""What an exporter reads: chosen signals, events and frames of a span, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bms.errors import ConfigError
from bms.recorder import Event, Frames, Recording, logs
from bms.recorder.reader import SignalInfo

ROWS = 20_000  # of a batch as an exporter sees it: what is written at once


@dataclass(frozen=True)
class Source:
    """Signals and frames to export.

    `rows(names)`: batches with the column t_ns and the named ones. `frames()`: batches of frames,
    empty when none were recorded. Times are nanoseconds since the recording's zero, which was
    `start_unix_ns` (0 when nobody knows: simulated time has no date).
    """

    name: str
    signals: tuple[SignalInfo, ...]
    rows: Callable[[Sequence[str]], Iterator[pa.RecordBatch]]
    frames: Callable[[], Iterator[Frames]]
    meta: dict[str, Any] = field(default_factory=dict)
    start_unix_ns: int = 0

    @classmethod
    def of(
        cls,
        recording: Recording,
        patterns: Sequence[str] = (),
        from_s: float | None = None,
        to_s: float | None = None,
    ) -> Source:
        """Part of a recording; ConfigError for a signal it does not have."""
        span = Span.of(from_s, to_s)
        has_frames = "frames" in recording.schema.names

        def rows(names: Sequence[str]) -> Iterator[pa.RecordBatch]:
            columns = list(dict.fromkeys(("t_ns", *names)))
            for batch in recording.batches(columns, span.first_s, span.last_s):
                cut = span.cut(batch)
                for at in range(0, cut.num_rows, ROWS):
                    yield cut.slice(at, ROWS)

        def frames() -> Iterator[Frames]:
            for batch in recording.batches(["frames"]) if has_frames else ():
                found = span.frames(unpack(batch.column("frames")))
                if len(found):
                    yield found

        return cls(
            recording.path.name, tuple(choose(recording, patterns)), rows, frames, recording.meta,
            int(recording.meta.get("start_unix_ns") or 0),
        )  # fmt: skip

    @classmethod
    def of_log(cls, path: Path, from_s: float | None = None, to_s: float | None = None) -> Source:
        """The frames of a bus log."""
        span, log = Span.of(from_s, to_s), logs.open_log(path)
        for _first in log:  # only then is known when it began
            break

        def frames() -> Iterator[Frames]:
            for chunk in log.chunks():
                found = span.frames(chunk)
                if len(found):
                    yield found

        return cls(path.name, (), lambda _: iter(()), frames, {}, log.start_unix_ns)

    def events(self) -> Iterator[Event]:
        """What happened in the span."""
        for batch in self.rows(["events"]) if self.signals else ():
            for row in batch.column("events").flatten().to_pylist():
                yield Event(**row)


@dataclass(frozen=True)
class Span:
    """From and to, nanoseconds, both included."""

    first_ns: int
    last_ns: int

    @classmethod
    def of(cls, from_s: float | None, to_s: float | None) -> Span:
        """ConfigError when the span is empty."""
        first = -(2**62) if from_s is None else round(from_s * 1e9)
        last = 2**62 if to_s is None else round(to_s * 1e9)
        if first > last:
            raise ConfigError("option", "--to-s", to_s, f"a time after --from-s {from_s:g}")
        return cls(first, last)

    @property
    def first_s(self) -> float:
        """The same in seconds, a little earlier."""
        return self.first_ns * 1e-9 - 1e-6

    @property
    def last_s(self) -> float:
        """The same in seconds, a little later."""
        return self.last_ns * 1e-9 + 1e-6

    def cut(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows inside."""
        t_ns = batch.column("t_ns").to_numpy()
        first, last = np.searchsorted(t_ns, (self.first_ns, self.last_ns + 1))
        return batch.slice(first, last - first)

    def frames(self, frames: Frames) -> Frames:
        """The frames inside."""
        inside = (frames.t_ns >= self.first_ns) & (frames.t_ns <= self.last_ns)
        if inside.all():
            return frames
        return Frames(
            frames.t_ns[inside], frames.bus[inside], frames.direction[inside], frames.id[inside],
            frames.flags[inside], frames.data.filter(pa.array(inside)),
        )  # fmt: skip


def choose(recording: Recording, patterns: Sequence[str]) -> Iterator[SignalInfo]:
    """Signals by name or pattern, in the order of the recording."""
    from difflib import get_close_matches

    for pattern in patterns:
        if not any(fits(name, pattern) for name in recording.signals):
            close = get_close_matches(pattern, recording.signals, 3)
            told = f" such as {', '.join(close)}" if close else "; `bms info --signals` lists them"
            raise ConfigError(
                "option", "--signals", pattern, f"a signal of {recording.path.name}{told}"
            )
    for name, info in recording.signals.items():
        if not patterns or any(fits(name, pattern) for pattern in patterns):
            yield info


def fits(name: str, pattern: str) -> bool:
    """Whether a name is meant: itself, or by a pattern with *, ? or [...]."""
    return name == pattern or fnmatchcase(name, pattern)


def unpack(column: pa.ListArray) -> Frames:
    """The frames in a list column, as arrays."""
    struct = column.flatten()
    t_ns, bus, direction, identifier, flags = (
        struct.field(name).to_numpy(zero_copy_only=False)
        for name in ("t_ns", "bus", "direction", "id", "flags")
    )
    return Frames(t_ns, bus, direction, identifier, flags, pa.chunked_array([struct.field("data")]))


def payloads(frames: Frames, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """(lengths (n,), bytes (n, width)) of the frames' data, padded with zeros."""
    data = frames.data.combine_chunks()
    if isinstance(data, pa.ChunkedArray):
        data = data.chunk(0) if data.num_chunks else pa.array([], pa.binary())
    offsets = np.frombuffer(data.buffers()[1], np.int32)[data.offset :][: len(data) + 1]
    if not len(data):
        return np.zeros(0, np.uint8), np.zeros((0, width), np.uint8)
    lengths = np.minimum(np.diff(offsets), width)
    matrix = np.zeros((len(data), width), np.uint8)
    raw = data.buffers()[2]
    if raw is None:
        return lengths.astype(np.uint8), matrix
    values = np.frombuffer(raw, np.uint8)
    rows = np.repeat(np.arange(len(data)), lengths)
    within = np.arange(rows.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    matrix[rows, within] = values[offsets[:-1][rows] + within]
    return lengths.astype(np.uint8), matrix


def samples(column: pa.Array, t_ns: np.ndarray, info: SignalInfo) -> tuple[np.ndarray, np.ndarray]:
    """(times, values) of a signal's samples in a batch; values (n,) or (n, count)."""
    if column.null_count:
        t_ns = t_ns[column.is_valid().to_numpy(zero_copy_only=False)]
        column = column.drop_null()
    if not info.vector:
        return t_ns, column.to_numpy(zero_copy_only=False)
    return t_ns, column.flatten().to_numpy(zero_copy_only=False).reshape(t_ns.size, info.count)


def columns_of(info: SignalInfo) -> list[str]:
    """Names of a signal's columns in a flat table: name, or name[0], name[1] ..."""
    return [f"{info.name}[{k}]" for k in range(info.count)] if info.vector else [info.name]
