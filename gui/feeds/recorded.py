"""Recordings and logs of buses, opened to be looked at. Playing them is the playhead's."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bms_gui.feeds.live import doubt
from bms_gui.hearing import ERROR, Hearing
from bms_gui.recorded import RecordedData
from bms_gui.samples import COLUMNS, Samples
from bms_gui.snapshot import Frames, Injected, Shape, Signal, Snapshot, Status, no_frames
from bms_gui.words import choices_of

from bms import why
from bms.errors import BmsError, ConfigError
from bms.protocols import codec, dbc
from bms.recorder import Recording
from bms.recorder.logs import KINDS, kind_of, open_log

OFFERS = frozenset({"pause", "speed", "step", "seek", "loop"})
FRAMES_SHOWN = 50_000
FRAMES_MAX = 4_000_000
CHUNK_FRAMES = 20_000
LOG_ROWS = 400_000


class RecordingFeed:
    """A recording of ours. RecorderError when it is none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        recording = Recording.open(self.path)
        self.data = RecordedData(recording)
        self._signals = {
            s.name: Signal(s.name, s.unit, s.kind, s.text, s.count, choices_of(s.name))
            for s in recording.signals.values()
        }
        self._shape = _shape(recording)
        self._message = ""
        if not recording.is_complete:
            self._message = (
                f"This recording was cut short: all up to {self.data.span_s[1]:.1f} s is shown, "
                f"{recording.lost_bytes} bytes behind it could not be read. "
                "`bms repair` makes it whole."
            )
        about = recording.meta.get("scenario") or recording.meta.get("title") or ""
        self._title = f"{self.path.name} {about}".strip()
        self._is_new = True
        self._told_events: Any = None
        self._faults: tuple[Injected, ...] = ()

    def pump(self) -> bool:
        """Whether something asked for has been read."""
        is_new, self._is_new = self._is_new, False
        return self.data.pump() or is_new

    def snapshot(self) -> Snapshot:
        """All there is; the playhead chooses the moment."""
        text = self.data.trouble or self._message
        return Snapshot(
            title=self._title, source="recording", time_s=self.data.span_s[0],
            span_s=self.data.span_s, shape=self._shape, signals=self._signals,
            events=self.data.events, injected=self._injected(), status=Status("paused", text),
            offers=OFFERS, data=self.data,
        )  # fmt: skip

    def _injected(self) -> tuple[Injected, ...]:
        if self._told_events is not self.data.events:
            self._told_events = self.data.events
            self._faults = injected_of(self.data.events)
        return self._faults

    def ask(self, word: str, *arguments: Any) -> None:
        """Nothing: the playhead meets what is offered."""

    def close(self) -> None:
        """Gives the file back."""
        self.data.close()


def injected_of(events: Sequence[Any]) -> tuple[Injected, ...]:
    """Faults that were put into the recorded world, from the events that say so."""
    found: list[Injected] = []
    for event in events:
        if event.kind != "fault":
            continue
        time_s = event.t_ns * 1e-9
        if str(event.text) == "off":
            for k, fault in enumerate(found):
                if (fault.id, fault.index) == (event.name, event.index) and fault.state != "over":
                    found[k] = replace(fault, state="over", off_s=time_s)
        else:
            found.append(
                Injected(
                    len(found), str(event.name), int(event.index), float(event.value), "active",
                    time_s, float("inf"),
                )
            )  # fmt: skip
    return tuple(found)


def _shape(recording: Recording) -> Shape:
    """How the recorded pack was built, from the configuration or from how long vectors are."""
    limits = why.limits_of_recording(recording.meta)
    count = {s.name: s.count for s in recording.signals.values()}
    blocks = count.get("meas_cell_voltage_v", 0)
    try:
        pack = recording.meta["configuration"]["pack"]
        t = pack["topology"]
        return Shape(str(pack["name"]), t["blocks"], t["parallel"], t["blocks_per_module"], limits)
    except (KeyError, TypeError):
        modules = recording.meta.get("modules") or count.get("meas_module_pressure_kpa", 0)
        per_module = blocks // modules if isinstance(modules, int) and modules else 0
        return Shape("", blocks, 1, per_module, limits)


class LogData(Samples):
    """Samples of a log with all its frames."""

    chunks: list[Frames]
    starts: list[float]

    def keep(self, frames: Frames) -> bool:
        """Holds frames; False when there is no more room."""
        if not hasattr(self, "chunks"):
            self.chunks, self.starts, self.count = [], [], 0
        if self.count + len(frames.id) > FRAMES_MAX:
            return False
        if len(frames.id):
            self.chunks.append(frames)
            self.starts.append(float(frames.time_s[0]))
            self.count += len(frames.id)
        return True

    def frames(self, until_s: float = float("inf")) -> Frames:
        """The newest up to a time."""
        chunks = getattr(self, "chunks", [])
        end = int(np.searchsorted(self.starts, until_s, "right")) if chunks else 0
        if end == 0:
            return no_frames()
        near = chunks[max(0, end - 1 - FRAMES_SHOWN // CHUNK_FRAMES) : end]
        seen = sum(len(c.id) for c in chunks[: end - 1])
        last = near[-1]
        kept = int(np.searchsorted(last.time_s, until_s, "right"))
        parts = [*near[:-1], _cut(last, kept)]
        joined = [np.concatenate([getattr(p, n) for p in parts]) for n in COLUMNS]
        return Frames(*joined, seen + kept)


def _cut(frames: Frames, count: int) -> Frames:
    return Frames(*(getattr(frames, name)[:count] for name in COLUMNS))


class LogFeed:
    """A log of a bus: candump, ASC, BLF, MDF 4. Read by a thread; what has been read is shown."""

    def __init__(self, path: str | Path, dbc_path: str | Path | None = None) -> None:
        self.path, self.database = Path(path), Path(dbc_path).name if dbc_path else "bms.dbc"
        self._log = open_log(self.path)
        self.hearing = Hearing(codec.load(Path(dbc_path)) if dbc_path else dbc.codec())
        self.data = LogData(
            dict.fromkeys(self.hearing.scalars, 1), dict.fromkeys(self.hearing.vectors, 0),
            LOG_ROWS,
        )  # fmt: skip
        self._events: list[Any] = []
        self._pieces: queue.Queue[Any] = queue.Queue(maxsize=8)
        self._ended = threading.Event()
        self._span_s = (0.0, 0.0)
        self._is_read, self._is_full, self._trouble, self._count = False, False, "", 0
        threading.Thread(target=self._read, name="bms-log", daemon=True).start()

    def _read(self) -> None:
        sends = np.array(
            [n for n, m in self.hearing.codec.by_identifier.items() if "BMS" in m.senders],
            np.uint32,
        )
        try:
            for chunk in self._log.chunks(CHUNK_FRAMES):
                frames = _plain(chunk, sends)
                self._put((frames, self.hearing.hear(frames)))
                if self._ended.is_set():
                    return
        except (BmsError, OSError, ValueError) as error:
            self._put(str(error))
        self._put(None)

    def _put(self, what: Any) -> None:
        while not self._ended.is_set():
            try:
                self._pieces.put(what, timeout=0.2)
                return
            except queue.Full:
                continue

    def pump(self) -> bool:
        """Takes what the thread has read."""
        changed = False
        for _ in range(4):
            try:
                told = self._pieces.get_nowait()
            except queue.Empty:
                break
            changed = True
            if told is None:
                self._is_read = True
            elif isinstance(told, str):
                self._trouble = told
            else:
                self._take(*told)
        return changed

    def _take(self, frames: Frames, piece: Any) -> None:
        if len(frames.time_s):
            first_s = self._span_s[0] if self._count else float(frames.time_s[0])
            self._span_s = (first_s, float(frames.time_s[-1]))
        self._count += len(frames.id)
        self._is_full |= not self.data.keep(frames)
        self.data.add(piece)
        self._events += piece.events

    def _words(self) -> str:
        if self._trouble:
            return self._trouble
        if not self._is_read:
            return f"Reading {self.path.name}: {self._count} frames so far."
        if self._count == 0:
            return f"{self.path.name} holds no frame that can be read."
        parts = [doubt(self.hearing, self.database)]
        if self._log.malformed:
            parts.append(f"{self._log.malformed} lines or objects made no sense and were skipped.")
        if self._is_full:
            parts.append(f"Only the first {FRAMES_MAX} frames are in the trace.")
        return " ".join(part for part in parts if part)

    def snapshot(self) -> Snapshot:
        """All that has been read; the playhead chooses the moment."""
        return Snapshot(
            title=self.path.name, source="recording", time_s=self._span_s[0],
            span_s=self._span_s, shape=self.hearing.shape, book=self.hearing.book,
            signals=self.hearing.signals(),
            events=self._events, status=Status("paused", self._words()), offers=OFFERS,
            data=self.data,
        )  # fmt: skip

    def ask(self, word: str, *arguments: Any) -> None:
        """Nothing: the playhead meets what is offered."""

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()


def _plain(chunk: Any, sends: np.ndarray) -> Frames:
    n = len(chunk)
    data, length = np.zeros((n, 8), np.uint8), np.zeros(n, np.uint8)
    for k, content in enumerate(chunk.data.to_pylist()):
        short = content[:8]
        length[k] = len(short)
        data[k, : len(short)] = list(short)
    flags = np.asarray(chunk.flags, np.uint8)
    identifier = np.asarray(chunk.id, np.uint32)
    ours = np.isin(identifier, sends) & (flags & ERROR == 0)
    return Frames(
        chunk.t_ns * 1e-9, identifier, np.asarray(chunk.bus, np.uint8), ours.astype(np.uint8),
        flags, length, data,
    )  # fmt: skip


def open_file(path: str | Path, dbc_path: str | Path | None = None) -> RecordingFeed | LogFeed:
    """A recording or a log, told apart by what is in the file. BmsError with a sentence."""
    path = Path(path)
    if not path.exists():
        raise ConfigError("option", "--open", str(path), "a file that exists")
    if kind_of(path):
        return LogFeed(path, dbc_path)
    try:
        return RecordingFeed(path)
    except BmsError as error:
        known = ", ".join(suffix for suffixes in KINDS.values() for suffix in suffixes)
        raise ConfigError(
            "option", "--open", str(path), f"a recording (.arrow) or a log ({known}): {error}"
        ) from error
