"""The log of candump -L (can-utils): one line a frame, which canplayer sends again."""

from __future__ import annotations

from pathlib import Path

from bms.recorder.export import Options
from bms.recorder.export.source import Source
from bms.recorder.logs import BRS, ERROR, EXTENDED, FD, REMOTE

TITLE = "candump log"
SUFFIXES = (".log", ".candump")
HOLDS = ("frames",)
EXTRA = ""

CAN_ERR_FLAG, CAN_ERR_BUSERROR = 0x20000000, 0x00000080  # linux/can.h, linux/can/error.h


def write(source: Source, path: Path, options: Options) -> str:
    """`(seconds.microseconds) can0 123#0011 R`: bus n is cann, R was received by the firmware."""
    count = 0
    with path.open("w", encoding="ascii") as file:
        for frames in source.frames():
            lines = []
            for t_ns, bus, direction, identifier, flags, data in frames:
                us = (t_ns + source.start_unix_ns) // 1000
                body = _frame(identifier, flags, data)
                lines.append(
                    f"({us // 1_000_000:010d}.{us % 1_000_000:06d}) can{bus} {body} "
                    f"{'T' if direction else 'R'}\n"
                )
            file.write("".join(lines))
            count += len(lines)
    return f"{count} frames"


def _frame(identifier: int, flags: int, data: bytes) -> str:
    if flags & ERROR:
        return f"{CAN_ERR_FLAG | CAN_ERR_BUSERROR:08X}#0000000000000000"
    head = f"{identifier:08X}" if flags & EXTENDED else f"{identifier:03X}"
    if flags & REMOTE:
        return f"{head}#R{len(data) or ''}"
    if flags & FD:
        return f"{head}##{1 if flags & BRS else 0}{data.hex().upper()}"
    return f"{head}#{data.hex().upper()}"
