"""Disks that fail, for tests: bms.recorder.disk.Disk with faults in the calls themselves."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np

from bms.recorder.disk import Disk

PAGE = 4096


class FaultyDisk(Disk):
    """Goes wrong in call `at` (counted from 1, of the kinds in `calls`), once or for ever.

    fault: an errno, or "short" for a write that takes only half.
    """

    def __init__(
        self, fault: int | str, at: int, *, forever: bool, calls: tuple[str, ...] = ("write",)
    ) -> None:
        self.fault, self.at, self.forever, self.calls = fault, at, forever, calls
        self.count = 0

    def _is_bad(self, call: str) -> bool:
        if call not in self.calls:
            return False
        self.count += 1
        return self.count == self.at or (self.forever and self.count > self.at)

    def _raise(self) -> None:
        assert isinstance(self.fault, int)
        raise OSError(self.fault, os.strerror(self.fault))

    def write(self, descriptor: int, data: memoryview, at: int) -> int:
        if self._is_bad("write"):
            if self.fault == "short":
                return super().write(descriptor, data[: max(1, len(data) // 2)], at)
            if self.fault == errno.ENOSPC:  # a disk takes what there is room for, then nothing
                super().write(descriptor, data[: len(data) // 3], at)
            self._raise()
        return super().write(descriptor, data, at)

    def sync(self, descriptor: int) -> None:
        if self._is_bad("sync"):
            self._raise()
        super().sync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        if self._is_bad("truncate"):
            self._raise()
        super().truncate(descriptor, size)

    def replace(self, old: Path, new: Path) -> None:
        if self._is_bad("replace"):
            self._raise()
        super().replace(old, new)


class VolatileDisk(Disk):
    """Remembers what the medium has: bytes of each file at its last sync, and names at the last
    sync of the folder. `after_power_loss` makes the files one could find then, all at one instant:
    no call is under way meanwhile."""

    def __init__(self) -> None:
        self.paths: dict[int, Path] = {}
        self.safe: dict[Path, bytes] = {}
        self._instant = threading.RLock()

    def write(self, descriptor: int, data: memoryview, at: int) -> int:
        with self._instant:
            return super().write(descriptor, data, at)

    def truncate(self, descriptor: int, size: int) -> None:
        with self._instant:
            super().truncate(descriptor, size)

    def open(self, path: Path) -> int:
        with self._instant:
            descriptor = super().open(path)
            self.paths[descriptor] = path
            self.safe.setdefault(path, b"")
            return descriptor

    def sync(self, descriptor: int) -> None:
        with self._instant:
            path = self.paths[descriptor]
            if path.exists():  # a file that was renamed is known by its new name
                self.safe[path] = path.read_bytes()

    def replace(self, old: Path, new: Path) -> None:
        with self._instant:
            super().replace(old, new)
            self.safe[new] = self.safe.pop(old)
            for descriptor, path in self.paths.items():
                if path == old:
                    self.paths[descriptor] = new

    def unlink(self, path: Path) -> None:
        with self._instant:
            super().unlink(path)
            self.safe.pop(path, None)

    def after_power_loss(self, folder: Path, rng: np.random.Generator) -> None:
        """Files in `folder`: what was synced, and of the rest each page or not, as chance has it;
        a page that is not there is zeros, or cut off at the end."""
        with self._instant:
            self._lose_power(folder, rng)

    def _lose_power(self, folder: Path, rng: np.random.Generator) -> None:
        for path, safe in self.safe.items():
            if not path.exists():
                continue
            now = path.read_bytes()
            length = (
                int(rng.integers(len(safe), len(now) + 1)) if len(now) > len(safe) else len(now)
            )
            data = bytearray(length)
            data[: len(safe)] = safe[:length]
            for at in range(len(safe) // PAGE * PAGE, length, PAGE):
                page = slice(max(at, len(safe)), min(at + PAGE, length))
                if rng.random() < 0.5:
                    data[page] = now[page]
            (folder / path.name).write_bytes(data)
