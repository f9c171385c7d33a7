"""AUTOSAR end-to-end protection, profiles 1 (data ID mode BOTH) and 5: from whom, whole, fresh.

    P01   byte 0 CRC-8 SAE J1850, low nibble of byte 1 a counter from 0 to 14
    P05   bytes 0 and 1 CRC-16 CCITT-FALSE, low byte first, byte 2 a counter from 0 to 255

Every protected message of bms.dbc uses P01; P05 is for longer ones (CAN FD).

The data ID enters the CRC but not the frame, so a frame under another identifier fails
(masquerade). A `Receiver` judges each frame it is given; what it cannot see is silence, which is
the business of whoever knows the period. `ext/common/e2e.h` is profile 1 in C.

Source: AUTOSAR Classic Platform, Specification of SW-C End-to-End Communication Protection Library
and Specification of CRC Routines.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class Status(IntEnum):
    """Verdict on one received frame; the numbers of e2e_status_t."""

    OK = 0
    OK_SOME_LOST = 1
    INITIAL = 2
    REPEATED = 3
    WRONG_SEQUENCE = 4
    CRC_ERROR = 5

    @property
    def is_usable(self) -> bool:
        """The content may be used. The first valid frame may: whether it is fresh shows in what
        follows.
        """
        return self <= Status.INITIAL


def _crc8_table() -> tuple[int, ...]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = (crc << 1) ^ 0x1D if crc & 0x80 else crc << 1
        table.append(crc & 0xFF)
    return tuple(table)


def _crc16_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1
        table.append(crc & 0xFFFF)
    return tuple(table)


_CRC8, _CRC16 = _crc8_table(), _crc16_table()


def crc8_j1850(data: bytes) -> int:
    """CRC-8 SAE J1850 (polynomial 0x1D, start and final xor 0xFF); 0x4B for b"123456789"."""
    crc = 0xFF
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc ^ 0xFF


def crc16_ccitt_false(data: bytes | bytearray) -> int:
    """CRC-16 CCITT-FALSE (polynomial 0x1021, start 0xFFFF); 0x29B1 for b"123456789"."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc << 8 & 0xFFFF) ^ _CRC16[crc >> 8 ^ byte]
    return crc


# ---- profile 1 ----

P01_COUNTERS = 15
"""Counters 0 to 14; 15 is invalid."""


def p01_crc(data: bytes | bytearray, data_id: int) -> int:
    """CRC that belongs into byte 0. The profile's chaining leaves start 0x00 and no final exclusive
    or.
    """
    crc = _CRC8[_CRC8[data_id & 0xFF] ^ (data_id >> 8 & 0xFF)]
    for byte in data[1:]:
        crc = _CRC8[crc ^ byte]
    return crc


def p01_protect(data: bytes | bytearray, data_id: int, counter: int) -> bytes:
    """The frame with counter and CRC put in. data: at least 2 bytes, byte 0 and the low nibble of
    byte 1 are overwritten.
    """
    frame = bytearray(data)
    frame[1] = frame[1] & 0xF0 | counter % P01_COUNTERS
    frame[0] = p01_crc(frame, data_id)
    return bytes(frame)


def _p01_counter(data: bytes | bytearray, data_id: int) -> int | None:
    """The counter of a frame whose CRC is right, else None."""
    if len(data) < 2 or data[1] & 0x0F >= P01_COUNTERS or p01_crc(data, data_id) != data[0]:
        return None
    return data[1] & 0x0F


# ---- profile 5 ----

P05_COUNTERS = 256


def p05_crc(data: bytes | bytearray, data_id: int) -> int:
    """CRC that belongs into bytes 0 and 1, low byte first."""
    return crc16_ccitt_false(bytes(data[2:]) + (data_id & 0xFFFF).to_bytes(2, "little"))


def p05_protect(data: bytes | bytearray, data_id: int, counter: int) -> bytes:
    """The frame with counter and CRC in place. data: at least 3 bytes, bytes 0 to 2 are written."""
    frame = bytearray(data)
    frame[2] = counter % P05_COUNTERS
    frame[0:2] = p05_crc(frame, data_id).to_bytes(2, "little")
    return bytes(frame)


def _p05_counter(data: bytes | bytearray, data_id: int) -> int | None:
    if len(data) < 3 or p05_crc(data, data_id) != int.from_bytes(data[:2], "little"):
        return None
    return data[2]


# ---- both ends of a line ----

_PROFILES = {
    "P01": (P01_COUNTERS, p01_protect, _p01_counter),
    "P05": (P05_COUNTERS, p05_protect, _p05_counter),
}
PROFILES: tuple[str, ...] = tuple(_PROFILES)


@dataclass
class Sender:
    """Protects one message: the counter moves on with every frame."""

    data_id: int
    profile: str = "P01"
    counter: int = 0

    def protect(self, data: bytes) -> bytes:
        """The next frame. data: the payload with room for the header."""
        counters, protect, _ = _PROFILES[self.profile]
        frame = protect(data, self.data_id, self.counter)
        self.counter = (self.counter + 1) % counters
        return frame


@dataclass
class Receiver:
    """Judges the frames of one message. Any bytes may be given.

    max_delta: largest step of the counter that is accepted, so max_delta - 1 frames may be lost.
    After a wrong sequence the next frame is compared with the wrong one, so a sender that restarted
    is followed after one dropped frame. `counts` only rise.
    """

    data_id: int
    profile: str = "P01"
    max_delta: int = 2
    counter: int | None = None  # of the last frame with a good CRC

    def __post_init__(self) -> None:
        self.counts = dict.fromkeys(Status, 0)

    def check(self, data: bytes) -> Status:
        """The verdict on one frame."""
        status = self._judge(data)
        self.counts[status] += 1
        return status

    def _judge(self, data: bytes) -> Status:
        counters, _, counter_of = _PROFILES[self.profile]
        counter, last = counter_of(data, self.data_id), self.counter
        if counter is None:
            return Status.CRC_ERROR
        self.counter = counter
        if last is None:
            return Status.INITIAL
        delta = (counter - last) % counters
        if delta == 0:
            return Status.REPEATED
        if delta == 1:
            return Status.OK
        return Status.OK_SOME_LOST if delta <= self.max_delta else Status.WRONG_SEQUENCE

    def forget(self) -> None:
        """Start again, as after a time-out: the next valid frame is INITIAL."""
        self.counter = None


class Known(NamedTuple):
    """A frame that is right for a profile and data ID."""

    profile: str
    data_id: int
    counter: int
    frame: bytes


VECTORS = (
    Known("P01", 0x0123, 0, bytes.fromhex("CC 00 00 00 00 00 00 00")),
    Known("P01", 0x0123, 1, bytes.fromhex("80 01 11 22 33 44 55 66")),
    Known("P05", 0x1234, 0, bytes.fromhex("1C CA 00 00 00 00 00 00")),
)
