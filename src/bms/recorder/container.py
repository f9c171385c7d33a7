"""The recording container: what is in the file, and the framing both sides agree on.

An Arrow IPC file is magic, schema message, record batch messages, end mark, footer. Messages follow
each other without gaps, so a file without its footer is read from the front. What Arrow lacks is a
way to know that a message is whole: here each message carries `check = "crc32/message:XXXXXXXX"` in
its custom metadata, the CRC-32 of all its bytes (head, metadata, body) with the eight digits taken
as zeros. Bytes that fail it are never given to a decoder, which is why a damaged file cannot do
harm.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from bms.errors import RecorderError

FORMAT = 2
READABLE = (1, 2)  # formats; 1 had neither rasters nor an overview
MAGIC = b"ARROW1\0\0"
END = b"\xff\xff\xff\xff\0\0\0\0"
TICK_NS = 10_000_000
TICK_HZ = 100.0
SLOW_HZ = 1.0

CHECK_KEY = "check"
CHECK_MARK = b"crc32/message:"
CHECK_EMPTY = CHECK_MARK + b"00000000"

METADATA_MAX = 16 << 20  # bytes; a schema with its configuration has about 50 kB
BODY_MAX = 1 << 30

KINDS = ("truth", "measured", "estimated", "command")

EVENTS = pa.list_(
    pa.struct(
        [
            ("t_ns", pa.int64()), ("kind", pa.string()), ("name", pa.string()),
            ("index", pa.int32()), ("value", pa.float32()), ("text", pa.string()),
        ]
    )
)  # fmt: skip
FRAMES = pa.list_(
    pa.struct(
        [
            ("t_ns", pa.int64()), ("bus", pa.uint8()), ("direction", pa.uint8()),
            ("id", pa.uint32()), ("flags", pa.uint8()), ("data", pa.binary()),
        ]
    )
)  # fmt: skip
UART = pa.list_(
    pa.struct(
        [
            ("t_ns", pa.int64()),
            ("line", pa.uint8()),
            ("direction", pa.uint8()),
            ("data", pa.binary()),
        ]
    )
)

ECU = pa.binary()  # steps of the firmware since the row before (ext/recorder/steps.h)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `index` is -1 and `value` NaN where they mean nothing."""

    t_ns: int
    kind: str
    name: str
    index: int = -1
    value: float = float("nan")
    text: str = ""

    @property
    def time_s(self) -> float:
        return self.t_ns * 1e-9


class Raster(NamedTuple):
    """value = number * step + offset. width: "i2" or "i4", whose least number means "no value"."""

    step: float
    offset: float = 0.0
    width: str = "i2"

    @property
    def missing(self) -> int:
        return int(np.iinfo(self.width).min)

    @classmethod
    def of(cls, step: float, least: float, most: float) -> Raster:
        """The narrowest that holds `least` to `most`."""
        if least >= -32767 * step and most <= 32767 * step:
            return cls(step)
        if round((most - least) / step) <= 65534:
            return cls(step, round((least + most) / 2 / step) * step)
        return cls(step, 0.0, "i4")


@dataclass(frozen=True)
class Signal:
    """One recorded quantity and where it lives.

    kind: truth, measured, estimated or command. rate: a frequency in Hz, or "pack" (every 10 ms
    tick), "slow" (1 Hz), "cells" (a vector, as sparse as the writer was told); whatever is not
    recorded every tick is so for 2 s round an event. source: contiguous array in the simulation's
    memory; more than one element makes a vector. The stored value is source * scale + offset.
    """

    name: str
    unit: str
    kind: str
    rate: str | float
    text: str
    source: np.ndarray
    scale: float = 1.0
    offset: float = 0.0
    raster: Raster | None = None
    origin: str = ""

    @property
    def is_vector(self) -> bool:
        return self.source.size > 1 or self.rate == "cells"

    @property
    def rate_hz(self) -> float:
        """Samples a second of a scalar."""
        words = {"pack": TICK_HZ, "slow": SLOW_HZ}
        return words.get(self.rate, 0.0) if isinstance(self.rate, str) else self.rate


def seal(data: bytearray, start: int) -> None:
    """Write its CRC-32 into the message that begins at `start` and carries CHECK_EMPTY."""
    size = message_size(memoryview(data), start)
    head = start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")
    place = data.find(CHECK_EMPTY, start, head)
    if place < 0 or data.find(CHECK_EMPTY, place + 1, head) >= 0:
        raise RecorderError("a message must carry exactly one empty check")
    place += len(CHECK_MARK)
    data[place : place + 8] = b"%08x" % zlib.crc32(memoryview(data)[start : start + size])


def is_sealed(message: memoryview) -> bool:
    """True when the CRC-32 a message carries is its own."""
    head = 8 + int.from_bytes(message[4:8], "little")
    metadata = bytes(message[:head])
    place = metadata.rfind(CHECK_MARK)
    if place < 0 or place + len(CHECK_EMPTY) > head:
        return False
    place += len(CHECK_MARK)
    blank = metadata[:place] + b"00000000" + metadata[place + 8 :]
    return b"%08x" % zlib.crc32(message[head:], zlib.crc32(blank)) == metadata[place : place + 8]


def message_size(data: memoryview, start: int, available: int | None = None) -> int:
    """Bytes of the message that begins at `start`; 0 when that is not whole.

    `data` need hold only its head and metadata when `available` says how many bytes there are.
    Reads the flatbuffer Message { version, header type, header, bodyLength } of Arrow's
    format/Message.fbs as far as bodyLength.
    """
    try:
        mark, size = struct.unpack_from("<Ii", data, start)
        if mark != 0xFFFFFFFF or not 16 <= size <= METADATA_MAX or start + 8 + size > len(data):
            return 0
        body = _body_length(data[start + 8 : start + 8 + size])
    except struct.error:
        return 0
    total = 8 + size + body
    room = len(data) - start if available is None else available
    return total if 0 <= body <= BODY_MAX and total <= room else 0


def _body_length(metadata: memoryview) -> int:
    (root,) = struct.unpack_from("<I", metadata, 0)
    (back,) = struct.unpack_from("<i", metadata, root)
    table = root - back
    if table < 0:
        return -1
    (table_size,) = struct.unpack_from("<H", metadata, table)
    if table_size < 4 + 2 * 4:  # bodyLength, the fourth field, is absent: 0
        return 0
    (place,) = struct.unpack_from("<H", metadata, table + 4 + 2 * 3)
    if place == 0:
        return 0
    (length,) = struct.unpack_from("<q", metadata, root + place)
    return int(length)


def plain(value: Any) -> Any:
    """JSON-ready copy: arrays become lists, paths and other objects text, NaN and inf null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
