"""Writes a recording: the loop fills one batch of buffers while a thread writes the one before.

A batch is written when the next one has arrived: only then is it known whether an event within the
next two seconds asks for its cells at full rate. So what a kill -9 can lose is the batch being
filled and the one waiting, both bounded by how often `drain` is called: in virtual time 20 s of the
run, a few milliseconds of work; in real time call it twice a second.
"""

from __future__ import annotations

import fcntl
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bms._recorder import Recorder
from bms.errors import RecorderError
from bms.recorder import container
from bms.recorder.columns import Shape, rows_of
from bms.recorder.container import Event, Signal

BATCH_TICKS = 1000
BATCH_BYTES = 8 << 20  # a batch of a large pack has fewer rows
SYNC_S = 1.0  # the file is told to the disk this often (wall time)
FRAMES_PER_TICK, FRAME_BYTES = 40, 12  # room for both buses, full, with classic frames
UART_PER_TICK, UART_BYTES = 24, 64
# Of 58 pack signals at 100 Hz (18 of them at 10 Hz) and 6 vectors of 96 cells at 1 Hz, mostly
# noise: lz4 costs 0.8 us a tick and 63 MB an hour, zstd 1 2.2 us and 54 MB. A loop at 2500 times
# real time has 4 us for a tick.
COMPRESSION: tuple[str, int | None] = ("lz4", None)


class Writer:
    """Records `signals` into `path` until `close`.

    metadata: JSON-ready dict kept in the file (configuration, commit, seed, versions, hashes).
    cells_every_s: spacing of vector samples, at least 0.01 (every tick); 2 s before and after an
    event every tick is kept. frames, uart: also CAN frames and serial bytes. Raises RecorderError
    when the file cannot be made, is being written by somebody else, or the disk fails (by the next
    `drain` or by `close`).

    The loop calls `record_tick` on `address` and returns when that says full; then call `drain`.
    Tell an event to `event` at the latest before the second `drain` after it.
    """

    def __init__(
        self,
        path: str | Path,
        signals: Sequence[Signal],
        metadata: dict[str, Any],
        *,
        cells_every_s: float = 1.0,
        frames: bool = False,
        uart: bool = False,
        compression: tuple[str, int | None] = COMPRESSION,
    ) -> None:
        self.path = Path(path)
        self._shape = Shape(signals, cells_every_s, frames, uart)
        row_bytes = sum(s.source.size * 4 for s in signals) + 8
        ticks = max(16, min(BATCH_TICKS, BATCH_BYTES // row_bytes))
        self._recorder = Recorder(
            [(s.source, s.scale, s.offset) for s in signals],
            ticks,
            (ticks * FRAMES_PER_TICK, ticks * FRAMES_PER_TICK * FRAME_BYTES) if frames else (0, 0),
            (ticks * UART_PER_TICK, ticks * UART_PER_TICK * UART_BYTES) if uart else (0, 0),
        )
        self._spare: Recorder | None = None  # of a loop that waits for nobody
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(3):
            self._free.put(self._recorder.new_batch())
        self._work: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._events: list[Event] = []
        self._dropped: tuple[int, ...] = (0, 0, 0)
        self._error: BaseException | None = None
        self._closed = False
        self._file = ArrowFile(self.path, self._shape.schema(metadata), compression)
        self._thread = threading.Thread(target=self._write, name="bms-recorder", daemon=True)
        self._thread.start()

    @property
    def address(self) -> int:
        """Of the recorder_t, for the loop."""
        return int(self._recorder.address)

    @property
    def low_level(self) -> Recorder:
        """Its `tick`, `frame` and `line` record from Python."""
        return self._recorder

    def event(
        self,
        t_ns: int,
        kind: str,
        name: str,
        index: int = -1,
        value: float = float("nan"),
        text: str = "",
    ) -> None:
        """Something happened at `t_ns`; the cells round it are kept at full rate."""
        self._events.append(Event(int(t_ns), kind, name, int(index), float(value), text))

    def drain(self) -> None:
        """Hand what is in the batch to the file. Waits only if the file is two batches behind."""
        self._raise()
        rows, frames, pieces = self._recorder.filled()
        if rows == 0:
            return
        empty, full = self._free.get(), self._recorder.batch
        self._events += self._losses(int(full.t_ns[rows - 1]))
        events, self._events = self._events, []
        self._recorder.install(empty)
        self._work.put((full, rows, frames, pieces, events))
        self._raise()

    def exchange(self, swap: Callable[[int], None]) -> None:
        """`drain` for a loop that waits for nobody: `swap(address)` gives it an empty recorder_t
        and returns when it has let go of the one before, which is then handed to the file."""
        self._raise()
        spare, used = self._spare, self._recorder
        if spare is None:
            spare = Recorder(used.sources, used.ticks, used.frames, used.uart)
        swap(spare.address)
        self._recorder, self._spare = spare, used
        rows, frames, pieces = used.filled()
        if rows == 0:
            return
        full = used.batch
        self._events += self._losses(int(full.t_ns[rows - 1]))
        events, self._events = self._events, []
        used.install(self._free.get())
        self._work.put((full, rows, frames, pieces, events))
        self._raise()

    def close(self, summary: dict[str, Any] | None = None) -> None:
        """Write what is left, the summary and the footer. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._error is None:
                self.drain()
        finally:
            self._work.put((self._events, summary or {}))
            self._thread.join()
        self._raise()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _raise(self) -> None:
        if self._error is not None:
            raise RecorderError(
                f"{self.path}: cannot write the recording: {self._error}"
            ) from self._error

    def _losses(self, t_ns: int) -> list[Event]:
        mine, other = self._recorder.dropped(), self._spare.dropped() if self._spare else (0, 0, 0)
        before, self._dropped = self._dropped, tuple(a + b for a, b in zip(mine, other, strict=True))
        names = ("ticks_dropped", "frames_dropped", "uart_dropped")
        return [
            Event(t_ns, "recorder", name, -1, float(now - old), "no room in the recorder's buffer")
            for name, old, now in zip(names, before, self._dropped, strict=True)
            if now != old
        ]

    # ---- in the thread ----

    def _write(self) -> None:
        """Until the end is told. After a failure batches are only given back, so nobody waits."""
        waiting: Any = None
        events: list[Event] = []
        while True:
            item = self._work.get()
            at_end = len(item) == 2
            events += item[0] if at_end else item[4]
            if self._error is None:
                try:
                    events = self._step(waiting, events, item if at_end else None)
                except BaseException as error:
                    self._error = error
            if waiting is not None:
                self._free.put(waiting[0])
            if at_end:
                self._file.close()
                return
            waiting = item

    def _step(self, waiting: Any, events: list[Event], end: Any) -> list[Event]:
        """Write the waiting batch, and the end if told; the events that belong further on."""
        if waiting is not None:
            note = None if end is None else json.dumps(container.plain(end[1]))
            full, rows, frames, pieces, _ = waiting
            batch, events = rows_of(self._shape, full, rows, frames, pieces, events, note)
            self._file.write(batch)
        elif end is not None:
            self._file.write(self._shape.empty_row(events, json.dumps(container.plain(end[1]))))
        if end is not None:
            self._file.finish()
        return events


class _Sink:
    """What Arrow writes into. `emit` gives what was gathered to the kernel in one piece."""

    closed = False

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.position, self.pending = descriptor, 0, bytearray()

    def write(self, data: bytes) -> int:
        self.pending += data
        self.position += len(data)
        return len(data)

    def tell(self) -> int:
        return self.position

    def flush(self) -> None:
        """Nothing: what is pending waits for `emit`."""

    def close(self) -> None:
        """Nothing: the descriptor belongs to the file."""

    def emit(self) -> None:
        """Seal the messages that are pending and write everything out."""
        data = self.pending
        at = len(container.MAGIC) if data.startswith(container.MAGIC) else 0
        while size := container.message_size(memoryview(data), at):
            container.seal(data, at)
            at += size
        self.pending = bytearray()
        view = memoryview(data)
        while len(view):
            view = view[os.write(self.descriptor, view) :]


class ArrowFile:
    """An Arrow IPC file with sealed messages, under an exclusive lock."""

    def __init__(self, path: Path, schema: pa.Schema, compression: tuple[str, int | None]) -> None:
        codec = pa.Codec(compression[0], compression_level=compression[1])
        options = pa.ipc.IpcWriteOptions(compression=codec, use_threads=False)
        self.descriptor = _open_alone(path)
        self._sink = _Sink(self.descriptor)
        self._buffer = pa.BufferedOutputStream(pa.PythonFile(self._sink, "w"), 1 << 20)
        self._arrow = pa.ipc.new_file(self._buffer, schema, options=options)
        self._synced_s = time.monotonic()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch; once a second the disk is asked to have it."""
        self._arrow.write_batch(batch, custom_metadata=CHECK)
        self._emit()
        now_s = time.monotonic()
        if now_s - self._synced_s >= SYNC_S:
            os.fdatasync(self.descriptor)
            self._synced_s = now_s

    def finish(self) -> None:
        """End mark and footer."""
        self._arrow.close()
        self._emit()
        os.fdatasync(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)

    def _emit(self) -> None:
        self._buffer.flush()
        self._sink.emit()


CHECK = {container.CHECK_KEY: container.CHECK_EMPTY.decode()}


def _open_alone(path: Path) -> int:
    """An empty file that only this descriptor may write."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RecorderError(f"{path}: cannot make the recording: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
    except BlockingIOError:
        os.close(descriptor)
        raise RecorderError(f"{path}: is being written by another recorder") from None
    except OSError as error:
        os.close(descriptor)
        raise RecorderError(f"{path}: cannot make the recording: {error.strerror}") from error
    return descriptor
