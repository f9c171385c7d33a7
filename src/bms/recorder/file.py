"""A recording as a file that grows: sealed messages one after the other, then its end.

    magic, schema message, batch messages, end mark, overview and directory, Arrow footer

`end` is where the next message goes, and everything before it is whole. What fails to be written
leaves `end` where it was, so a later attempt writes over the remains.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from bms.recorder import container, directory
from bms.recorder.disk import Disk, open_alone, sync, write_all
from bms.recorder.footer import footer

CODEC: tuple[str, int | None] = ("zstd", 1)
COPY = 1 << 20  # bytes copied at once from the overview's spool
CHECK = {container.CHECK_KEY: container.CHECK_EMPTY.decode()}


class Block(NamedTuple):
    """One batch in the file: where it lies and what it covers."""

    start: int
    size: int
    rows: int
    first_ns: int
    last_ns: int


class Encoder:
    """Record batches of one schema as sealed messages; `schema_message` goes before them."""

    def __init__(self, schema: pa.Schema, codec: tuple[str, int | None] | None = CODEC) -> None:
        compression = pa.Codec(codec[0], compression_level=codec[1]) if codec else None
        options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=True)
        self._sink = io.BytesIO()
        self._buffer = pa.BufferedOutputStream(pa.PythonFile(self._sink, "w"), 1 << 20)
        self._stream = pa.ipc.new_stream(self._buffer, schema, options=options)
        message = bytearray(schema.serialize())
        container.seal(message, 0)
        self.schema_message = bytes(message)
        self._has_begun = False

    def message(self, batch: pa.RecordBatch) -> memoryview:
        """A batch, sealed."""
        self._stream.write_batch(batch, custom_metadata=CHECK)
        self._buffer.flush()
        data = bytearray(self._sink.getbuffer())
        self._sink.seek(0)
        self._sink.truncate()
        if not self._has_begun:  # the stream began with its schema
            del data[: container.message_size(memoryview(data), 0)]
            self._has_begun = True
        container.seal(data, 0)
        return memoryview(data)


class RecordingFile:
    """Open, locked, and with its schema message written. RecorderError when that cannot be."""

    def __init__(self, path: Path, schema_message: bytes, disk: Disk) -> None:
        self.path, self.disk, self.schema_message = path, disk, schema_message
        self.blocks: list[Block] = []
        self.descriptor = open_alone(disk, path)
        self.end = len(container.MAGIC) + len(schema_message)
        self.synced = 0  # how far the medium has it for certain

    @classmethod
    def resume(
        cls, path: Path, schema_message: bytes, blocks: list[Block], disk: Disk
    ) -> RecordingFile:
        """An existing file, to go on behind its last whole batch."""
        file = cls(path, schema_message, disk)
        file.blocks = list(blocks)
        file.end = max([file.end, *(b.start + b.size for b in blocks)])
        return file

    def begin(self) -> None:
        """Empty the file and write its schema. OSError."""
        self.disk.truncate(self.descriptor, 0)
        write_all(self.disk, self.descriptor, container.MAGIC + self.schema_message, 0)

    def append(self, message: memoryview, batch: pa.RecordBatch) -> None:
        """A batch behind the last one. When this returns it survives the end of this process."""
        try:
            write_all(self.disk, self.descriptor, message, self.end)
        except OSError:
            self.cut()
            raise
        t_ns = batch.column(0)
        first, last = t_ns[0].as_py(), t_ns[len(t_ns) - 1].as_py()
        self.blocks.append(Block(self.end, len(message), batch.num_rows, first, last))
        self.end += len(message)

    def sync(self) -> None:
        """When this returns, everything appended survives a power cut."""
        end = self.end
        sync(self.disk, self.descriptor)
        self.synced = end

    def cut(self) -> None:
        """Remove what lies behind `end`, if the disk lets us: readers do without it."""
        with contextlib.suppress(OSError):
            self.disk.truncate(self.descriptor, self.end)

    def finish(self, overview: directory.Overview | None) -> None:
        """End mark, overview, directory and footer. The batches stay readable when it fails."""
        try:
            self._finish(overview)
        except OSError:
            self.cut()
            raise

    def _finish(self, overview: directory.Overview | None) -> None:
        foot = footer(self.schema_message, [self._place(b) for b in self.blocks])
        at = self.end
        self.disk.truncate(self.descriptor, at)
        write_all(self.disk, self.descriptor, container.END, at)
        at += len(container.END)
        for piece in _pieces(overview):
            write_all(self.disk, self.descriptor, piece, at)
            at += len(piece)
        table = np.array(self.blocks, np.int64).reshape(-1, len(Block._fields))
        closing = directory.closing(table, overview, self.end + len(container.END), at, foot)
        write_all(self.disk, self.descriptor, closing + foot, at)
        sync(self.disk, self.descriptor)

    def _place(self, block: Block) -> tuple[int, int, int]:
        """(start, bytes of prefix and metadata, of body)."""
        head = 8 + int.from_bytes(os.pread(self.descriptor, 4, block.start + 4), "little")
        return block.start, head, block.size - head

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.disk.close(self.descriptor)


def _pieces(overview: directory.Overview | None) -> Iterator[bytes]:
    if overview is None:
        return
    overview.spool.seek(0)
    while piece := overview.spool.read(COPY):
        yield piece
