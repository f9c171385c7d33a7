"""Vector ASC: a log as text, read by CANalyzer, BUSMASTER, SavvyCAN and others.

Written here and not with python-can, whose writer takes the first frame as time zero and today as
the date: a recording would come back shifted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bms.recorder.export import Options
from bms.recorder.export.source import Source
from bms.recorder.logs import BRS, ERROR, EXTENDED, FD, MONTHS, REMOTE, length_code

TITLE = "Vector ASC"
SUFFIXES = (".asc",)
HOLDS = ("frames",)
EXTRA = ""

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def date(unix_ns: int) -> str:
    """A date as the head of an ASC file has it, in any locale."""
    at = datetime.fromtimestamp(unix_ns // 1_000_000_000, UTC)
    clock = f"{at:%H:%M:%S}.{unix_ns // 1_000_000 % 1000:03d}"
    return f"{DAYS[at.weekday()]} {MONTHS[at.month - 1]} {at.day:02d} {clock} {at.year}"


def write(source: Source, path: Path, options: Options) -> str:
    """Times are seconds since the recording's zero; bus n is channel n + 1."""
    started, count = date(source.start_unix_ns), 0
    with path.open("w", encoding="ascii") as file:
        file.write(f"date {started}\nbase hex  timestamps absolute\ninternal events logged\n")
        file.write(f"Begin Triggerblock {started}\n 0.000000 Start of measurement\n")
        for frames in source.frames():
            lines = []
            for t_ns, bus, direction, identifier, flags, data in frames:
                body = _frame(bus + 1, direction, identifier, flags, data)
                us = t_ns // 1000
                lines.append(f"{us // 1_000_000:4d}.{us % 1_000_000:06d} {body}\n")
            file.write("".join(lines))
            count += len(lines)
        file.write("End TriggerBlock\n")
    return f"{count} frames"


def _frame(channel: int, direction: int, identifier: int, flags: int, data: bytes) -> str:
    way = "Tx" if direction else "Rx"
    name = f"{identifier:X}{'x' if flags & EXTENDED else ''}"
    if flags & ERROR:
        return f"{channel}  ErrorFrame"
    if flags & FD:
        brs, size = int(bool(flags & BRS)), len(data)
        told = " ".join(f"{byte:02x}" for byte in data)
        head = f"CANFD {channel:3d} {way:4} {name:>8}  {'':>32} {brs} 0"
        tail = f"{0:8d} {0:4d} {0x1000 | brs << 13:8X} {0:8d} {0:8d} {0:8d} {0:8d} {0:8d}"
        return f"{head} {length_code(size):x} {size:2d} {told} {tail}"
    kind = "r" if flags & REMOTE else "d"
    told = "" if flags & REMOTE else " ".join(f"{byte:02X}" for byte in data)
    return f"{channel}  {name:<15} {way:4} {kind} {len(data):x} {told}".rstrip()
