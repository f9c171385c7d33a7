"""Behind the batches of a closed recording: the overview, and a directory of all of it.

    END  [pages of the overview]  directory  closing  Arrow footer

The closing is 40 bytes: magic, place and size of the directory, CRC-32 of the directory and of the
footer. The directory is JSON (levels of the overview and their pages) and one row of five int64 for
each batch (place, size, rows, first and last time). Arrow readers go from the footer to the batches
and never look here.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

import numpy as np

MAGIC = b"BMSINDEX"
CLOSING = struct.Struct("<8sQQIIQ")
SIZE_MAX = 256 << 20  # bytes of a directory; 40 a batch of 40 s


class Page(NamedTuple):
    """Where a page of the overview lies, from the beginning of all pages, and how many bins."""

    start: int
    bins: int


@dataclass(frozen=True)
class Overview:
    """The pages of an overview in a spool, and where each is. ticks[k]: rows in a bin of level
    k."""

    spool: IO[bytes]
    ticks: tuple[int, ...]
    pages: tuple[tuple[Page, ...], ...]
    signals: tuple[str, ...]


def closing(
    table: np.ndarray, overview: Overview | None, pages_at: int, at: int, foot: bytes
) -> bytes:
    """Directory and closing, to be written at `at`, before the footer `foot`.

    table: int64 of shape (batches, 5). pages_at: where the pages begin.
    """
    levels = [
        {"ticks": ticks, "pages": [[pages_at + p.start, p.bins] for p in pages]}
        for ticks, pages in (zip(overview.ticks, overview.pages, strict=True) if overview else ())
    ]
    words = {
        "batches": len(table), "levels": levels,
        "signals": list(overview.signals) if overview else [],
    }  # fmt: skip
    text = json.dumps(words).encode()
    data = struct.pack("<Q", len(text)) + text + table.astype("<i8").tobytes()
    pad = -(at + len(data) + CLOSING.size) % 8
    size = len(data)
    data += bytes(pad)
    return data + CLOSING.pack(MAGIC, at, size, zlib.crc32(data[:size]), zlib.crc32(foot), 0)


class Directory(NamedTuple):
    """What a closed file says of itself. levels: [{ticks, pages: [[place, bins]]}]."""

    table: np.ndarray
    levels: list[dict[str, Any]]
    signals: list[str]


def read(descriptor: int, size: int) -> Directory | None:
    """The directory of a file of `size` bytes; None when it was not closed, or is damaged."""
    tail = os.pread(descriptor, 10, max(0, size - 10))
    if len(tail) < 10 or tail[4:] != b"ARROW1":
        return None
    foot_size = int.from_bytes(tail[:4], "little")
    foot_at = size - 10 - foot_size
    if not CLOSING.size <= foot_at <= size or foot_size > SIZE_MAX:
        return None
    foot = os.pread(descriptor, foot_size + 10, foot_at)
    raw = os.pread(descriptor, CLOSING.size, foot_at - CLOSING.size)
    magic, at, length, check, foot_check, _ = CLOSING.unpack(raw)
    if (
        magic != MAGIC
        or length > min(SIZE_MAX, size)
        or at > size
        or zlib.crc32(foot) != foot_check
    ):
        return None
    data = os.pread(descriptor, length, at)
    if len(data) != length or zlib.crc32(data) != check:
        return None
    return _decoded(data, size)


def _decoded(data: bytes, size: int) -> Directory | None:
    """None for words that a right check protects but that make no sense."""
    try:
        (text_size,) = struct.unpack_from("<Q", data)
        words = json.loads(data[8 : 8 + text_size])
        table = np.frombuffer(data[8 + text_size :], "<i8").reshape(int(words["batches"]), 5)
        levels, signals = words["levels"], [str(s) for s in words["signals"]]
        places = [p for level in levels for p in level["pages"]]
        sound = all(int(level["ticks"]) > 0 for level in levels)
        sound &= all(0 <= int(p[0]) <= size and 0 <= int(p[1]) <= 1 << 20 for p in places)
    except (ValueError, KeyError, TypeError, IndexError, struct.error):
        return None
    start, length, rows = table[:, 0], table[:, 1], table[:, 2]
    sound &= bool(((start >= 0) & (length > 0) & (start + length <= size) & (rows > 0)).all())
    return Directory(table, levels, signals) if sound else None
