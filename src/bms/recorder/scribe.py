"""The thread behind a Writer: pieces into messages, messages into the file and its tail."""

from __future__ import annotations

import json
import queue
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from bms.errors import RecorderError
from bms.recorder import container
from bms.recorder.columns import Piece, Shape, dense_rows, rows_of
from bms.recorder.container import Event
from bms.recorder.disk import Disk
from bms.recorder.file import Encoder, RecordingFile
from bms.recorder.pyramid import Column, Pyramid
from bms.recorder.tail import Tail

SYNC_S = 1.0  # the file is told to the disk this often (wall time)
WAIT_S = 0.1  # rows that wait longer for their batch go into the tail
HELD = 8  # messages kept for a disk that takes none
LAST_TRIES = 3  # at the end, when there is no next batch to try again with


class Scribe:
    """Owns the files. `written_ns`, `tail_ns`, `synced_ns`, `trouble`, `failed` may be read from
    any thread; everything else belongs to `run`."""

    def __init__(
        self,
        path: Path,
        shape: Shape,
        schema: pa.Schema,
        ticks: int,
        codec: tuple[str, int | None],
        disk: Disk,
        free: queue.SimpleQueue[Any],
    ) -> None:
        self.path, self.shape, self.ticks, self.disk, self.free = path, shape, ticks, disk, free
        self.written_ns = self.tail_ns = self.synced_ns = -1
        self.trouble = ""
        self.failed: str | None = None
        self.error: BaseException | None = None
        self._lost_rows = self._told_rows = 0
        self._tail_from_ns = -1  # what the file had when the tail began
        self._sync_failed = False
        self._encoder = Encoder(schema, codec)
        self._file = RecordingFile(path, self._encoder.schema_message, disk)
        self._tail = Tail(path, schema, self._encoder.schema_message, disk)
        try:
            self._tail.remove()  # of a recording that was here before and is now given up
            self._file.begin()
        except OSError as error:
            self._file.close()
            raise RecorderError(f"{path}: cannot make the recording: {error.strerror}") from error
        columns = [Column(s.name, s.source.size, s.is_vector, s.raster) for s in shape.signals]
        self._pyramid: Pyramid | None = Pyramid(columns, path.parent)
        self._events: list[Event] = []
        self._waiting: Piece | None = None  # until it is known what happens after it
        self._joined: list[pa.RecordBatch] = []  # small ones, until they make a message
        self._held: list[tuple[memoryview, pa.RecordBatch]] = []  # that the disk did not take
        self._synced_s = time.monotonic()

    def run(self, work: queue.SimpleQueue[Any]) -> None:
        """Until the end is told."""
        while True:
            is_idle = not self._is_behind() and not self._is_unsynced()
            try:
                item = work.get(timeout=None if is_idle else WAIT_S)
            except queue.Empty:
                self._guarded(self._save)
                self._guarded(self._sync_in_time)
                continue
            if isinstance(item, Piece):
                self._guarded(self._take, item)
            elif isinstance(item, threading.Event):
                self._guarded(self._save)
                self._guarded(self._sync)
                item.set()
            else:
                self._guarded(self._end, *item)
                self._file.close()
                return

    def _guarded(self, work: Any, *arguments: Any) -> None:
        """Whatever goes wrong, the thread lives on, so that nobody waits for it."""
        try:
            work(*arguments)
        except BaseException as error:
            self._fail(f"cannot write the recording: {error}", error)

    def _fail(self, text: str, error: BaseException | None = None) -> None:
        self.trouble = text
        if self.failed is None:
            self.failed, self.error = text, error

    def lost(self, rows: int, why: str) -> None:
        """Rows that are in no file and never will be."""
        self._lost_rows += rows
        text = f"cannot write the recording: {self._lost_rows} ticks were lost: {why}"
        self.trouble = self.failed = text

    # ---- pieces ----

    def _take(self, piece: Piece) -> None:
        self._events += piece.events
        before, self._waiting = self._waiting, piece
        if before is not None:
            try:
                self._finish_piece(before, None)
            finally:
                self.free.put(before.batch)

    def _finish_piece(self, piece: Piece, note: str | None) -> None:
        """A piece whose cells are decided goes into a message, now or with the next ones."""
        batch, self._events = rows_of(self.shape, piece, self._events, note)
        is_large = 2 * piece.rows >= self.ticks
        if is_large and not self._joined:
            self._write(batch)
            return
        self._joined.append(_copy(batch))  # its buffers are filled anew soon
        if note is not None or sum(b.num_rows for b in self._joined) >= self.ticks:
            joined, self._joined = self._joined, []
            self._write(pa.concat_batches(joined))

    def _end(self, events: list[Event], summary: dict[str, Any]) -> None:
        self._events += events
        if self._lost_rows:
            summary = {**summary, "recording_lost_ticks": self._lost_rows}
        note, piece = json.dumps(container.plain(summary)), self._waiting
        self._waiting = None
        if piece is not None:
            self._finish_piece(piece, note)
        else:
            self._write(self.shape.empty_row(self._events, note))
        for _ in range(LAST_TRIES):
            if self._held:
                self._empty_held()
        if self._held and _end_ns(self._held[-1][1]) <= self.tail_ns:
            self._fail(f"the recording has no end ({self.trouble}): `bms repair` gives it one")
            return  # its tail has the rest and stays
        if self._held:
            self.lost(sum(b.num_rows for _, b in self._held), self.trouble)
            self._held = []
        try:
            self._file.finish(self._pyramid.finish() if self._pyramid else None)
            self.synced_ns = self.written_ns
            self._tail.remove()
        except OSError as error:
            self._fail(f"the recording has no end ({error}): `bms repair` gives it one", error)

    # ---- the file ----

    def _write(self, batch: pa.RecordBatch) -> None:
        """A message to the file, after those it did not take before."""
        self._held.append((self._encoder.message(batch), batch))
        self._empty_held()

    def _empty_held(self) -> None:
        """Write what is held, as far as the disk takes it."""
        messages, self._held = self._held, []
        for k, (message, rows) in enumerate(messages):
            try:
                self._file.append(message, rows)
            except OSError as error:
                self._declare(f"cannot write the recording: {error}")
                self._hold(messages[k:])
                return
            self.written_ns = self._file.blocks[-1].last_ns
            self._fold(rows)
        self._recovered()
        self._sync_in_time()

    def _hold(self, messages: list[tuple[memoryview, pa.RecordBatch]]) -> None:
        """Keep what the disk did not take, as much as there is room for."""
        if len(messages) > HELD:
            self.lost(messages.pop()[1].num_rows, self.trouble)
        else:  # its buffers are about to be filled anew
            messages[-1] = (messages[-1][0], _copy(messages[-1][1]))
        self._held = messages

    def _recovered(self) -> None:
        """The disk takes everything again: say in the recording what is missing."""
        if self._lost_rows > self._told_rows:
            lost, self._told_rows = self._lost_rows - self._told_rows, self._lost_rows
            text = "the disk took nothing"
            self._events.append(
                Event(self.written_ns, "recorder", "ticks_lost", -1, float(lost), text)
            )
        elif self.trouble and not self._sync_failed and not self._lost_rows:
            self.trouble = ""

    def _declare(self, text: str) -> None:
        if not self.trouble:
            self._events.append(
                Event(max(0, self.written_ns), "recorder", "write_failed", -1, float("nan"), text)
            )
        if not self._lost_rows:
            self.trouble = text

    def _fold(self, batch: pa.RecordBatch) -> None:
        if self._pyramid is None:
            return
        try:
            self._pyramid.add(batch)
        except OSError:
            self._pyramid = None  # a recording without an overview; readers make their own

    def _is_unsynced(self) -> bool:
        return self.synced_ns < self.written_ns and not self._sync_failed

    def _sync_in_time(self) -> None:
        if time.monotonic() - self._synced_s >= SYNC_S:
            self._sync()

    def _sync(self) -> None:
        """After a failure the kernel may have given the pages up, so nothing is promised for what
        was written since the last success, nor later."""
        written_ns, self._synced_s = self.written_ns, time.monotonic()
        if self._sync_failed:
            return
        try:
            self._file.sync()
            self.synced_ns = written_ns
        except OSError as error:
            self._sync_failed = True
            self._declare(f"a power cut would cost what is written from now on: {error}")

    # ---- the tail ----

    def _last_ns(self) -> int:
        if self._waiting is not None:
            return self._waiting.last_ns
        batch = self._joined[-1] if self._joined else self._held[-1][1] if self._held else None
        return -1 if batch is None else _end_ns(batch)

    def _is_behind(self) -> bool:
        return self._last_ns() > max(self.written_ns, self.tail_ns)

    def _save(self) -> None:
        """Put into the tail what is in no file yet."""
        if not self._is_behind():
            return
        if self.written_ns > self._tail_from_ns:
            self._sync()  # then what the tail has is in the file for certain, and it can be left
        is_fresh = not self._tail.is_open or (
            self.written_ns > self._tail_from_ns and not self._sync_failed
        )
        known_ns = self.written_ns if is_fresh else max(self.written_ns, self.tail_ns)
        rows = [b for b in (*(b for _, b in self._held), *self._joined) if _end_ns(b) > known_ns]
        if self._waiting is not None and self._waiting.last_ns > known_ns:
            rows.append(dense_rows(self.shape, self._waiting, self._events))
        try:
            if is_fresh:
                self._tail.restart(rows)
                self._tail_from_ns = self.written_ns
            else:
                self._tail.append(rows)
            self.tail_ns = _end_ns(rows[-1])
        except (OSError, RecorderError) as error:
            self._declare(f"cannot write the recording's tail: {error}")


def _end_ns(batch: pa.RecordBatch) -> int:
    return int(batch.column(0)[batch.num_rows - 1].as_py())


def _copy(batch: pa.RecordBatch) -> pa.RecordBatch:
    """In memory of its own."""
    return pa.ipc.read_record_batch(batch.serialize(), batch.schema)
