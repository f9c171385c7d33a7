"""Reads recordings, whole or cut."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from bms.errors import RecorderError
from bms.recorder import container, directory, places
from bms.recorder.container import Event, Raster
from bms.recorder.overview import Overview, overview

DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError)
HINT = "`bms repair` keeps what is whole"


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """What a recording knows of a signal. count: values a sample. origin: where it is from. raster:
    how the integers of its column become values, None for values as they are."""

    name: str
    unit: str
    kind: str
    rate: str | float
    text: str
    count: int
    vector: bool
    origin: str = ""
    raster: Raster | None = None


class Frame(NamedTuple):
    """One CAN frame, or one piece of serial data (then `bus` is the line, id and flags are 0)."""

    t_ns: int
    bus: int
    direction: int
    id: int
    flags: int
    data: bytes


@dataclass(frozen=True)
class Frames:
    """Frames in order, as arrays of equal length; `frames[k]` is one of them."""

    t_ns: np.ndarray
    bus: np.ndarray
    direction: np.ndarray
    id: np.ndarray
    flags: np.ndarray
    data: pa.ChunkedArray

    def __len__(self) -> int:
        return int(self.t_ns.size)

    def __getitem__(self, k: int) -> Frame:
        columns = (self.t_ns, self.bus, self.direction, self.id, self.flags)
        t_ns, bus, direction, identifier, flags = (int(a[k]) for a in columns)
        return Frame(t_ns, bus, direction, identifier, flags, self.data[k].as_py())

    def __iter__(self) -> Iterator[Frame]:
        columns = (self.t_ns, self.bus, self.direction, self.id, self.flags)
        numbers = zip(*(a.tolist() for a in columns), strict=True)
        for (t_ns, bus, direction, identifier, flags), data in zip(numbers, self.data, strict=True):
            yield Frame(t_ns, bus, direction, identifier, flags, data.as_py())


class Recording:
    """A recording opened for reading; use `Recording.open`.

    `rec[name]`: values of a signal, shape (n,) or (n, count), in the order of `rec.time_s(name)`. A
    signal without samples gives an empty array; a name it does not have a RecorderError that
    suggests others. `read` and `overview` for parts and pictures of long ones, `batches` for
    everything in turn. `signals`, `meta`, `summary` ({} when cut), `events`, `frames`, `uart`.
    `is_complete` is False for a cut file, `lost_bytes` says what of it could not be read.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.layout = places.find(path, descriptor)
        self.is_complete = self.layout.is_complete
        self._verified = [not self.is_complete] * len(self.layout.places)
        size = os.fstat(descriptor).st_size
        self.lost_bytes = 0 if self.is_complete else size - self.layout.end + self.layout.tail_lost
        self.schema = _read_schema(path, self.layout.schema_message)
        self.meta: dict[str, Any] = _metadata(path, self.schema)
        self.signals = _signals(path, self.meta, self.schema)
        self._values: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.made_overviews: dict[str, directory.Overview] = {}
        self.descriptor = descriptor  # from here on it is ours to close

    @classmethod
    def open(cls, path: str | Path) -> Recording:
        """Open a file. RecorderError when it is not a recording or its very beginning is cut."""
        path = Path(path)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise RecorderError(f"{path}: cannot open the recording: {error.strerror}") from error
        try:
            return cls(path, descriptor)
        except BaseException as error:
            os.close(descriptor)
            if isinstance(error, DAMAGE):
                raise RecorderError(f"{path}: cannot read the recording: {error}") from error
            raise

    def close(self) -> None:
        """Give the files back; what was read stays."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        if self.layout.tail >= 0:
            os.close(self.layout.tail)
            self.layout.tail = -1

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "descriptor", -1) >= 0:
            self.close()

    # ---- signals ----

    def __contains__(self, name: object) -> bool:
        return name in self.signals

    def __getitem__(self, name: str) -> np.ndarray:
        self.load(name)
        return self._values[name][0]

    def time_s(self, name: str = "") -> np.ndarray:
        """Times of the samples of a signal; without a name, of all ticks. Shape (n,)."""
        if not name:
            return self.t_ns * 1e-9
        self.load(name)
        return self._values[name][1] * 1e-9

    @cached_property
    def t_ns(self) -> np.ndarray:
        """Times of all ticks, integer nanoseconds."""
        rows = [_numbers(batch.column(0)) for batch in self.batches(["t_ns"])]
        return np.concatenate(rows) if rows else np.zeros(0, np.int64)

    @property
    def duration_s(self) -> float:
        return float(self.t_ns[-1] - self.t_ns[0]) * 1e-9 if self.t_ns.size else 0.0

    def load(self, *names: str) -> None:
        """Read several signals in one pass over the file; `rec[name]` then costs nothing."""
        self._require(names)
        missing = [name for name in dict.fromkeys(names) if name not in self._values]
        if not missing:
            return
        for name, (values, times) in self._gather(
            missing, self.batches(["t_ns", *missing])
        ).items():
            is_every_tick = len(values) == self.t_ns.size  # then the times are kept only once
            self._values[name] = (values, self.t_ns if is_every_tick else times)

    def read(
        self, names: Sequence[str], t0_s: float = -np.inf, t1_s: float = np.inf
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Name -> (times in seconds, values) from t0_s to t1_s, both included. Reads only the
        batches of the span and keeps nothing: `rec[name]` is for what is wanted again."""
        self._require(names)
        found = self._gather(list(names), self.batches(["t_ns", *names], t0_s, t1_s))
        return {name: (t_ns * 1e-9, values) for name, (values, t_ns) in found.items()}

    def overview(
        self, name: str, t0_s: float = 0.0, t1_s: float | None = None, n: int = 1000
    ) -> Overview:
        """Least and most of a signal in at most `n` bins of the span, for pictures; of a vector,
        over all its elements. A day costs as much as a minute in a closed recording; in a cut one
        the first call reads the whole signal."""
        self._require([name])
        if t1_s is None:
            t1_s = self.span_s[1]
        return overview(self, name, t0_s, max(t0_s, t1_s), n)

    @property
    def span_s(self) -> tuple[float, float]:
        """Times of the first and last tick; (0, 0) when there is none."""
        spans = self._spans
        return (spans[0][0] * 1e-9, spans[-1][1] * 1e-9) if spans else (0.0, 0.0)

    def _require(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.signals:
                raise RecorderError(
                    f"{self.path}: no signal {name!r}{_similar(name, self.signals)}"
                )

    def _gather(
        self, names: list[str], batches: Iterator[pa.RecordBatch]
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Name -> (values, times in ns)."""
        parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in names}
        for batch in batches:
            t_ns = _numbers(batch.column("t_ns"))
            for name in names:
                parts[name].append(self._samples(name, batch.column(name), t_ns))
        for name, chunks in parts.items():
            if not chunks:
                info = self.signals[name]
                empty = np.zeros((0, info.count) if info.vector else 0, np.float32)
                chunks.append((empty, np.zeros(0, np.int64)))
        return {
            name: (np.concatenate([c[0] for c in chunks]), np.concatenate([c[1] for c in chunks]))
            for name, chunks in parts.items()
        }

    def _samples(
        self, name: str, column: pa.Array, t_ns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        info = self.signals[name]
        if column.null_count:
            t_ns = t_ns[column.is_valid().to_numpy(zero_copy_only=False)]
            column = column.drop_null()
        values = _numbers(column.flatten() if info.vector else column)
        if not info.vector:
            return values, t_ns
        if values.size != t_ns.size * info.count:
            raise RecorderError(f"{self.path}: {name}: samples of a wrong length; {HINT}")
        return values.reshape(t_ns.size, info.count), t_ns

    # ---- everything else ----

    @cached_property
    def events(self) -> list[Event]:
        """What happened, in the order of the file."""
        found: list[Event] = []
        for batch in self.batches(["events"]):
            for row in batch.column("events").flatten().to_pylist():
                found.append(Event(**row))
        return found

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The run's figures, told at its end; {} for a cut file."""
        for batch in self.batches_of(range(self.batch_count)[-1:], ["note"]):
            notes = batch.column("note").drop_null()
            if len(notes):
                note = json.loads(notes[-1].as_py())
                return note if isinstance(note, dict) else {}
        return {}

    @cached_property
    def frames(self) -> Frames:
        """CAN frames; empty unless they were recorded."""
        return self._log("frames", "bus")

    @cached_property
    def uart(self) -> Frames:
        """Pieces of serial data; empty unless they were recorded."""
        return self._log("uart", "line")

    def _log(self, column: str, bus: str) -> Frames:
        kind = container.FRAMES if column == "frames" else container.UART
        batches = self.batches([column]) if column in self.schema.names else iter(())
        chunks = [batch.column(column).flatten() for batch in batches]
        struct = pa.chunked_array(chunks, kind.value_type).combine_chunks()
        if isinstance(struct, pa.ChunkedArray):
            struct = (
                pa.concat_arrays(struct.chunks)
                if struct.num_chunks
                else pa.array([], kind.value_type)
            )
        zeros = np.zeros(len(struct), np.uint32)
        t_ns, buses, directions = (_numbers(struct.field(n)) for n in ("t_ns", bus, "direction"))
        identifiers, flags = (
            _numbers(struct.field(n)) if column == "frames" else zeros for n in ("id", "flags")
        )
        data = pa.chunked_array([struct.field("data")])
        return Frames(t_ns, buses, directions, identifiers, flags, data)

    def firmware_steps(self) -> Iterator[bytes]:
        """What the firmware was given and answered (ext/recorder/steps.h), a batch at a time;
        nothing unless it was recorded."""
        for batch in self.batches(["ecu"]) if "ecu" in self.schema.names else ():
            column = batch.column("ecu").drop_null()
            yield b"".join(row.as_py() for row in column)

    def batches(
        self, names: Sequence[str], t0_s: float = -np.inf, t1_s: float = np.inf
    ) -> Iterator[pa.RecordBatch]:
        """The named columns of every batch, one batch in memory at a time; only rows from t0_s to
        t1_s. Signals are in their unit, also where the file has numbers of steps."""
        chosen = range(self.batch_count)
        if t0_s == -np.inf and t1_s == np.inf:
            yield from self.batches_of(chosen, names)
            return
        first, last = max(t0_s, -9e9) * 1e9 - 0.5, min(t1_s, 9e9) * 1e9 + 0.5
        near = [k for k in chosen if self._spans[k][1] >= first and self._spans[k][0] <= last]
        has_times = "t_ns" in names
        for batch in self.batches_of(near, names if has_times else ["t_ns", *names]):
            begin, end = np.searchsorted(_numbers(batch.column("t_ns")), (first, last))
            cut = batch.slice(begin, end - begin)
            yield cut if has_times else cut.select(list(names))

    def batches_of(
        self, numbers: Iterable[int], names: Sequence[str] = (), *, raw: bool = False
    ) -> Iterator[pa.RecordBatch]:
        """Batches by their number; no names: all columns. raw: as the file has them."""
        scaled = [n for n in names or self.signals if n in self.signals and self.signals[n].raster]
        for batch in self._decode(names or self.schema.names, numbers):
            for name in scaled if not raw else ():
                column = _in_unit(batch.column(name), self.signals[name])
                at = batch.schema.get_field_index(name)
                batch = batch.set_column(at, pa.field(name, column.type), column)
            yield batch

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        """First and last time of each batch."""
        if self.layout.spans:
            return self.layout.spans
        rows = [_numbers(batch.column(0)) for batch in self.batches(["t_ns"])]
        return [(int(r[0]), int(r[-1])) for r in rows]

    def _decode(self, names: Sequence[str], numbers: Iterable[int]) -> Iterator[pa.RecordBatch]:
        fields = [self.schema.get_field_index(name) for name in names]
        if min(fields) < 0:
            raise RecorderError(f"{self.path}: the file has no column {names[fields.index(-1)]}")
        options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        for k in numbers:
            place, message = self.layout.places[k], self._message(k)
            try:
                source = pa.py_buffer(self.layout.schema_message + message)
                batch = pa.ipc.open_stream(source, options=options).read_next_batch()
                batch.validate(full=True)
            except (*DAMAGE, MemoryError, StopIteration) as error:
                raise RecorderError(
                    f"{self.path}: batch {k} cannot be read: {error}; {HINT}"
                ) from error
            yield batch.slice(place.skip) if place.skip else batch

    def _message(self, k: int) -> bytes:
        """Message k of the file, checked when read first."""
        place = self.layout.places[k]
        source = self.layout.tail if place.in_tail else self.descriptor
        message = os.pread(source, place.size, place.start)
        if not self._verified[k]:
            if len(message) != place.size or not container.is_sealed(memoryview(message)):
                raise RecorderError(f"{self.path}: batch {k} is damaged; {HINT}")
            self._verified[k] = True
        return message

    def is_whole(self, k: int) -> bool:
        """Whether batch k passes its check."""
        try:
            self._message(k)
        except RecorderError:
            return False
        return True

    @property
    def batch_count(self) -> int:
        return len(self.layout.places)


def _read_schema(path: Path, message: bytes) -> pa.Schema:
    schema = pa.ipc.read_schema(pa.py_buffer(message))
    for name, kind in (("t_ns", pa.int64()), ("events", container.EVENTS), ("note", pa.string())):
        if name not in schema.names or schema.field(name).type != kind:
            raise RecorderError(
                f"{path}: is not a recording: column {name} is missing or of another type"
            )
    return schema


def _metadata(path: Path, schema: pa.Schema) -> dict[str, Any]:
    meta = json.loads((schema.metadata or {}).get(b"bms", b"null"))
    if not isinstance(meta, dict):
        raise RecorderError(f"{path}: is an Arrow file, but not a recording")
    if meta.get("format") not in container.READABLE:
        known = " and ".join(map(str, container.READABLE))
        raise RecorderError(
            f"{path}: recording format {meta.get('format')}; this version reads {known}"
        )
    return meta


def _signals(path: Path, meta: dict[str, Any], schema: pa.Schema) -> dict[str, SignalInfo]:
    signals = {}
    for entry in meta["signals"]:
        name, step = entry["name"], float(entry.pop("scale", 1.0))
        offset, raster = float(entry.pop("offset", 0.0)), None
        if name not in schema.names:
            raise RecorderError(f"{path}: signal {name} has no column")
        if step != 1.0 or offset != 0.0:
            kind = schema.field(name).type
            kind = kind.value_type if entry["vector"] else kind
            width = {pa.int16(): "i2", pa.int32(): "i4"}.get(kind)
            if width is None or not np.isfinite(step) or not np.isfinite(offset):
                raise RecorderError(f"{path}: signal {name} has a raster it cannot have")
            raster = Raster(step, offset, width)
        signals[name] = SignalInfo(**entry, raster=raster)
    return signals


def _numbers(column: pa.Array) -> np.ndarray:
    array: np.ndarray = column.to_numpy(zero_copy_only=False)
    return array


def _in_unit(column: pa.Array, info: SignalInfo) -> pa.Array:
    """A column of numbers of steps as float32, not-a-number where there is none; nulls stay."""
    raster = info.raster
    assert raster is not None
    mask = column.is_null() if column.null_count else None
    flat = column.flatten() if info.vector else column.fill_null(0)
    numbers = _numbers(flat)
    values = (numbers * raster.step + raster.offset).astype(np.float32)
    values[numbers == raster.missing] = np.nan
    if not info.vector:
        return pa.array(values, mask=None if mask is None else _numbers(mask))
    lengths = column.value_lengths().fill_null(0)
    ends = np.concatenate((np.zeros(1, np.int32), np.cumsum(_numbers(lengths), dtype=np.int32)))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values), mask=mask)


def _similar(name: str, names: dict[str, SignalInfo]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, names, 3)
    return f"; did you mean {', '.join(close)}?" if close else ""
