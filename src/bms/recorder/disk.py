"""What the recorder asks of the file system, in one place, so that a test can be a bad disk.

Nothing else under bms.recorder writes to a file. Every method does what its name says, once: it may
write less than it was given, be interrupted, or raise OSError; the functions below it see to that.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from bms.errors import RecorderError


class Disk:
    """The real one."""

    def open(self, path: Path) -> int:
        """A descriptor of a file that is made if need be; what it holds stays."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def lock(self, descriptor: int) -> None:
        """Exclusive, or BlockingIOError."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, descriptor: int, data: memoryview, at: int) -> int:
        """Write some of `data` at a place; how many bytes."""
        return os.pwrite(descriptor, data, at)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """The data are on the medium when this returns."""
        os.fdatasync(descriptor)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def replace(self, old: Path, new: Path) -> None:
        os.replace(old, new)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync_folder(self, path: Path) -> None:
        """Names in the folder are on the medium when this returns."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


INTERRUPTIONS_MAX = 100  # in a row, of one write


def write_all(disk: Disk, descriptor: int, data: bytes | bytearray | memoryview, at: int) -> None:
    """Write everything, however many pieces it takes. OSError when the disk does not."""
    view, interruptions = memoryview(data), 0
    while len(view):
        try:
            count = disk.write(descriptor, view, at)
        except InterruptedError:
            interruptions += 1
            if interruptions > INTERRUPTIONS_MAX:
                raise
            continue
        if count <= 0:
            raise OSError(errno.EIO, "the disk takes nothing")
        view, at, interruptions = view[count:], at + count, 0


def sync(disk: Disk, descriptor: int) -> None:
    """Disk.sync, again when interrupted."""
    for left in range(INTERRUPTIONS_MAX, -1, -1):
        try:
            disk.sync(descriptor)
            return
        except InterruptedError:
            if not left:
                raise


def open_alone(disk: Disk, path: Path) -> int:
    """A descriptor of `path` that only this one may write. Its content stays. RecorderError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = disk.open(path)
    except OSError as error:
        raise RecorderError(f"{path}: cannot make the recording: {error.strerror}") from error
    try:
        disk.lock(descriptor)
    except BlockingIOError:
        disk.close(descriptor)
        raise RecorderError(f"{path}: is being written by another recorder") from None
    except OSError as error:
        disk.close(descriptor)
        raise RecorderError(f"{path}: cannot make the recording: {error.strerror}") from error
    return descriptor
