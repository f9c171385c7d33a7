"""Where the batches of a recording lie: told by its directory, or found by walking from the front.

A file that was not closed ends where a message fails its check. What its tail has beyond that is
read as if it were part of it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from bms.errors import RecorderError
from bms.recorder import container, directory
from bms.recorder.tail import tail_of


class Place(NamedTuple):
    """A batch: where its message lies, whether in the tail, how many of its rows to pass over."""

    start: int
    size: int
    in_tail: bool = False
    skip: int = 0


@dataclass
class Layout:
    """What a recording's files hold. end: behind the last whole batch. tail: a descriptor or -1."""

    schema_message: bytes
    places: list[Place]
    is_complete: bool
    end: int
    directory: directory.Directory | None = None
    tail: int = -1
    tail_lost: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)


def find(path: Path, descriptor: int) -> Layout:
    """RecorderError when the file is not a recording or its very beginning is cut."""
    size = os.fstat(descriptor).st_size
    schema_message = schema_at_front(path, descriptor, size)
    first = len(container.MAGIC) + len(schema_message)
    found = directory.read(descriptor, size)
    if found is not None:
        places = [Place(int(start), int(length)) for start, length, *_ in found.table]
        end = max([first, *(p.start + p.size for p in places)])
        spans = [(int(a), int(b)) for a, b in found.table[:, 3:5]]
        return Layout(schema_message, places, True, end, found, spans=spans)
    heads, at = [], first
    while length := _size_at(descriptor, at, size):
        heads.append(Place(at, length))
        at += length
    if _is_closed(descriptor, at, size):  # format 1: no directory
        return Layout(schema_message, heads, True, at)
    whole, end = _whole(descriptor, heads, first)
    layout = Layout(schema_message, whole, False, end)
    _read_on(path, descriptor, layout)
    return layout


def schema_at_front(path: Path, descriptor: int, size: int) -> bytes:
    """The schema message of a recording; RecorderError when there is none."""
    at = len(container.MAGIC)
    if os.pread(descriptor, at, 0) != container.MAGIC:
        raise RecorderError(f"{path}: is not a recording")
    head = _size_at(descriptor, at, size)
    message = os.pread(descriptor, head, at)
    if head == 0 or not container.is_sealed(memoryview(message)):
        raise RecorderError(f"{path}: is not a recording, or was cut before its first batch")
    return message


def _whole(descriptor: int, heads: list[Place], first: int) -> tuple[list[Place], int]:
    """The places up to the first that fails its check, and where they end."""
    whole, end = [], first
    for place in heads:
        if not container.is_sealed(memoryview(os.pread(descriptor, place.size, place.start))):
            break
        whole.append(place)
        end = place.start + place.size
    return whole, end


def _read_on(path: Path, descriptor: int, layout: Layout) -> None:
    """Add what the tail has beyond the end of a cut file."""
    try:
        tail = os.open(tail_of(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        size = os.fstat(tail).st_size
        if schema_at_front(path, tail, size) != layout.schema_message:
            raise RecorderError("of another recording")
        at = first = len(container.MAGIC) + len(layout.schema_message)
        heads = []
        while length := _size_at(tail, at, size):
            heads.append(Place(at, length, True))
            at += length
        whole, end = _whole(tail, heads, first)
        last_ns = _times(descriptor, layout, layout.places[-1])[-1] if layout.places else -1
        for place in whole:
            t_ns = _times(tail, layout, place)
            skip = sum(t <= last_ns for t in t_ns)
            if skip < len(t_ns):
                layout.places.append(place._replace(skip=skip))
        layout.tail, layout.tail_lost = tail, size - end
    except (RecorderError, pa.ArrowException, ValueError):
        os.close(tail)


def _times(descriptor: int, layout: Layout, place: Place) -> list[int]:
    message = layout.schema_message + os.pread(descriptor, place.size, place.start)
    options = pa.ipc.IpcReadOptions(included_fields=[0], use_threads=False)
    batch = pa.ipc.open_stream(pa.py_buffer(message), options=options).read_next_batch()
    times: list[Any] = batch.column(0).to_pylist()
    return times


def _size_at(descriptor: int, at: int, file_size: int) -> int:
    """Size of the message at a place in the file, 0 if there is no whole one."""
    head = os.pread(descriptor, 8, at)
    if len(head) < 8:
        return 0
    length = int.from_bytes(head[4:], "little")
    if length > container.METADATA_MAX:
        return 0
    head += os.pread(descriptor, length, at + 8)
    return container.message_size(memoryview(head), 0, file_size - at)


def _is_closed(descriptor: int, at: int, size: int) -> bool:
    """Whether the end mark and a footer of the right length follow, and nothing else."""
    tail = os.pread(descriptor, 10, max(0, size - 10))
    footer = int.from_bytes(tail[:4], "little")
    end = os.pread(descriptor, 8, at)
    return end == container.END and tail[4:] == b"ARROW1" and at + 8 + footer + 10 == size
