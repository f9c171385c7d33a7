"""A bus log becomes a recording: its frames, and the signals its database finds in them.

Values hold until the next frame brings new ones; before the first they are missing (NaN). The log
is read twice: once for what is in it, once to write it, so its length costs no memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bms.errors import ConfigError
from bms.recorder import Frame, Signal, Writer, logs
from bms.recorder.export.source import fits

TICK_US = 10_000
GAP_US = 1_000_000  # a longer silence gets no ticks
ROOM = 400  # frames of 8 bytes that a tick always fits; a burst of more gets a tick of its own


@dataclass
class Found:
    """What the first pass over a log saw."""

    frames: int = 0
    last_us: int = 0
    first_us: int = 0
    backwards: int = 0
    ids: frozenset[tuple[int, bool]] = frozenset()


def record(path: Path, out: Path, dbc: Path | None, patterns: Sequence[str] = ()) -> str:
    """Write the log as a recording; what became of it, in words.

    dbc: any file cantools reads (DBC, KCD, ARXML, SYM). patterns: only these signals
    (Message.Signal). Raises ConfigError for a log or database that cannot be read, or a log without
    a frame.
    """
    log = logs.open_log(path)
    found = _survey(log)
    if found.frames == 0:
        raise ConfigError("option", "LOG", str(path), f"{log.kind} with at least one CAN frame")
    decoder = Decoder(dbc, found.ids, patterns)
    meta = {
        "configuration": {
            "log_format": log.kind, "database": dbc.name if dbc else None,
            "plan": {"title": f"Bus log {path.name}", "description": "Frames of a real bus."},
        },
        "start_unix_ns": log.start_unix_ns,
    }  # fmt: skip
    with Writer(out, decoder.signals, meta, frames=True) as writer:
        _fill(writer, log, decoder)
        writer.close(
            {
                "frames": found.frames, "malformed": log.malformed,
                "frames_not_in_database": decoder.unknown, "frames_not_decoded": decoder.failed,
                "times_backwards": found.backwards,
                "log_s": (found.last_us - found.first_us) / 1e6,
            }
        )  # fmt: skip
    told = f"{found.frames} frames, {len(decoder.signals)} signals"
    return told + (f"; {log.malformed} lines or objects made no sense" if log.malformed else "")


def _survey(log: logs.BusLog) -> Found:
    found, ids, last_us = Found(), set[tuple[int, bool]](), -(2**62)
    for frame in log:
        at_us = frame.t_ns // 1000
        if found.frames == 0:
            found.first_us = at_us
        found.backwards += at_us < last_us
        last_us = max(last_us, at_us)
        found.frames += 1
        if not frame.flags & (logs.ERROR | logs.REMOTE):
            ids.add((frame.id, bool(frame.flags & logs.EXTENDED)))
    found.last_us, found.ids = last_us, frozenset(ids)
    return found


def _fill(writer: Writer, log: logs.BusLog, decoder: Decoder) -> None:
    """Every frame in its place, a tick every 10 ms while there is traffic."""
    recorder = writer.low_level
    next_us, last_us, waiting = -1, 0, 0

    def tick() -> None:
        nonlocal waiting
        if recorder.tick(next_us):
            writer.drain()
        waiting = 0

    for frame in log:
        at_us = max(frame.t_ns // 1000, last_us, 0)
        if next_us < 0:
            next_us = at_us // TICK_US * TICK_US + TICK_US
        while next_us < at_us:
            tick()
            is_gap = at_us - next_us > GAP_US
            next_us = at_us // TICK_US * TICK_US if is_gap else next_us + TICK_US
        if waiting >= ROOM:
            tick()
            next_us += 1
        recorder.frame(at_us, frame.bus, frame.direction, frame.id, frame.flags, frame.data)
        decoder.take(frame)
        waiting, last_us = waiting + 1 + len(frame.data) // 8, at_us
    tick()


class Decoder:
    """Values of a database's signals, in arrays that the recorder reads at each tick."""

    def __init__(
        self, dbc: Path | None, ids: frozenset[tuple[int, bool]], patterns: Sequence[str]
    ) -> None:
        self.unknown = self.failed = 0
        self.signals: list[Signal] = []
        self._messages: dict[tuple[int, bool], Any] = {}
        self._values: dict[tuple[int, bool], dict[str, np.ndarray]] = {}
        for message in _database(dbc).messages if dbc else ():
            key = (message.frame_id, message.is_extended_frame)
            if key in ids:
                self._add(key, message, patterns)
        for pattern in patterns:
            if not any(fits(s.name, pattern) for s in self.signals):
                raise ConfigError("option", "--signals", pattern, "a Message.Signal of the log")

    def _add(self, key: tuple[int, bool], message: Any, patterns: Sequence[str]) -> None:
        kept = {}
        for signal in message.signals:
            name = f"{message.name}.{signal.name}"
            if patterns and not any(fits(name, pattern) for pattern in patterns):
                continue
            kept[signal.name] = np.full(1, np.nan)
            text = " ".join(str(signal.comment or "").split())
            unit = signal.unit or "1"
            self.signals.append(Signal(name, unit, "measured", "pack", text, kept[signal.name]))
        if kept:
            self._messages[key], self._values[key] = message, kept

    def take(self, frame: Frame) -> None:
        """Decode a frame. One that does not fit its message is counted."""
        if frame.flags & (logs.ERROR | logs.REMOTE):
            return
        key = (frame.id, bool(frame.flags & logs.EXTENDED))
        if key not in self._messages:
            self.unknown += 1
            return
        try:
            values = self._messages[key].decode(frame.data, decode_choices=False)
        except Exception:  # cantools raises several kinds for bytes that do not fit
            self.failed += 1
            return
        for name, array in self._values[key].items():
            if name in values:
                array[0] = values[name]


def _database(path: Path) -> Any:
    import cantools

    try:
        return cantools.database.load_file(str(path), strict=False)
    except OSError as error:
        raise ConfigError("option", "--dbc", str(path), f"a file ({error.strerror})") from error
    except (cantools.Error, ValueError, KeyError) as error:
        raise ConfigError(
            "option", "--dbc", str(path), "a database that cantools reads (DBC, KCD, ARXML, SYM)"
        ) from error
