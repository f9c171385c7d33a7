"""pcapng for Wireshark and tshark: SocketCAN frames (link type 227), one interface a bus.

Blocks and options as in the pcapng specification (IETF draft-ietf-opsawg-pcapng): section header,
one interface description each bus with name and nanosecond time stamps, one enhanced packet a
frame. A packet is a can_frame or canfd_frame of linux/can.h whose identifier is big-endian, as the
link type asks.
"""

from __future__ import annotations

import struct
from pathlib import Path

from bms.recorder.export import Options
from bms.recorder.export.source import Source
from bms.recorder.logs import BRS, ERROR, EXTENDED, FD, REMOTE

TITLE = "pcapng"
SUFFIXES = (".pcapng",)
HOLDS = ("frames",)
EXTRA = ""

LINKTYPE_CAN_SOCKETCAN = 227
EFF_FLAG, RTR_FLAG, ERR_FLAG, ERR_BUSERROR = 0x80000000, 0x40000000, 0x20000000, 0x80
FD_MARK, FD_BRS = 0x04, 0x01
IF_NAME, IF_TSRESOL, EPB_FLAGS, SHB_USERAPPL = 2, 9, 2, 4
INBOUND, OUTBOUND = 1, 2


def write(source: Source, path: Path, options: Options) -> str:
    """Every frame with its bus and direction; frames the firmware got are inbound."""
    interfaces: dict[int, int] = {}
    count = 0
    with path.open("wb") as file:
        section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
        file.write(_block(0x0A0D0D0A, section + _option(SHB_USERAPPL, b"solid-bms")))
        for frames in source.frames():
            blocks = []
            for t_ns, bus, direction, identifier, flags, data in frames:
                if bus not in interfaces:
                    interfaces[bus] = len(interfaces)
                    blocks.append(_interface(bus))
                packet = packet_of(identifier, flags, data)
                at = max(0, t_ns + source.start_unix_ns)
                head = struct.pack(
                    "<IIIII", interfaces[bus], at >> 32, at & 0xFFFFFFFF, len(packet), len(packet)
                )
                way = OUTBOUND if direction else INBOUND
                options_bytes = _option(EPB_FLAGS, struct.pack("<I", way))
                blocks.append(_block(6, head + packet + options_bytes))
                count += 1
            file.write(b"".join(blocks))
    return f"{count} frames on {len(interfaces)} buses"


def packet_of(identifier: int, flags: int, data: bytes) -> bytes:
    """A frame as SocketCAN gives it; a classic one has 16 bytes, an FD one 72."""
    if flags & ERROR:
        return struct.pack(">IBBBB8x", ERR_FLAG | ERR_BUSERROR, 8, 0, 0, 0)
    word = identifier | (EFF_FLAG if flags & EXTENDED else 0) | (RTR_FLAG if flags & REMOTE else 0)
    if flags & FD:
        marks = FD_MARK | (FD_BRS if flags & BRS else 0)
        return struct.pack(">IBBBB", word, len(data), marks, 0, 0) + data.ljust(64, b"\0")
    body = b"" if flags & REMOTE else data
    return struct.pack(">IBBBB", word, len(data), 0, 0, 0) + body.ljust(8, b"\0")


def _interface(bus: int) -> bytes:
    body = struct.pack("<HHI", LINKTYPE_CAN_SOCKETCAN, 0, 0)
    name = _option(IF_NAME, f"can{bus}".encode(), last=False)
    return _block(1, body + name + _option(IF_TSRESOL, b"\x09"))


def _option(code: int, value: bytes, last: bool = True) -> bytes:
    padded = value + b"\0" * (-len(value) % 4)
    end = b"\0\0\0\0" if last else b""
    return struct.pack("<HH", code, len(value)) + padded + end


def _block(kind: int, body: bytes) -> bytes:
    total = 12 + len(body) + (-len(body) % 4)
    padding = b"\0" * (-len(body) % 4)
    return struct.pack("<II", kind, total) + body + padding + struct.pack("<I", total)
