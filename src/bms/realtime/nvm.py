"""The ECU's memory in a file that a kill or a power cut finds whole.

Every page has two places in the file. A new version goes into the place of the older one, with a
number one higher and a checksum over page, number and content, and is on the disk (fdatasync)
before the firmware is told that its operation is done. Reading takes the newest place whose
checksum is right. So at each instant every page is either as before or as after an operation.

    file    magic of 16 bytes, then 2 * 256 places of 128 bytes
    place   "PAGE", number u64, page u16, 2 bytes of 0, content of 64 bytes, crc32 u32, rest 0
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Protocol

import numpy as np

from bms.errors import BmsError, ConfigError

MAGIC = b"solid-bms nvm 1\n"
PAGES, PAGE_BYTES, PLACE_BYTES = 256, 64, 128
HEAD = struct.Struct("<4sQHxx")


class Host(Protocol):
    """What asks for pages: bms._realtime.Host."""

    def page_to_store(self) -> tuple[int, bytes] | None:
        """The page the firmware is waiting for."""

    def page_is_stored(self, good: bool) -> None:
        """Answer it."""

    def set_nvm_event(self, fd: int) -> None:
        """An eventfd that is raised when there is a page."""


class NvmFile:
    """256 pages of 64 bytes in `path`, which is made if it is not there.

    ConfigError when it is something else; BmsError when it cannot be written or is in use.
    `damaged` counts places that were begun and not finished, or have rotted.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.damaged = path, 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise BmsError(f"{path}: is in use by another ECU") from None
        except OSError as error:
            raise BmsError(f"{path}: cannot be opened: {error.strerror}") from error
        self._newest = [(-1, 0)] * PAGES  # (place 0 or 1; -1 none, number)
        self.pages = np.full(PAGES * PAGE_BYTES, 0xFF, np.uint8)
        self._load()

    def _load(self) -> None:
        size = len(MAGIC) + 2 * PAGES * PLACE_BYTES
        data = os.pread(self._fd, size + 1, 0)
        if not data:
            os.ftruncate(self._fd, size)
            os.pwrite(self._fd, MAGIC, 0)
            os.fsync(self._fd)
            return
        if not data.startswith(MAGIC) or len(data) > size:
            os.close(self._fd)
            raise ConfigError(self.path, "", data[:16], "a memory file of `bms ecu --nvm`")
        for page in range(PAGES):
            for place in (0, 1):
                self._read(page, place, data[self._at(page, place) :][:PLACE_BYTES])

    def _read(self, page: int, place: int, data: bytes) -> None:
        if not any(data):
            return
        whole = len(data) == PLACE_BYTES
        magic, number, owner = HEAD.unpack_from(data) if whole else (b"", 0, -1)
        end = HEAD.size + PAGE_BYTES
        crc = int.from_bytes(data[end : end + 4], "little")
        if magic != b"PAGE" or owner != page or zlib.crc32(data[:end]) != crc:
            self.damaged += 1
            return
        if number > self._newest[page][1]:
            self._newest[page] = (place, number)
            content = np.frombuffer(data, np.uint8, PAGE_BYTES, HEAD.size)
            self.pages[page * PAGE_BYTES :][:PAGE_BYTES] = content

    @staticmethod
    def _at(page: int, place: int) -> int:
        return len(MAGIC) + (2 * page + place) * PLACE_BYTES

    def store(self, page: int, content: bytes) -> None:
        """On the disk when it returns; OSError if it could not be."""
        place, number = self._newest[page]
        place = 1 - place if place >= 0 else 0
        body = HEAD.pack(b"PAGE", number + 1, page) + content
        data = (body + zlib.crc32(body).to_bytes(4, "little")).ljust(PLACE_BYTES, b"\0")
        if os.pwrite(self._fd, data, self._at(page, place)) != PLACE_BYTES:
            raise OSError(28, os.strerror(28))
        os.fdatasync(self._fd)
        self._newest[page] = (place, number + 1)

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)


class Keeper:
    """The thread that stores pages while the runner goes on."""

    def __init__(self, file: NvmFile, host: Host) -> None:
        self.file, self.failures, self._host = file, 0, host
        self._event = os.eventfd(0, os.EFD_CLOEXEC)
        self._ends = False
        host.set_nvm_event(self._event)
        self._thread = threading.Thread(target=self._serve, name="bms-nvm", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            os.eventfd_read(self._event)
            wanted = self._host.page_to_store()
            if wanted is not None:
                try:
                    self.file.store(*wanted)
                    self._host.page_is_stored(True)
                except OSError:
                    self.failures += 1
                    self._host.page_is_stored(False)
            if self._ends:
                return

    def close(self) -> None:
        """After the runner has stopped: what was asked for last is stored, then the file closed."""
        self._ends = True
        os.eventfd_write(self._event, 1)
        self._thread.join()
        os.close(self._event)
        self.file.close()
