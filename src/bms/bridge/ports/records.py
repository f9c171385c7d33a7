"""What goes through a tunnel, inside TLS: messages of a length, a kind and a body.

    length u32 | kind u8 | body                   numbers are little-endian; at most MOST bytes
    HELLO   magic, nonce 16, stream 16, wall time ns u64, first u64, lost u64
    READY   the other side's nonce, 16
    FRAMES  first u64, lost u64, width u8, origins u8, count u16, origin 8 each, records
    BYE     nothing: it ends as it was told to

A record is a frame with its original wall time in nanoseconds, the bridges it crossed and the
number of its origin among those of the message; width is 8 or 64 bytes of data. `first` counts
frames of a stream from 0, `lost` those of which the sender knows that it never sent them. A
message without frames tells that the line is alive, and both numbers.
"""

from __future__ import annotations

import struct

import msgspec
import numpy as np
from numpy.typing import NDArray

from bms.bridge.ports.base import BATCH, CLOCK, Batch, room_for
from bms.protocols import Malformed

MAGIC = b"solid-bms tunnel 1\n"
HELLO, READY, FRAMES, BYE = 1, 2, 3, 4
MOST = 1 << 16
HEAD = struct.Struct("<IB")
_HELLO = struct.Struct(f"<{len(MAGIC)}s16s16sQQQ")
_FRAMES = struct.Struct("<QQBBH")
HOPS_MASK, ORIGINS_MOST = 7, 31
KNOWN_FLAGS = 0x0F  # extended, remote, FD, bit rate switch
FD_LENGTHS = np.isin(np.arange(256), (*range(9), 12, 16, 20, 24, 32, 48, 64))


def _record(width: int) -> np.dtype[np.void]:
    return np.dtype(
        [("time_ns", "<u8"), ("id", "<u4"), ("length", "u1"), ("flags", "u1"), ("hops", "u1"),
         ("origin", "u1"), ("data", "u1", (width,))]
    )  # fmt: skip


RECORD = {width: _record(width) for width in (8, 64)}


class Hello(msgspec.Struct, frozen=True):
    """The first word of either side."""

    nonce: bytes
    stream: bytes
    unix_ns: int
    first: int
    lost: int


class Load(msgspec.Struct, frozen=True):
    """A message of frames. `frames` has hops and origin number apart, in `origin_of`."""

    first: int
    lost: int
    frames: Batch
    origins: tuple[bytes, ...]
    origin_of: NDArray[np.uint8]
    wrong: int
    """Records that are no frames; they are left out of `frames`."""

    @property
    def count(self) -> int:
        """Numbers it uses up."""
        return len(self.frames) + self.wrong


def message(kind: int, body: bytes = b"") -> bytes:
    """With its length."""
    return HEAD.pack(len(body), kind) + body


def hello(nonce: bytes, stream: bytes, unix_ns: int, first: int = 0, lost: int = 0) -> bytes:
    """HELLO."""
    return message(HELLO, _HELLO.pack(MAGIC, nonce, stream, unix_ns, first, lost))


def read_hello(body: bytes) -> Hello | Malformed:
    """The reverse; anything else is Malformed."""
    if len(body) != _HELLO.size or not body.startswith(MAGIC):
        return Malformed("hello")
    return Hello(*_HELLO.unpack(body)[1:])


def load(first: int, lost: int, frames: Batch, names: list[bytes]) -> bytes:
    """FRAMES. `reserved` of a frame: hops, and above them the number of its origin in `names`."""
    width = 64 if len(frames) and int(frames["length"].max()) > 8 else 8
    records = np.zeros(len(frames), RECORD[width])
    records["time_ns"] = CLOCK.unix_ns(frames["time_us"])
    for key in ("id", "length", "flags"):
        records[key] = frames[key]
    records["hops"] = frames["reserved"] & HOPS_MASK
    used, numbers = np.unique(frames["reserved"] >> 3, return_inverse=True)
    records["origin"] = numbers
    records["data"] = frames["data"][:, :width]
    head = _FRAMES.pack(first, lost, width, len(used), len(frames))
    origins = b"".join(names[k] if k < len(names) else names[0] for k in used)
    return message(FRAMES, head + origins + records.tobytes())


def read_load(body: bytes) -> Load | Malformed:
    """The reverse. Records that no frame can be are counted in `wrong`."""
    if len(body) < _FRAMES.size:
        return Malformed("length")
    first, lost, width, origins, count = _FRAMES.unpack_from(body)
    dtype = RECORD.get(width)
    if dtype is None or count > BATCH or origins > ORIGINS_MOST + 1:
        return Malformed("head")
    at = _FRAMES.size + 8 * origins
    if len(body) != at + count * dtype.itemsize or (count and not origins):
        return Malformed("length")
    names = tuple(body[at - 8 * (origins - k) :][:8] for k in range(origins))
    records = np.frombuffer(body, dtype, count, at)
    is_sound = _sound(records, origins, width)
    good = records[is_sound]
    frames = room_for(len(good))
    frames["time_us"] = CLOCK.time_us(good["time_ns"])
    for key in ("id", "length", "flags"):
        frames[key] = good[key]
    frames["reserved"] = good["hops"]
    frames["data"][:, :width] = good["data"]
    return Load(first, lost, frames, names, good["origin"].copy(), count - len(good))


def _sound(records: Batch, origins: int, width: int) -> NDArray[np.bool_]:
    flags, length = records["flags"], records["length"]
    is_fd = (flags & 4) != 0
    sound = (flags & ~np.uint8(KNOWN_FLAGS)) == 0
    sound &= records["id"] < np.where(flags & 1, 1 << 29, 1 << 11)
    sound &= np.where(is_fd, FD_LENGTHS[length], length <= 8) & (length <= width)
    sound &= ~(is_fd & ((flags & 2) != 0)) & (is_fd | ((flags & 8) == 0))
    sound &= (records["hops"] <= HOPS_MASK) & (records["origin"] < origins)
    return np.asarray(sound, np.bool_)


class Parser:
    """Messages out of a stream of bytes, bounded. `error` is set for good when one cannot be."""

    def __init__(self, most: int = MOST) -> None:
        self._waiting, self._most, self.error = bytearray(), most, ""

    def allow(self, most: int = MOST) -> None:
        """Messages of this size from now on."""
        self._most = most

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Whole messages."""
        found: list[tuple[int, bytes]] = []
        self._waiting += data
        while not self.error and len(self._waiting) >= HEAD.size:
            size, kind = HEAD.unpack_from(self._waiting)
            if size > self._most or not HELLO <= kind <= BYE:
                self.error = "length" if size > self._most else "kind"
                self._waiting.clear()
                break
            if len(self._waiting) < HEAD.size + size:
                break
            found.append((kind, bytes(self._waiting[HEAD.size : HEAD.size + size])))
            del self._waiting[: HEAD.size + size]
        return found
