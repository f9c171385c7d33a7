"""CAN bus logging in ASAM MDF 4 files, as the standard's bus events lay it out.

A bus event is a structure channel CAN_DataFrame, CAN_RemoteFrame or CAN_ErrorFrame whose members
(ID, IDE, DLC, DataLength, DataBytes, Dir, EDL, BRS, BusChannel) carry the frame. Bus channels
count from 1. Needs asammdf.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from bms.errors import ConfigError

DATA, REMOTE, ERROR = "CAN_DataFrame", "CAN_RemoteFrame", "CAN_ErrorFrame"
KINDS = {DATA: 0, REMOTE: 2, ERROR: 16}
CHUNK = 20_000  # records

Row = tuple[int, int, int, int, int, bytes]


def layout(name: str) -> np.dtype:
    """The members of a bus event, in the order of the standard's tables."""
    members: list[tuple[str, Any]] = [
        ("BusChannel", "<u1"), ("ID", "<u4"), ("IDE", "<u1"), ("DLC", "<u1"),
        ("DataLength", "<u1"),
    ]  # fmt: skip
    if name != REMOTE:
        members.append(("DataBytes", "(64,)u1"))
    members.append(("Dir", "<u1"))
    if name != REMOTE:
        members += [("EDL", "<u1"), ("BRS", "<u1"), ("ESI", "<u1")]
    return np.dtype([(f"{name}.{member}", *kind) for member, *kind in members])


def opened(path: Path) -> Any:
    """The file, opened by asammdf; close it. ConfigError names the extra when it is missing."""
    try:
        import asammdf
    except ImportError as error:
        raise ConfigError(
            "option", "LOG", str(path), "the package asammdf: pip install 'solid-bms[export]'"
        ) from error
    from asammdf.blocks.mdf_v4 import MDF4

    # its own complains on stderr when a damaged file could not be opened
    MDF4.__del__ = _forget  # type: ignore[method-assign]
    return asammdf.MDF(str(path))


def _forget(file: Any) -> None:
    with suppress(Exception):
        file.close()


def start_unix_ns(file: Any) -> int:
    """When the measurement began, 0 for 1970."""
    return int(file.header.start_time.timestamp() * 1000) * 1_000_000


def frames(file: Any) -> Iterator[Row]:
    """(t_ns, bus, direction, id, flags, data) of every frame, in the order of time."""
    groups = []
    for index, group in enumerate(file.groups):
        names = {channel.name for channel in group.channels}
        for kind in KINDS:
            if f"{kind}.BusChannel" in names or f"{kind}.ID" in names:
                groups.append((index, kind, names, group.channel_group.cycles_nr))
    first = min((_first_bus(file, *group) for group in groups), default=1)
    streams = [_group(file, *group, first=first) for group in groups]
    yield from heapq.merge(*streams, key=lambda row: row[0])


def _first_bus(file: Any, index: int, kind: str, names: set[str], count: int) -> int:
    """0 or 1: from which number a file counts its channels."""
    name = f"{kind}.BusChannel"
    if name not in names:
        return 1
    least = (_get(file, name, index, at).min(initial=1) for at in range(0, count, CHUNK))
    return int(min(least, default=1))


def _get(file: Any, name: str, index: int, at: int) -> np.ndarray:
    found = file.get(name, group=index, raw=True, record_offset=at, record_count=CHUNK)
    return np.asarray(found.samples)


def _group(
    file: Any, index: int, kind: str, names: set[str], count: int, first: int
) -> Iterator[Row]:
    for at in range(0, count, CHUNK):
        seconds = file.get_master(index, record_offset=at, record_count=CHUNK)
        rows = len(seconds)

        def member(name: str, default: int = 0, at: int = at, rows: int = rows) -> np.ndarray:
            full = f"{kind}.{name}"
            return _get(file, full, index, at) if full in names else np.full(rows, default)

        identifiers = member("ID").astype(np.int64)
        is_extended = (member("IDE") > 0) | (identifiers >> 31 > 0)
        flags = KINDS[kind] + 1 * is_extended + 4 * (member("EDL") > 0) + 8 * (member("BRS") > 0)
        buses = np.maximum(member("BusChannel", 1).astype(int) - first, 0)
        data = _payloads(member, kind, names)
        t_ns = np.rint(np.asarray(seconds, float) * 1e9).astype(np.int64)
        columns = (t_ns, buses, member("Dir") & 1, identifiers & 0x1FFFFFFF, flags)
        for *numbers, payload in zip(*(c.tolist() for c in columns), data, strict=True):
            if kind == ERROR:
                numbers[3], numbers[4] = 0, ERROR_FLAGS
            yield (*numbers, payload)


ERROR_FLAGS = KINDS[ERROR]


def _payloads(member: Any, kind: str, names: set[str]) -> list[bytes]:
    lengths = member("DataLength" if f"{kind}.DataLength" in names else "DLC").tolist()
    if kind == ERROR:
        return [b""] * len(lengths)
    if kind == REMOTE:
        return [bytes(min(int(n), 8)) for n in member("DLC").tolist()]
    rows = np.ascontiguousarray(member("DataBytes")).astype(np.uint8)
    rows = rows.reshape(len(lengths), -1)
    return [row.tobytes()[:n] for row, n in zip(rows, lengths, strict=True)]
