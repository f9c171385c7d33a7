"""SLCAN (Lawicel CAN232 ASCII) lines as messages: the compiled codec behind a protocol's face.

    t III L DD...   T IIIIIIII L DD...   data frames, 11 and 29 bit identifiers
    r III L         R IIIIIIII L         remote frames
    d D             b B                  CAN FD, without and with the faster data phase
    ...SSSS                              four more digits: milliseconds, wrapping at 60 000

Everything ends in CR. Digits are read in either case and written as capitals; `canonical` does the
same to a line. Commands and answers are the business of the links, not of the codec.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bms import _links
from bms._links import Frame
from bms.protocols import Malformed, Vector

MEDIUM: Final = "serial"
CR: Final = b"\r"
FAULTS = {
    "unknown": "not the letter of a frame",
    "digit": "no hexadecimal digit where one must be",
    "length": "more or fewer characters than the length says",
    "identifier": "identifier out of range",
}


class Line(msgspec.Struct, frozen=True):
    """A frame and, if its line has one, the adapter's time in milliseconds, 0 to 59 999."""

    frame: Frame
    stamp_ms: int | None = None


def decode(wire: bytes) -> Line | Malformed:
    """One line with its CR."""
    if not wire.endswith(CR) or CR in wire[:-1]:
        return Malformed("not one line")
    found = _links.slcan_decode(wire[:-1])
    return Malformed(FAULTS[found]) if isinstance(found, str) else Line(*found)


def encode(message: Line) -> bytes:
    """The line with its CR; empty for a frame that SLCAN has no line for."""
    return _links.slcan_encode(message.frame, message.stamp_ms)


def canonical(wire: bytes) -> bytes:
    """A well-formed line as `encode` writes it: capitals, and no data after a remote frame."""
    head = {b"r": 5, b"R": 10}.get(wire[:1], 0)
    data = 2 * int(wire[head - 1 : head], 16) if head else 0
    if data and len(wire) - 1 - head in (data, data + 4):
        wire = wire[:head] + wire[head + data :]
    return wire[:1] + wire[1:].upper()


MANUAL = "Lawicel CAN232 manual, version 3, command "
CANABLE = "CANable 2 firmware, slcan.c; length codes of ISO 11898-1"
VECTORS = (
    Vector(b"t10021133\r", Line(Frame(0x100, b"\x11\x33")), MANUAL + "t"),
    Vector(b"T0000010021133\r", Line(Frame(0x100, b"\x11\x33", extended=True)), MANUAL + "T"),
    Vector(b"r1002\r", Line(Frame(0x100, remote=True, length=2)), MANUAL + "r"),
    Vector(
        b"R000001002\r", Line(Frame(0x100, remote=True, length=2, extended=True)), MANUAL + "R"
    ),
    Vector(b"t7FF0\r", Line(Frame(0x7FF)), MANUAL + "t"),
    Vector(b"t1002113312AB\r", Line(Frame(0x100, b"\x11\x33"), 0x12AB), MANUAL + "Z"),
    Vector(
        b"d1239000102030405060708090A0B\r", Line(Frame(0x123, bytes(range(12)), fd=True)), CANABLE
    ),
    Vector(
        b"B18FF50E5F" + bytes(range(64)).hex().upper().encode() + b"\r",
        Line(Frame(0x18FF50E5, bytes(range(64)), extended=True, fd=True, brs=True)),
        CANABLE,
    ),
)  # fmt: skip
