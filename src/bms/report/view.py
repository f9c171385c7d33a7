"""A recording as plots want it: a time axis in fitting units, and signals that may be missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bms.recorder import Recording

UNITS = (
    ("s", 1.0, 180.0),
    ("min", 60.0, 3 * 3600.0),
    ("h", 3600.0, 4 * 86400.0),
    ("d", 86400.0, 1e18),
)
MARKS_MAX = 12


@dataclass(frozen=True)
class Line:
    """Samples over time; t in the view's unit. y has shape (n,) or (n, cells)."""

    t: np.ndarray
    y: np.ndarray


class View:
    """`line(name)` is a signal with its time, None when the recording has no finite sample."""

    def __init__(self, recording: Recording, wanted: tuple[str, ...] = ()) -> None:
        self.recording = recording
        recording.load(*(name for name in wanted if name in recording))
        self.duration_s = float(recording.t_ns[-1]) * 1e-9 if recording.t_ns.size else 0.0
        self.unit, self.second = next((u, s) for u, s, most in UNITS if self.duration_s <= most)

    def use_time_of(self, other: View) -> None:
        """Take over another view's unit, so that both can share an axis."""
        self.unit, self.second = other.unit, other.second

    def marks(self) -> list[float]:
        """When something tripped, blew or was done to the world: red lines in every plot."""
        events = self.recording.events
        hard = [
            e
            for e in events
            if e.kind in ("act", "fault", "fuse", "trip") or e.text == "trip raised"
        ]
        return [self.t(e.time_s) for e in hard[:MARKS_MAX]]

    def span(self) -> tuple[float, float]:
        """Limits of the time axis."""
        end = self.t(self.duration_s) or 1.0
        return -0.005 * end, 1.005 * end

    def t(self, seconds: float) -> float:
        return seconds / self.second

    def line(self, name: str) -> Line | None:
        """A signal with its time."""
        if name not in self.recording:
            return None
        y = self.recording[name]
        if y.dtype.kind == "f" and not np.isfinite(y).any():
            return None
        if y.size == 0:
            return None
        return Line(self.recording.time_s(name) / self.second, y)

    def reduced(self, name: str, how: str) -> Line | None:
        """A vector as one line: its min, max or spread at each time."""
        found = self.line(name)
        if found is None or found.y.ndim == 1:
            return found
        valid = np.isfinite(found.y).any(axis=1) if found.y.dtype.kind == "f" else slice(None)
        y = found.y[valid]
        if not y.size:
            return None
        least, most = np.nanmin(y, axis=1), np.nanmax(y, axis=1)
        return Line(found.t[valid], {"min": least, "max": most, "spread": most - least}[how])
