"""Samples of a recording, read where they are looked at.

Short spans are read as they are, a signal and a piece of two minutes at a time; long ones from the
recording's overview, so that a day costs as much as a minute. Whole moments are read by a thread,
ahead of who plays. What was read lately is kept.
"""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from bms_gui.samples import COLUMNS
from bms_gui.snapshot import Frames, no_frames

from bms.errors import RecorderError
from bms.recorder import Event, Recording

PIECE_S = 120.0
MARGIN_S = 2.0
AS_IS_S = 240.0
COLUMNS_KEPT, WINDOWS_KEPT, MOMENTS_KEPT = 400, 200, 4
FRAMES_SHOWN = 50_000
STEP_FREE = 2.0
Columns = dict[str, tuple[np.ndarray, np.ndarray]]


class Kept:
    """The newest so many of something."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: OrderedDict[Any, Any] = OrderedDict()

    def get(self, key: Any) -> Any:
        """What was put there, or None."""
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def put(self, key: Any, what: Any) -> Any:
        """Holds it, and forgets the one that was not asked for the longest."""
        self._held[key] = what
        if len(self._held) > self.most:
            self._held.popitem(last=False)
        return what


class RecordedData:
    """A `Data` over an open recording, which it closes. events: empty until they are read."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.span_s = recording.span_s
        self.events: list[Event] = []
        self.trouble = ""
        self._columns, self._windows = Kept(COLUMNS_KEPT), Kept(WINDOWS_KEPT)
        self._moments, self._frames = Kept(MOMENTS_KEPT), Kept(MOMENTS_KEPT)
        self._wanted: queue.Queue[int | None] = queue.Queue()
        self._read: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asked: set[int] = set()
        self._thread = threading.Thread(target=self._serve, name="bms-recorded", daemon=True)
        self._thread.start()

    # ---- windows ----

    def window(
        self, name: str, t0_s: float, t1_s: float, columns: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """See snapshot.Data."""
        info = self.recording.signals.get(name)
        first_s, last_s = max(t0_s, self.span_s[0]), min(t1_s, self.span_s[1])
        if info is None or last_s < first_s:
            return np.zeros(0), np.zeros((0, 0), np.float32)
        try:
            if not t1_s - t0_s > AS_IS_S or not np.isfinite(t1_s - t0_s):
                return self._as_is(name, first_s - STEP_FREE, last_s + STEP_FREE)
            return self._seen_from_afar(name, t0_s, t1_s, columns)
        except RecorderError as error:
            self.trouble = str(error)
            return np.zeros(0), np.zeros((0, 0), np.float32)

    def _as_is(self, name: str, t0_s: float, t1_s: float) -> tuple[np.ndarray, np.ndarray]:
        first, last = int(max(0.0, t0_s) // PIECE_S), int(max(0.0, t1_s) // PIECE_S)
        parts = [self._column(name, piece) for piece in range(first, last + 1)]
        time_s = np.concatenate([part[0] for part in parts])
        values = np.concatenate([part[1] for part in parts], axis=1)
        a, b = np.searchsorted(time_s, (t0_s, t1_s))
        return time_s[a:b], np.ascontiguousarray(values[:, a:b])

    def _column(self, name: str, piece: int) -> tuple[np.ndarray, np.ndarray]:
        held = self._columns.get((name, piece))
        if held is not None:
            return held  # type: ignore[no-any-return]
        begin_s = piece * PIECE_S
        time_s, values = self.recording.read([name], begin_s, begin_s + PIECE_S - 1e-6)[name]
        return self._columns.put((name, piece), (time_s, _rows(values)))  # type: ignore[no-any-return]

    def _seen_from_afar(
        self, name: str, t0_s: float, t1_s: float, columns: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """From the overview, of a window aligned so that a moving picture asks seldom."""
        step_s = 2.0 ** np.ceil(np.log2((t1_s - t0_s) / 4.0))
        begin_s = np.floor(t0_s / step_s) * step_s
        end_s = np.ceil(t1_s / step_s) * step_s
        columns = max(columns, 800)  # the same for all who ask for one picture
        bins = round(columns * (end_s - begin_s) / (t1_s - t0_s))
        bins = 1 << (bins - 1).bit_length()
        key = (name, begin_s, end_s, bins)
        held = self._windows.get(key)
        if held is None:
            found = self.recording.overview(
                name, max(0.0, begin_s), min(end_s, self.span_s[1]), bins
            )
            time_s = np.repeat(found.time_s, 2)
            time_s[1::2] += 0.5 * float(np.diff(found.time_s[:2]).sum())
            values = np.empty((1, time_s.size), np.float32)
            values[0, 0::2], values[0, 1::2] = found.low, found.high
            known = np.isfinite(values[0])
            held = self._windows.put(key, (time_s[known], values[:, known]))
        time_s, values = held
        a = max(0, int(np.searchsorted(time_s, t0_s)) - 1)
        b = int(np.searchsorted(time_s, t1_s)) + 1
        return time_s[a:b], np.ascontiguousarray(values[:, a:b])

    # ---- moments ----

    def moment(self, time_s: float) -> tuple[Mapping[str, Any], Mapping[str, float]]:
        """As it was then, or as near before as has been read."""
        piece = int(max(0.0, time_s) // PIECE_S)
        held: Columns | None = self._moments.get(piece)
        self._want(piece)
        if time_s % PIECE_S > 0.5 * PIECE_S and (piece + 1) * PIECE_S < self.span_s[1]:
            self._want(piece + 1)
        if held is None:
            return {}, {}
        latest: dict[str, Any] = {}
        heard_s: dict[str, float] = {}
        for name, (times, values) in held.items():
            k = int(np.searchsorted(times, time_s + 1e-9, "right")) - 1
            if k >= 0:
                latest[name] = values[k]
                if np.isfinite(values[k]).any():
                    heard_s[name] = float(times[k])
        return latest, heard_s

    def frames(self, until_s: float = float("inf")) -> Frames:
        """The newest up to a time, of the piece it lies in and the one before. `total` counts from
        where reading began, and begins again after a jump."""
        piece = int(max(0.0, min(until_s, self.span_s[1])) // PIECE_S)
        near = [self._frames.get(p) for p in (piece - 1, piece)]
        parts = [part for part in near if part is not None and len(part.id)]
        if not parts:
            return no_frames()
        last = parts[-1]
        end = int(np.searchsorted(last.time_s, until_s, "right"))
        total = last.total - len(last.id) + end
        parts[-1] = _part(last, max(0, end - FRAMES_SHOWN), end)
        if len(parts) == 2:
            size = len(parts[0].id)
            parts[0] = _part(parts[0], max(0, size + len(parts[1].id) - FRAMES_SHOWN), size)
        joined = [np.concatenate([getattr(p, n) for p in parts]) for n in COLUMNS]
        return Frames(*joined, total)

    def _want(self, piece: int) -> None:
        if piece not in self._asked:
            self._asked.add(piece)
            self._wanted.put(piece)

    def pump(self) -> bool:
        """Takes what the thread has read."""
        changed = False
        while True:
            try:
                kind, key, what = self._read.get_nowait()
            except queue.Empty:
                return changed
            changed = True
            if kind == "events":
                self.events = what
            elif kind == "moment":
                self._moments.put(key, what[0])
                before = self._frames.get(key - 1)
                base = before.total if before is not None else 0
                self._frames.put(key, replace(what[1], total=base + len(what[1].id)))
                self._asked = {p for p in self._asked if self._moments.get(p) or p > key}
            else:
                self.trouble = str(what)

    # ---- the thread ----

    def _serve(self) -> None:
        """With a recording of its own: the other is read by the window."""
        try:
            own = Recording.open(self.recording.path)
        except RecorderError as error:
            self._read.put(("trouble", 0, error))
            return
        with own:
            has_events = False
            while True:
                piece = self._wanted.get() if has_events else self._soon()
                if piece is None:
                    return
                try:
                    if piece >= 0:
                        self._read.put(("moment", piece, _moment(own, piece)))
                    else:
                        has_events = True
                        self._read.put(("events", 0, own.events))
                except RecorderError as error:
                    self._read.put(("trouble", piece, error))

    def _soon(self) -> int | None:
        """What is wanted now, or -1 when nothing is: time for the events."""
        try:
            return self._wanted.get(timeout=0.2)
        except queue.Empty:
            return -1

    def close(self) -> None:
        """Ends the thread and closes the file."""
        self._wanted.put(None)
        self._thread.join(5.0)
        self.recording.close()


def _rows(values: np.ndarray) -> np.ndarray:
    """(count, n) float32 of (n,) or (n, count)."""
    plain = values.astype(np.float32, copy=False)
    return np.ascontiguousarray(plain[None, :] if plain.ndim == 1 else plain.T)


def _moment(recording: Recording, piece: int) -> tuple[Columns, Frames]:
    begin_s = piece * PIECE_S
    columns = recording.read(list(recording.signals), begin_s - MARGIN_S, begin_s + PIECE_S)
    return columns, _frames(recording, begin_s, begin_s + PIECE_S)


def _frames(recording: Recording, t0_s: float, t1_s: float) -> Frames:
    if "frames" not in recording.schema.names:
        return no_frames()
    found: list[Frames] = []
    for batch in recording.batches(["frames"], t0_s, t1_s):
        rows = batch.column("frames").flatten()
        if not len(rows):
            continue
        t_ns, bus, direction, identifier, flags = (
            rows.field(n).to_numpy(zero_copy_only=False)
            for n in ("t_ns", "bus", "direction", "id", "flags")
        )
        data, length = _bytes(rows.field("data"))
        found.append(
            Frames(
                t_ns * 1e-9, identifier.astype(np.uint32), bus.astype(np.uint8),
                direction.astype(np.uint8), flags.astype(np.uint8), length, data,
            )
        )  # fmt: skip
    if not found:
        return no_frames()
    joined = [np.concatenate([getattr(f, n) for f in found]) for n in COLUMNS]
    return Frames(*joined, len(joined[0]))


def _part(frames: Frames, start: int, end: int) -> Frames:
    return Frames(*(getattr(frames, name)[start:end] for name in COLUMNS))


def _bytes(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """((n, 8) the first eight bytes, (n,) how many there are of them)."""
    import pyarrow as pa

    plain = column.cast(pa.binary())
    buffers = plain.buffers()
    offset = np.frombuffer(buffers[1], np.int32)[plain.offset : plain.offset + len(plain) + 1]
    raw = np.frombuffer(buffers[2], np.uint8) if buffers[2] is not None else np.zeros(1, np.uint8)
    length = np.minimum(np.diff(offset), 8).astype(np.uint8)
    reach = np.minimum(offset[:-1, None] + np.arange(8), max(0, raw.size - 1))
    data = np.where(np.arange(8) < length[:, None], raw[reach] if raw.size else 0, 0)
    return data.astype(np.uint8), length
