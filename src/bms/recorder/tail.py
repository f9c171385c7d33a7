"""The tail: a small second file with the rows that are not in the recording yet.

Batches of 40 s press well, but a cut would cost up to 40 s. So rows that wait longer than a moment
are also put, as they are, into `NAME.tail` beside the recording: the same schema message, then
batches without compression. A reader of a cut recording reads on in its tail; rows the recording
already has are passed over. A new tail is made beside the old one and takes its name, so there is
always a whole one.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pyarrow as pa

from bms.recorder import container
from bms.recorder.disk import Disk, open_alone, sync, write_all
from bms.recorder.file import Encoder

SUFFIX = ".tail"


def tail_of(path: Path) -> Path:
    """Where the tail of a recording is."""
    return path.with_name(path.name + SUFFIX)


class Tail:
    """Rows behind the end of a recording, on the medium when `write` returns."""

    def __init__(self, path: Path, schema: pa.Schema, schema_message: bytes, disk: Disk) -> None:
        self.path, self.disk = tail_of(path), disk
        self._encoder = Encoder(schema, None)
        self._head = container.MAGIC + schema_message
        self._descriptor = -1
        self._end = 0

    @property
    def is_open(self) -> bool:
        return self._descriptor >= 0

    def restart(self, batches: list[pa.RecordBatch]) -> None:
        """A new tail of these rows in place of the old one. OSError leaves the old one."""
        new = self.path.with_name(self.path.name + ".new")
        descriptor = open_alone(self.disk, new)
        try:
            self.disk.truncate(descriptor, 0)
            data = self._head + b"".join(bytes(self._encoder.message(b)) for b in batches)
            write_all(self.disk, descriptor, data, 0)
            sync(self.disk, descriptor)
            self.disk.replace(new, self.path)
            self.disk.sync_folder(self.path.parent)
        except OSError:
            self.disk.close(descriptor)
            with contextlib.suppress(OSError):
                self.disk.unlink(new)
            raise
        self._close()
        self._descriptor, self._end = descriptor, len(data)

    def append(self, batches: list[pa.RecordBatch]) -> None:
        """More rows. OSError leaves what was there."""
        data = b"".join(bytes(self._encoder.message(b)) for b in batches)
        write_all(self.disk, self._descriptor, data, self._end)
        sync(self.disk, self._descriptor)
        self._end += len(data)

    def remove(self) -> None:
        """The recording has everything: no tail is needed."""
        self._close()
        with contextlib.suppress(OSError):
            self.disk.unlink(self.path)

    def _close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                self.disk.close(self._descriptor)
            self._descriptor = -1
