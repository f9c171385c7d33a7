"""Changing a world that is running.

A `Shadow` looks like bms._loop.World to whoever fills in fields (bms.sim does), but is a copy.
`commit` compares it with what it was and gives the difference to the runner, which applies it as a
whole between two steps.
"""

from __future__ import annotations

import time

import numpy as np

from bms import _loop, _realtime
from bms.errors import BmsError

Change = tuple[int, int, int]  # offset in the world, bytes, bits
POKES_MAX = 4096  # EMULATOR_POKES of ext/realtime/emulator.h


class Shadow:
    """A copy of the fields of `live`; `parts` and `set_profile` as there."""

    def __init__(self, live: _loop.World, emulator: _realtime.Emulator) -> None:
        self._live, self._emulator = live.memory, emulator
        self._copy = np.array(self._live)
        self._before = np.array(self._live)
        self._profile: Change | None = None
        self._kept: list[np.ndarray] = []  # every demand ever given: the runner reads them in place
        self._places = {
            (part, name): (view.ctypes.data - self._live.ctypes.data, view.size, view.dtype)
            for part, fields in live.parts.items()
            for name, view in fields.items()
        }
        self.parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in live.parts}
        for (part, name), (offset, count, dtype) in self._places.items():
            self.parts[part][name] = np.frombuffer(self._copy, dtype, count, offset)

    def refresh(self) -> None:
        """Take over the present state; what was not committed is forgotten."""
        self.settle()
        np.copyto(self._copy, self._live)
        np.copyto(self._before, self._copy)
        self._profile = None

    def settle(self) -> None:
        """Until what was committed is in the world; the runner is given a second to apply it."""
        for _ in range(1000):
            if self._emulator.is_poked:
                return
            time.sleep(1e-3)

    def set_profile(self, values: np.ndarray | None) -> None:
        """Demand of the phase, float64 of shape (n,); None for no demand."""
        kept = np.ascontiguousarray(values if values is not None else [], np.float64)
        self._kept.append(kept)
        self._profile = self._emulator.profile_change(kept)

    def commit(self) -> None:
        """Hand the changes to the runner. BmsError when it does not take them."""
        changes = self._changes()
        if len(changes) > POKES_MAX:
            raise BmsError(f"{len(changes)} changes at once; at most {POKES_MAX}")
        for _ in range(1000):
            if self._emulator.poke(changes):
                return
            time.sleep(1e-3)
        raise BmsError("the runner has not taken a change for a second")

    def _changes(self) -> list[Change]:
        """Every element that differs: an element is written whole, its neighbours are left."""
        found = [] if self._profile is None else [self._profile]
        for offset, count, dtype in self._places.values():
            size = dtype.itemsize
            now = np.frombuffer(self._copy, f"<u{size}", count, offset)
            before = np.frombuffer(self._before, f"<u{size}", count, offset)
            for k in np.flatnonzero(now != before):
                found.append((offset + size * int(k), size, int(now[k])))
        return found
