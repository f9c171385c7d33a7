"""Reads recordings, whole or cut, and repairs them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from bms.errors import RecorderError
from bms.recorder import container
from bms.recorder.container import Event

DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError)
HINT = "`bms repair` keeps what is whole"


@dataclass(frozen=True, slots=True)
class SignalInfo:
    """What a recording knows of a signal. count: values a sample."""

    name: str
    unit: str
    kind: str
    rate: str | float
    text: str
    count: int
    vector: bool


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


class Place(NamedTuple):
    """Where a message lies in the file."""

    start: int
    size: int


class Recording:
    """A recording opened for reading; use `Recording.open`.

    `rec[name]`: values of a signal, shape (n,) or (n, count), in the order of `rec.time_s(name)`. A
    signal without samples gives an empty array; a name it does not have a RecorderError that
    suggests others. `signals`, `meta`, `summary` ({} when cut), `events`, `frames`, `uart`.
    `is_complete` is False for a cut file, `lost_bytes` says what of it could not be read.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._schema_message, self._messages, self.is_complete, end = _walk(path, descriptor)
        self._verified = [not self.is_complete] * len(self._messages)
        self.lost_bytes = 0 if self.is_complete else os.fstat(descriptor).st_size - end
        self.schema = _read_schema(path, self._schema_message)
        self.meta: dict[str, Any] = _metadata(path, self.schema)
        self.signals = _signals(path, self.meta, self.schema)
        self._values: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._descriptor = descriptor  # from here on it is ours to close

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
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
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
        rows = [_numbers(batch.column(0)) for batch in self._batches(["t_ns"])]
        return np.concatenate(rows) if rows else np.zeros(0, np.int64)

    @property
    def duration_s(self) -> float:
        return float(self.t_ns[-1] - self.t_ns[0]) * 1e-9 if self.t_ns.size else 0.0

    def load(self, *names: str) -> None:
        """Read several signals in one pass over the file; `rec[name]` then costs nothing."""
        for name in names:
            if name not in self.signals:
                raise RecorderError(
                    f"{self.path}: no signal {name!r}{_similar(name, self.signals)}"
                )
        missing = [name for name in dict.fromkeys(names) if name not in self._values]
        if not missing:
            return
        parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in missing}
        for batch in self._batches(["t_ns", *missing]):
            t_ns = _numbers(batch.column("t_ns"))
            for name in missing:
                parts[name].append(self._samples(name, batch.column(name), t_ns))
        for name, chunks in parts.items():
            if not chunks:
                info = self.signals[name]
                empty = np.zeros((0, info.count) if info.vector else 0, np.float32)
                chunks = [(empty, np.zeros(0, np.int64))]
            values = np.concatenate([c[0] for c in chunks])
            is_every_tick = len(values) == self.t_ns.size  # then the times are kept only once
            times = self.t_ns if is_every_tick else np.concatenate([c[1] for c in chunks])
            self._values[name] = (values, times)

    def _samples(
        self, name: str, column: pa.Array, t_ns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        info = self.signals[name]
        if column.null_count:
            t_ns = t_ns[column.is_valid().to_numpy(zero_copy_only=False)]
            column = column.drop_null()
        if not info.vector:
            return _numbers(column), t_ns
        values = _numbers(column.flatten())
        if values.size != t_ns.size * info.count:
            raise RecorderError(f"{self.path}: {name}: samples of a wrong length; {HINT}")
        return values.reshape(t_ns.size, info.count), t_ns

    # ---- everything else ----

    @cached_property
    def events(self) -> list[Event]:
        """What happened, in the order of the file."""
        found: list[Event] = []
        for batch in self._batches(["events"]):
            for row in batch.column("events").flatten().to_pylist():
                found.append(Event(**row))
        return found

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The run's figures, told at its end; {} for a cut file."""
        for batch in self._batches(["note"], last_only=True):
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
        batches = self._batches([column]) if column in self.schema.names else iter(())
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

    def _batches(self, names: list[str], last_only: bool = False) -> Iterator[pa.RecordBatch]:
        """The named columns of every batch, one batch in memory at a time."""
        fields = [self.schema.get_field_index(name) for name in names]
        if min(fields) < 0:
            raise RecorderError(f"{self.path}: the file has no column {names[fields.index(-1)]}")
        options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        numbers = range(len(self._messages))
        for k in numbers[-1:] if last_only else numbers:
            message = self._message(k)
            try:
                source = pa.py_buffer(self._schema_message + message)
                batch = pa.ipc.open_stream(source, options=options).read_next_batch()
                batch.validate(full=True)
            except (*DAMAGE, MemoryError, StopIteration) as error:
                raise RecorderError(
                    f"{self.path}: batch {k} cannot be read: {error}; {HINT}"
                ) from error
            yield batch

    def _message(self, k: int) -> bytes:
        """Message k of the file, checked when read first."""
        place = self._messages[k]
        message = os.pread(self._descriptor, place.size, place.start)
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
        return len(self._messages)


def repair(path: str | Path) -> tuple[int, int]:
    """Make a cut or damaged recording whole again, in place: (batches kept, bytes lost).

    A whole one is left as it is. The new file is written beside it and then takes its name, so an
    interruption leaves the old one. Raises RecorderError when nothing can be kept or when the file
    is still being written.
    """
    from bms.recorder.writer import COMPRESSION, ArrowFile

    path = Path(path)
    with Recording.open(path) as rec:
        try:
            fcntl.flock(rec._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            raise RecorderError(f"{path}: is being written by another recorder") from None
        keep = [k for k in range(rec.batch_count) if rec.is_whole(k)]
        lost = rec.lost_bytes + sum(
            m.size for k, m in enumerate(rec._messages) if k not in set(keep)
        )
        if rec.is_complete and len(keep) == rec.batch_count:
            return len(keep), 0
        new = path.with_name(path.name + ".repaired")
        unsealed = {**rec.schema.metadata, container.CHECK_KEY.encode(): container.CHECK_EMPTY}
        file = ArrowFile(new, rec.schema.with_metadata(unsealed), COMPRESSION)
        try:
            for k in keep:
                source = pa.py_buffer(rec._schema_message + rec._message(k))
                file.write(pa.ipc.open_stream(source).read_next_batch())
            file.finish()
            os.replace(new, path)
        except (OSError, pa.ArrowException) as error:
            new.unlink(missing_ok=True)
            raise RecorderError(f"{path}: cannot repair: {error}") from error
        finally:
            file.close()
    return len(keep), lost


def _walk(path: Path, descriptor: int) -> tuple[bytes, list[Place], bool, int]:
    """(schema message, places of the batches, whether the file was closed, end of the last).

    A closed file is walked by the heads of its messages; of a cut one every message is checked, and
    the first that fails ends it.
    """
    size = os.fstat(descriptor).st_size
    at = len(container.MAGIC)
    if os.pread(descriptor, at, 0) != container.MAGIC:
        raise RecorderError(f"{path}: is not a recording")
    head = _size_at(descriptor, at, size)
    schema_message = os.pread(descriptor, head, at)
    if head == 0 or not container.is_sealed(memoryview(schema_message)):
        raise RecorderError(f"{path}: is not a recording, or was cut before its first batch")
    first = at = at + head
    places = []
    while length := _size_at(descriptor, at, size):
        places.append(Place(at, length))
        at += length
    if _is_closed(descriptor, at, size):
        return schema_message, places, True, at
    whole = []
    at = first
    for place in places:
        if not container.is_sealed(memoryview(os.pread(descriptor, place.size, place.start))):
            break
        whole.append(place)
        at = place.start + place.size
    return schema_message, whole, False, at


def _size_at(descriptor: int, at: int, file_size: int) -> int:
    """Size of the message at a place in the file, 0 if there is no whole one."""
    head = os.pread(descriptor, 8, at)
    if len(head) < 8:
        return 0
    length = int.from_bytes(head[4:], "little")
    if length > container.METADATA_MAX:
        return 0
    head += os.pread(descriptor, length, at + 8)
    return container.message_size(memoryview(head), 0, file_size - at)


def _is_closed(descriptor: int, at: int, size: int) -> bool:
    """Whether the end mark and a footer of the right length follow, and nothing else."""
    tail = os.pread(descriptor, 10, max(0, size - 10))
    footer = int.from_bytes(tail[:4], "little")
    end = os.pread(descriptor, 8, at)
    return end == container.END and tail[4:] == b"ARROW1" and at + 8 + footer + 10 == size


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
    if meta.get("format") != container.FORMAT:
        raise RecorderError(
            f"{path}: recording format {meta.get('format')}; this version reads {container.FORMAT}"
        )
    return meta


def _signals(path: Path, meta: dict[str, Any], schema: pa.Schema) -> dict[str, SignalInfo]:
    signals = {}
    for entry in meta["signals"]:
        info = SignalInfo(**entry)
        if info.name not in schema.names:
            raise RecorderError(f"{path}: signal {info.name} has no column")
        signals[info.name] = info
    return signals


def _numbers(column: pa.Array) -> np.ndarray:
    array: np.ndarray = column.to_numpy(zero_copy_only=False)
    return array


def _similar(name: str, names: dict[str, SignalInfo]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, names, 3)
    return f"; did you mean {', '.join(close)}?" if close else ""
