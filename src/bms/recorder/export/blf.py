"""Vector BLF: a compressed binary log, through python-can."""

from __future__ import annotations

from pathlib import Path

from bms.recorder.export import Options
from bms.recorder.export.source import Source
from bms.recorder.logs import BRS, ERROR, EXTENDED, FD, REMOTE

TITLE = "Vector BLF"
SUFFIXES = (".blf",)
HOLDS = ("frames",)
EXTRA = ""


def write(source: Source, path: Path, options: Options) -> str:
    """Times are seconds since the recording's zero; bus n is channel n + 1."""
    import can

    count, last_s = 0, 0.0
    with path.open("wb") as file:
        writer = can.BLFWriter(file)
        writer.start_timestamp = 0.0  # small numbers keep their nanoseconds in a float
        for frames in source.frames():
            for t_ns, bus, direction, identifier, flags, data in frames:
                last_s = max(t_ns, 0) * 1e-9
                message = can.Message(
                    timestamp=(max(t_ns, 0) + 0.5) * 1e-9,  # the writer cuts to nanoseconds
                    channel=bus, arbitration_id=identifier, dlc=len(data),
                    data=None if flags & REMOTE else data, is_rx=direction == 0,
                    is_extended_id=bool(flags & EXTENDED), is_remote_frame=bool(flags & REMOTE),
                    is_error_frame=bool(flags & ERROR), is_fd=bool(flags & FD),
                    bitrate_switch=bool(flags & BRS),
                )  # fmt: skip
                writer.on_message_received(message)
            count += len(frames)
        writer.start_timestamp = source.start_unix_ns * 1e-9  # the date in the head of the file
        writer.stop_timestamp = writer.start_timestamp + last_s
        writer.stop()
    return f"{count} frames"
