"""Log files as ends of a bridge: read in their time, written as frames pass.

Written are candump lines (.log, .candump), ASC and BLF (through python-can), or a recording of this
project (any other name; `bms report`, `bms convert` read it). A file that is there already is not
touched: the next free number is put behind its name, as it is when `size_mb` is reached, and the
oldest go when there are more than `keep`. A disk that is full is a state of the link: frames are
dropped and counted until there is room again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from bms.bridge.ports.base import BATCH, CLOCK, Backoff, Batch, Context, Port, room_for
from bms.errors import BmsError, ConfigError
from bms.recorder import Writer, logs

TICK_US = 10_000
FLUSH_S = 0.5
PULSE = "tick"


class InOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`speed` 1 is the log's own, 0 as fast as it is taken. `loop`: from the beginning again."""

    speed: float = 1.0
    loop: bool = False


class OutOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new file every `size_mb`, and the newest `keep` of them. 0: no end."""

    size_mb: float = 64.0
    keep: int = 8


OPTIONS: dict[str, type[msgspec.Struct]] = {"log-in": InOptions, "log-out": OutOptions}
BY_PYTHON_CAN = (".asc", ".blf")
AS_TEXT = (".log", ".candump")


def check(context: Context) -> list[str]:
    """A log that is read must be one; one that is written must have a folder."""
    path, key = context.path(context.place.name), f"link.{context.name}.url"
    if context.place.kind == "log-in":
        try:
            logs.open_log(path)
        except ConfigError as error:
            raise ConfigError(context.file, key, str(path), error.expected) from None
        if context.options.speed < 0:
            raise ConfigError(context.file, key, context.options.speed, "speed of at least 0")
    elif not path.parent.is_dir():
        raise ConfigError(context.file, key, str(path), "a file in a folder that is there")
    elif context.options.keep < 0 or context.options.size_mb < 0:
        raise ConfigError(context.file, f"link.{context.name}.options", "", "nothing negative")
    return []


class LogIn(Port):
    """Frames of a log."""

    COUNTS = ("frames", "malformed", "runs", "impossible", "failures")

    def works(self) -> tuple[Callable[[], None], ...]:
        return (self._read,)

    def _read(self) -> None:
        path = self.context.path(self.context.place.name)
        self.up()
        while not self.stopping.is_set():
            log = logs.open_log(path)
            self._play(log)
            self.counts["malformed"] += log.malformed
            self.counts["runs"] += 1
            if not self.context.options.loop:
                self.down("the log has ended")
                return
            self.stopping.wait(0.01)

    def _play(self, log: logs.BusLog) -> None:
        speed, first_ns, began_s = self.context.options.speed, None, time.monotonic()
        row = room_for(1)
        for frame in log:
            if frame.flags & logs.ERROR:
                continue
            first_ns = frame.t_ns if first_ns is None else first_ns
            due_s = began_s + (1e-9 * (frame.t_ns - first_ns) / speed if speed else 0.0)
            if self.stopping.wait(max(0.0, due_s - time.monotonic())):
                return
            while not self.has_room() and not self.stopping.wait(0.002):
                pass
            at_ns = log.start_unix_ns + frame.t_ns
            stamp = CLOCK.time_us(np.array([at_ns])) if log.start_unix_ns else np.uint64(0)
            row["time_us"], row["id"], row["flags"] = stamp, frame.id, frame.flags
            row["length"], row["data"] = len(frame.data), 0
            if not frame.flags & logs.REMOTE:
                row["data"][0, : len(frame.data)] = list(frame.data)
            self.counts["frames"] += self.give(row)
            self._take_away()

    def _take_away(self) -> None:
        """What rules send here goes nowhere."""
        if self.inner.pending:
            self.take(room_for(BATCH), 0.0)


class Sink(Protocol):
    """A file being written."""

    def write(self, frames: Batch, unix_ns: Any) -> None:
        """OSError, or BmsError, when the disk does not want it."""

    def size(self) -> int:
        """Bytes so far."""

    def flush(self) -> None:
        """Others can read it now."""

    def close(self) -> None:
        """It is whole."""


class TextSink:
    """candump -L; the interface is the name of the link a frame came from."""

    def __init__(self, path: Path, links: list[str]):
        self._file, self._links = path.open("x", encoding="ascii"), links

    def write(self, frames: Batch, unix_ns: Any) -> None:
        """One line a frame, whole or not at all."""
        lines = []
        for frame, at_ns in zip(frames, unix_ns, strict=True):
            at_us, flags = int(at_ns) // 1000, int(frame["flags"])
            head = f"{int(frame['id']):08X}" if flags & 1 else f"{int(frame['id']):03X}"
            text = frame["data"][: frame["length"]].tobytes().hex().upper()
            if flags & 2:
                text = f"R{int(frame['length']) or ''}"
            elif flags & 4:
                text = f"#{flags >> 3 & 1}{text}"
            name = self._links[int(frame["bus"]) % len(self._links)]
            lines.append(f"({at_us // 10**6:010d}.{at_us % 10**6:06d}) {name} {head}#{text}\n")
        self._file.write("".join(lines))

    def size(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class CanSink:
    """ASC or BLF, by python-can."""

    def __init__(self, path: Path, links: list[str]):
        import can

        self._path = path
        path.open("x").close()  # ours, and nobody else's
        self._file: Any = (can.ASCWriter if path.suffix == ".asc" else can.BLFWriter)(path)

    def write(self, frames: Batch, unix_ns: Any) -> None:
        """Through python-can's writer; the channel is the number of the link."""
        import can

        for frame, at_ns in zip(frames, unix_ns, strict=True):
            flags, length = int(frame["flags"]), int(frame["length"])
            data = None if flags & 2 else frame["data"][:length].tobytes()
            self._file.on_message_received(
                can.Message(
                    timestamp=1e-9 * int(at_ns), arbitration_id=int(frame["id"]),
                    is_extended_id=bool(flags & 1), is_remote_frame=bool(flags & 2),
                    is_fd=bool(flags & 4), bitrate_switch=bool(flags & 8), dlc=length, data=data,
                    channel=int(frame["bus"]),
                )
            )  # fmt: skip

    def size(self) -> int:
        return self._path.stat().st_size

    def flush(self) -> None:
        with contextlib.suppress(AttributeError):
            self._file.file.flush()

    def close(self) -> None:
        self._file.stop()


class RecordingSink:
    """A recording: frames with the number of the link they came from as their bus."""

    def __init__(self, path: Path, links: list[str]):
        self._path, self._zero_us, self._last_us, self._next_us = path, -1, 0, 0
        self._waiting, self._links = 0, links
        self._writer: Writer | None = None

    def _open(self, unix_us: int) -> Writer:
        self._zero_us = unix_us
        title = {"title": "Bridge", "description": "buses: " + ", ".join(self._links)}
        meta = {
            "configuration": {"log_format": "bridge", "plan": title, "links": self._links},
            "start_unix_ns": 1000 * unix_us,
        }
        return Writer(self._path, [], meta, frames=True)

    def write(self, frames: Batch, unix_ns: Any) -> None:
        """Times that go back, as those of another clock may, are told as the last one."""
        for frame, at_ns in zip(frames, unix_ns, strict=True):
            at_us = int(at_ns) // 1000
            if self._writer is None:
                self._writer = self._open(at_us)
            t_us = max(at_us - self._zero_us, self._last_us)
            if t_us >= self._next_us or self._waiting >= 400:
                self._tick(max(t_us, self._last_us))
            data = frame["data"][: frame["length"]].tobytes()
            self._writer.low_level.frame(
                t_us, int(frame["bus"]), 0, int(frame["id"]), int(frame["flags"]), data
            )
            self._last_us, self._waiting = t_us, self._waiting + 1 + len(data) // 8
        if self._writer is not None and self._writer.trouble:
            raise OSError(self._writer.trouble)

    def _tick(self, t_us: int) -> None:
        assert self._writer is not None
        if self._writer.low_level.tick(t_us):
            self._writer.drain()
        self._next_us, self._waiting = t_us + TICK_US, 0

    def size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def flush(self) -> None:
        if self._writer is not None and self._waiting:
            self._tick(self._last_us + 1)
            self._last_us += 1
            self._writer.drain()

    def close(self) -> None:
        if self._writer is not None:
            self.flush()
            self._writer.close({"links": self._links})


def names(path: Path) -> Iterator[Path]:
    """The path, and with ever higher numbers before its ending."""
    yield path
    for number in range(1, 1_000_000):
        yield path.with_name(f"{path.stem}-{number:06d}{path.suffix}")


def _number(path: Path) -> tuple[int, str]:
    return len(path.name), path.name


class LogOut(Port):
    """A file of what the rules send here."""

    COUNTS = ("frames", "files", "frames_lost", "failures")

    def __init__(self, context: Context, outer: Any, inner: Any):
        super().__init__(context, outer, inner)
        self._path = context.path(context.place.name)
        self._ours: list[Path] = []

    def works(self) -> tuple[Callable[[], None], ...]:
        return (self._write,)

    def _open(self) -> Sink:
        suffix = self._path.suffix
        kind = CanSink if suffix in BY_PYTHON_CAN else RecordingSink
        used = {p.name for p in self._path.parent.iterdir()}
        path = next(p for p in names(self._path) if p.name not in used and not p.is_dir())
        sink = (TextSink if suffix in AS_TEXT else kind)(path, self.context.links)
        self.counts["files"] += 1
        self._ours.append(path)
        self._prune()
        return sink

    def _prune(self) -> None:
        """Only what this run has written goes: nobody else's file."""
        keep = self.context.options.keep
        while keep and len(self._ours) > keep:
            self._ours.pop(0).unlink(missing_ok=True)

    def _write(self) -> None:
        backoff, batch = Backoff(), room_for(BATCH)
        while not self.stopping.is_set():
            try:
                sink = self._open()
            except (OSError, BmsError) as error:
                self._full(error, backoff)
                continue
            try:
                self.up()
                self._fill(sink, batch, backoff)
            except (OSError, BmsError, ValueError) as error:
                self._full(error, backoff)
            finally:
                with contextlib.suppress(OSError, BmsError, ValueError):
                    sink.close()

    def _full(self, error: Exception, backoff: Backoff) -> None:
        reason = getattr(error, "strerror", None) or error
        if self.outer.state == "up" or not self.counts["failures"]:
            self.say("log not written", file=str(self._path), reason=str(reason))
        self.counts["failures"] += 1
        self.down(reason)
        self.counts["frames_lost"] += len(self.take(room_for(BATCH), 0.0))
        self.stopping.wait(backoff.pause_s())

    def _fill(self, sink: Sink, batch: Batch, backoff: Backoff) -> None:
        most = int(1e6 * self.context.options.size_mb)
        flush_s = time.monotonic() + FLUSH_S
        while not self.stopping.is_set() or self.inner.pending:
            frames = self.take(batch)
            if len(frames):
                try:
                    sink.write(frames, CLOCK.unix_ns(frames["time_us"]))
                except (OSError, BmsError, ValueError):
                    self.counts["frames_lost"] += len(frames)
                    raise
                self.counts["frames"] += len(frames)
            if time.monotonic() >= flush_s:
                sink.flush()
                backoff.reset()
                flush_s = time.monotonic() + FLUSH_S
                if most and sink.size() >= most:
                    return


PORTS = {"log-in": LogIn, "log-out": LogOut}
