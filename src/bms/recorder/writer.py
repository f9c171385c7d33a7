"""Writes a recording: the loop fills one batch of buffers while a thread writes the one before.

A batch is written when the next one has arrived: only then is it known whether an event within the
next two seconds asks for its cells at full rate. Small batches, as real time gives them, are joined
until a message presses well; meanwhile, and while nothing comes, the tail has them (tail.py).

What is promised
    `acknowledged_ns`  rows up to here survive the end of this process (kill -9)
    `synced_ns`        rows up to here survive a power cut
    Both follow the last `drain` or `exchange` within 0.1 s when rows come slowly, and within 1 s
    (two batches) when they come fast; `flush` waits until both have everything that was drained. A
    disk that fails stops neither the run nor the recorder: what could not be written is tried again
    with the next batch, and when eight wait, later ones are lost and counted. `trouble` says so at
    once, the recording as soon as it can be written again (an event), and `close` raises
    RecorderError.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bms._recorder import Recorder
from bms.errors import RecorderError
from bms.recorder.columns import Piece, Shape
from bms.recorder.container import Event, Signal
from bms.recorder.disk import Disk
from bms.recorder.file import CODEC
from bms.recorder.scribe import Scribe

BATCH_TICKS = 12000
BATCH_BYTES = 9 << 20  # a batch of a large pack has fewer rows
BUFFERS = 3  # batches to begin with; `exchange`, which must not wait, may ask for more
BUFFERS_MAX = 8
FRAMES_PER_TICK, FRAME_BYTES = 40, 12  # room for both buses, full, with classic frames
UART_PER_TICK, UART_BYTES = 24, 64
STEP_BYTES = 2048  # a tick, when the firmware's steps are recorded; about 700 are used


class Writer:
    """Records `signals` into `path` until `close`.

    metadata: JSON-ready dict kept in the file (configuration, commit, seed, versions, hashes).
    cells_every_s: spacing of vector samples, at least 0.01 (every tick); 2 s before and after an
    event every tick is kept. frames, uart: also CAN frames and serial bytes. inputs: also what the
    firmware is given and answers each millisecond, for `bms replay`. batch_ticks: ticks written as
    one message; fewer cost room, more are pressed no better. Raises RecorderError when the
    file cannot be made or is being written by somebody else.

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
        inputs: bool = False,
        batch_ticks: int = BATCH_TICKS,
        compression: tuple[str, int | None] = CODEC,
        disk: Disk | None = None,
    ) -> None:
        self.path = Path(path)
        shape = Shape(signals, cells_every_s, frames, uart, inputs)
        row_bytes = shape.row_bytes + STEP_BYTES * inputs
        ticks = max(16, min(batch_ticks, BATCH_BYTES // row_bytes))
        self._recorder = Recorder(
            shape.sources,
            ticks,
            (ticks * FRAMES_PER_TICK, ticks * FRAMES_PER_TICK * FRAME_BYTES) if frames else (0, 0),
            (ticks * UART_PER_TICK, ticks * UART_PER_TICK * UART_BYTES) if uart else (0, 0),
            max(1 << 18, ticks * STEP_BYTES) if inputs else 0,
        )
        self._spare: Recorder | None = None  # of a loop that waits for nobody
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._buffers = BUFFERS
        for _ in range(BUFFERS):
            self._free.put(self._recorder.new_batch())
        self._work: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._events: list[Event] = []
        self._dropped: tuple[int, ...] = (0, 0, 0, 0)
        self._closed = False
        self._scribe = Scribe(
            self.path, shape, shape.schema(metadata), batch_ticks, compression, disk or Disk(),
            self._free,
        )  # fmt: skip
        self._thread = threading.Thread(
            target=self._scribe.run, args=(self._work,), name="bms-recorder", daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> int:
        """Of the recorder_t, for the loop."""
        return int(self._recorder.address)

    @property
    def low_level(self) -> Recorder:
        """Its `tick`, `frame` and `line` record from Python."""
        return self._recorder

    @property
    def acknowledged_ns(self) -> int:
        """Rows up to this time survive a kill -9; -1 none yet."""
        return max(self._scribe.written_ns, self._scribe.tail_ns)

    @property
    def synced_ns(self) -> int:
        """Rows up to this time survive a power cut; -1 none yet."""
        return max(self._scribe.synced_ns, self._scribe.tail_ns)

    @property
    def trouble(self) -> str:
        """What is wrong with the disk, in words; "" while nothing is."""
        return self._scribe.trouble

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
        recorder = self._recorder
        if recorder.filled()[0]:
            self._hand_over(recorder, self._free.get())

    def exchange(self, swap: Callable[[int], None]) -> None:
        """`drain` for a loop that waits for nobody: `swap(address)` gives it an empty recorder_t
        and returns when it has let go of the one before, which is then handed to the file. When the
        file is far behind, rows are lost and counted."""
        spare, used = self._spare, self._recorder
        if spare is None:
            spare = Recorder(used.sources, used.ticks, used.frames, used.uart, used.step_bytes)
        swap(spare.address)
        self._recorder, self._spare = spare, used
        rows = used.filled()[0]
        if rows == 0:
            return
        try:
            empty = self._free.get_nowait()
        except queue.Empty:
            if self._buffers == BUFFERS_MAX:
                self._scribe.lost(rows, "the disk is too slow")
                used.install(used.batch)
                return
            self._buffers += 1
            empty = used.new_batch()
        self._hand_over(used, empty)

    def _hand_over(self, recorder: Recorder, empty: Any) -> None:
        (rows, frames, pieces), steps, full = recorder.filled(), recorder.step_count, recorder.batch
        self._events += self._losses(int(full.t_ns[rows - 1]))
        events, self._events = self._events, []
        recorder.install(empty)
        self._work.put(Piece(full, rows, frames, pieces, steps, events))

    def flush(self) -> None:
        """Drain, and wait until everything survives a power cut. RecorderError when it does not."""
        self.drain()
        done = threading.Event()
        self._work.put(done)
        while not done.wait(0.2):
            if not self._thread.is_alive():
                break
        if self.trouble:
            raise RecorderError(f"{self.path}: {self.trouble}")

    def close(self, summary: dict[str, Any] | None = None) -> None:
        """Write what is left, the summary and the footer. A second call does nothing. RecorderError
        when something is missing in the file, which can be read all the same."""
        if self._closed:
            return
        self._closed = True
        self.drain()
        self._work.put((self._events, summary or {}))
        self._thread.join()
        if self._scribe.failed is not None:
            raise RecorderError(f"{self.path}: {self._scribe.failed}") from self._scribe.error

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _losses(self, t_ns: int) -> list[Event]:
        before, self._dropped = self._dropped, (0, 0, 0, 0)
        for recorder in (self._recorder, self._spare):
            if recorder is not None:
                now = (*recorder.dropped(), recorder.steps_dropped)
                self._dropped = tuple(a + b for a, b in zip(self._dropped, now, strict=True))
        names = ("ticks_dropped", "frames_dropped", "uart_dropped", "steps_dropped")
        return [
            Event(t_ns, "recorder", name, -1, float(now - old), "no room in the recorder's buffer")
            for name, old, now in zip(names, before, self._dropped, strict=True)
            if now != old
        ]
