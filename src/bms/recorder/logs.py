"""Logs of real buses: candump, ASC, BLF, MDF 4 -> frames.

    log = open_log("bench.blf")
    for frame in log: ...              # recorder.Frame, times since the log's zero
    log.malformed, log.start_unix_ns   # lines or objects that made no sense; when zero was, or 0

What is in a file never raises while it is read: a line that makes no sense is counted and skipped,
and a damaged binary file ends where the damage begins, counted once. Times that are dates (candump,
MDF) are taken apart: `start_unix_ns` and nanoseconds since then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from bms.errors import ConfigError
from bms.recorder import Frame, Frames

EXTENDED, REMOTE, FD, BRS, ERROR = 1, 2, 4, 8, 16  # ecu_can_frame_t.flags
TO_FIRMWARE, FROM_FIRMWARE = 0, 1

KINDS = {
    "candump": (".log", ".candump"),
    "asc": (".asc",),
    "blf": (".blf",),
    "mdf4": (".mf4", ".mdf"),
}
MAGIC = {b"LOGG": "blf", b"MDF     ": "mdf4", b"UnFinMF ": "mdf4"}
CHUNK = 4096  # frames
LINE_MAX = 1 << 16  # bytes; a longer line is not a frame
LENGTHS = (*range(9), 12, 16, 20, 24, 32, 48, 64)  # of CAN FD data, by code
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DATED_NS = 10**17  # 1973: a time beyond it is a date, one before it counts from the log's zero


def length_code(size: int) -> int:
    """The length code of a frame with so many bytes of data."""
    return next(code for code, length in enumerate(LENGTHS) if length >= size)


def kind_of(path: Path) -> str:
    """ "candump", "asc", "blf" or "mdf4"; "" when the file is none of them, by begin and name."""
    try:
        with path.open("rb") as file:
            begin = file.read(8)
    except OSError:
        begin = b""
    for mark, kind in MAGIC.items():
        if begin.startswith(mark):
            return kind
    ends = (kind for kind, suffixes in KINDS.items() if path.name.lower().endswith(suffixes))
    return next(ends, "")


class BusLog:
    """A log, read from its beginning by every iteration. See the module."""

    kind = ""

    def __init__(self, path: Path) -> None:
        self.path, self.malformed, self.start_unix_ns = path, 0, 0

    def __iter__(self) -> Iterator[Frame]:
        raise TypeError("a BusLog is made by open_log")

    def chunks(self, size: int = CHUNK) -> Iterator[Frames]:
        """The frames as arrays, some thousand at a time."""
        kept: list[Frame] = []
        for frame in self:
            kept.append(frame)
            if len(kept) == size:
                yield together(kept)
                kept.clear()
        if kept:
            yield together(kept)


def together(frames: list[Frame]) -> Frames:
    """Frames as arrays."""
    kinds = (np.int64, np.uint8, np.uint8, np.uint32, np.uint8)
    columns = list(zip(*frames, strict=True)) if frames else [()] * 6
    t_ns, bus, direction, identifier, flags = (
        np.array(column, kind) for column, kind in zip(columns[:5], kinds, strict=True)
    )
    data = pa.chunked_array([pa.array(columns[5], pa.binary())])
    return Frames(t_ns, bus, direction, identifier, flags, data)


def open_log(path: str | Path, kind: str = "") -> BusLog:
    """A bus log for reading. ConfigError when it cannot be opened or its format is not known."""
    path = Path(path)
    kind = kind or kind_of(path)
    if kind not in READERS:
        raise ConfigError("option", "LOG", str(path), f"a log of {', '.join(READERS)}")
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError("option", "LOG", str(path), f"a file ({error.strerror})") from error
    return READERS[kind](path)


class _Buses:
    """Numbers for the names of interfaces: can3 is 3; another name gets the next free number."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def number(self, name: str) -> int:
        if name not in self.known:
            digits = re.search(r"(\d{1,3})$", name)
            wanted = int(digits[1]) if digits else 0
            taken = set(self.known.values())
            free = next(n for n in range(256) if n not in taken or n == 255)
            self.known[name] = wanted if wanted < 256 and wanted not in taken else free
        return self.known[name]


class Candump(BusLog):
    """Lines of `candump -L`: `(1436509052.249713) can0 123#DEADBEEF R`."""

    kind = "candump"
    LINE = re.compile(
        rb"\s*\((\d{1,12})\.(\d{1,9})\)\s+([\w.:-]{1,32})\s+([0-9A-Fa-f]{3}|[0-9A-Fa-f]{8})#"
        rb"(?:(#)([0-9A-Fa-f])|([Rr])([0-9A-Fa-f])?)?([0-9A-Fa-f.]*)(?:\s+([RrTt]))?\s*$"
    )

    def __iter__(self) -> Iterator[Frame]:
        self.malformed, buses, zero_ns = 0, _Buses(), -1
        for line in _lines(self.path):
            found = self.LINE.match(line)
            frame = self._frame(found, buses) if found else None
            if frame is None:
                self.malformed += bool(line.strip())
                continue
            if zero_ns < 0:
                zero_ns = frame.t_ns if frame.t_ns >= DATED_NS else 0
                self.start_unix_ns = zero_ns
            yield frame._replace(t_ns=frame.t_ns - zero_ns)

    @staticmethod
    def _frame(found: re.Match[bytes], buses: _Buses) -> Frame | None:
        seconds, part, name, identifier, fd, marks, remote, size, text, way = found.groups()
        t_ns = int(seconds) * 1_000_000_000 + int(part.ljust(9, b"0"))
        number, flags = int(identifier, 16), EXTENDED if len(identifier) == 8 else 0
        bus, direction = buses.number(name.decode()), int(way in (b"T", b"t"))
        if number & 0x20000000 and flags:
            return Frame(t_ns, bus, direction, 0, ERROR, b"")
        digits = text.replace(b".", b"")
        if number >= (1 << 29 if flags else 1 << 11) or len(digits) % 2 or (remote and digits):
            return None
        if remote:
            length = min(int(size, 16), 8) if size else 0
            return Frame(t_ns, bus, direction, number, flags | REMOTE, bytes(length))
        data = bytes.fromhex(digits.decode())
        if fd:
            flags |= FD | (BRS if int(marks, 16) & 1 else 0)
        return _checked(t_ns, bus, direction, number, flags, data)


class Asc(BusLog):
    """Vector ASC. Only frames are read; statistics, triggers and other events are passed over."""

    kind = "asc"
    HEAD = re.compile(rb"\s*base\s+(hex|dec)(?:\s+timestamps\s+(absolute|relative))?", re.I)
    DATE = re.compile(rb"\s*date\s+(.+)", re.I)
    FRAME = re.compile(rb"\s*(\d{1,10})\.(\d{1,9})\s+(CANFD\s+)?(\d{1,3})\s+(.*)$", re.I)
    OTHER = re.compile(rb"\s*(?:$|//|\d+\.\d+\s+(?!CANFD)\D|\D)", re.I)
    ERRORFRAME = re.compile(rb"(?:(Rx|Tx)\s+)?ErrorFrame", re.I)
    STATISTIC = re.compile(rb"(?:Statistic|Status|J1939|\w+:)", re.I)

    def __iter__(self) -> Iterator[Frame]:
        self.malformed, base, is_relative, before_ns = 0, 16, False, 0
        for line in _lines(self.path):
            found = self.FRAME.match(line)
            if found is None:
                if head := self.HEAD.match(line):
                    base = 10 if head[1].lower() == b"dec" else 16
                    is_relative = (head[2] or b"").lower() == b"relative"
                elif dated := self.DATE.match(line):
                    self.start_unix_ns = _date_ns(dated[1])
                elif not self.OTHER.match(line):
                    self.malformed += 1
                continue
            seconds, part, fd, channel, rest = found.groups()
            t_ns = int(seconds) * 1_000_000_000 + int(part.ljust(9, b"0"))
            t_ns = before_ns = t_ns + (before_ns if is_relative else 0)
            if self.STATISTIC.match(rest):
                continue
            try:
                frame = self._frame(t_ns, max(0, int(channel) - 1) & 0xFF, fd, rest, base)
            except (ValueError, IndexError):
                frame = None
            if frame is None:
                self.malformed += 1
                continue
            yield frame

    def _frame(self, t_ns: int, bus: int, fd: bytes | None, rest: bytes, base: int) -> Frame | None:
        error = self.ERRORFRAME.match(rest)
        if error:
            return Frame(t_ns, bus, int((error[1] or b"rx").lower() == b"tx"), 0, ERROR, b"")
        words = rest.split()
        if fd:  # direction id [name] brs esi code length data ...
            direction, name = words[0], words[1]
            at = 2 if words[2] in (b"0", b"1") and words[3] in (b"0", b"1") else 3
            flags, size = FD | (BRS if words[at] == b"1" else 0), int(words[at + 3])
            data = bytes(int(w, base) for w in words[at + 4 :][:size])
        else:  # id direction d code data ..., or id direction r [code]
            name, direction, kind = words[:3]
            size = int(words[3], 16) if len(words) > 3 and len(words[3]) == 1 else 0
            flags = REMOTE if kind.lower() == b"r" else 0
            data = bytes(min(size, 8))
            if not flags:
                size = min(size, 8)
                data = bytes(int(w, base) for w in words[4:][:size])
        if len(data) != size and not flags & REMOTE:
            return None
        is_extended = name[-1:].lower() == b"x"
        flags |= EXTENDED if is_extended else 0
        number = int(name[:-1] if is_extended else name, base)
        if direction.lower() not in (b"rx", b"tx"):
            return None
        return _checked(t_ns, bus, int(direction.lower() == b"tx"), number, flags, data)


class Blf(BusLog):
    """Vector BLF, through python-can."""

    kind = "blf"

    def __iter__(self) -> Iterator[Frame]:
        import can

        self.malformed = 0
        try:
            with self.path.open("rb") as file:
                reader = can.BLFReader(file)
                self.start_unix_ns = round(reader.start_timestamp * 1000) * 1_000_000
                reader.start_timestamp = 0.0  # small numbers keep their nanoseconds in a float
                for message in reader:
                    frame = self._frame(message)
                    if frame is None:
                        self.malformed += 1
                    else:
                        yield frame
        except (GeneratorExit, MemoryError, KeyboardInterrupt):
            raise
        except Exception:  # python-can raises struct, zlib, value, type errors for damaged files
            self.malformed += 1

    @staticmethod
    def _frame(message: object) -> Frame | None:
        import can

        assert isinstance(message, can.Message)
        t_ns, bus = round(message.timestamp * 1e9), int(str(message.channel or 0)) & 0xFF
        direction = int(not message.is_rx)
        if message.is_error_frame:
            return Frame(t_ns, bus, direction, 0, ERROR, b"")
        flags = (
            EXTENDED * message.is_extended_id | FD * message.is_fd | BRS * message.bitrate_switch
        )
        if message.is_remote_frame:
            data, flags = bytes(min(message.dlc, 8)), flags | REMOTE
        else:
            data = bytes(message.data)[: message.dlc]
        return _checked(t_ns, bus, direction, message.arbitration_id, flags, data)


class Mdf4(BusLog):
    """ASAM MDF 4 with bus logging (CAN_DataFrame and its like), through asammdf."""

    kind = "mdf4"

    def __iter__(self) -> Iterator[Frame]:
        from bms.recorder import mdf

        self.malformed = 0
        try:
            with mdf.opened(self.path) as file:
                self.start_unix_ns = mdf.start_unix_ns(file)
                for row in mdf.frames(file):
                    frame = _checked(*row)
                    if frame is None:
                        self.malformed += 1
                    else:
                        yield frame
        except (GeneratorExit, MemoryError, KeyboardInterrupt, ConfigError):
            raise
        except Exception:  # asammdf raises whatever its parser meets in a damaged file
            self.malformed += 1


READERS: dict[str, type[BusLog]] = {k.kind: k for k in (Candump, Asc, Blf, Mdf4)}


def _checked(
    t_ns: int, bus: int, direction: int, number: int, flags: int, data: bytes
) -> Frame | None:
    """A frame that can exist on a wire; None for one that cannot."""
    room = 64 if flags & FD else 8
    limit = 1 << 29 if flags & EXTENDED else 1 << 11
    is_sound = len(data) <= room and 0 <= number < limit and -(2**62) < t_ns < 2**62
    is_sound &= not flags & FD or len(data) in LENGTHS
    return Frame(t_ns, bus, direction, number, flags, data) if is_sound else None


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of a text file, none longer than LINE_MAX."""
    with path.open("rb") as file:
        while line := file.readline(LINE_MAX):
            yield line


def _date_ns(text: bytes) -> int:
    """The date in the head of an ASC file, 0 when it is 1970 or nobody can read it."""
    words = text.decode("latin-1").lower().replace(".", " ").replace(":", " ").split()
    try:
        month = MONTHS.index(words[1][:3].title()) + 1
        day, hour, minute, second = (int(w) for w in words[2:6])
        if {"am", "pm"} & set(words):
            hour = hour % 12 + 12 * ("pm" in words)
        fraction = int(words[6].ljust(3, "0")) if re.fullmatch(r"\d{1,3}", words[6]) else 0
        at = datetime(int(words[-1]), month, day, hour, minute, second, tzinfo=UTC)
    except (ValueError, IndexError):
        return 0
    unix_ns = int(at.timestamp()) * 1_000_000_000 + fraction * 1_000_000
    return unix_ns if unix_ns >= DATED_NS else 0
