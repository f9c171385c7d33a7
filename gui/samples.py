"""Samples and frames of a source that is still telling them."""

from __future__ import annotations

from typing import Any

import numpy as np
from bms_gui.snapshot import Frames, no_frames
from bms_gui.tracks import Table

FRAMES_KEPT = 50_000


class Samples:
    """Scalars at every tick, vectors now and then, the newest frames. Is a `Data`."""

    def __init__(self, scalars: dict[str, int], vectors: dict[str, int], ticks: int) -> None:
        self._tables = {"scalars": Table(scalars, ticks), "vectors": Table(vectors, ticks // 50)}
        self._home = dict.fromkeys(scalars, "scalars") | dict.fromkeys(vectors, "vectors")
        self.latest: dict[str, Any] = {}
        self.heard_s: dict[str, float] = {}
        self._frames: list[Any] = []
        self._frame_count = self._frames_seen = 0

    def add(self, piece: Any) -> None:
        """A bms.tap.Piece, or anything of its shape."""
        self._add("scalars", piece.time_s, piece.values)
        self._add("vectors", piece.cell_time_s, piece.cell_values)
        new = len(piece.frames.id)
        if new:
            self._frames.append(piece.frames)
            self._frames_seen += new
            self._frame_count += new
            while self._frame_count - len(self._frames[0].id) > FRAMES_KEPT:
                self._frame_count -= len(self._frames.pop(0).id)

    def _add(self, table: str, time_s: np.ndarray, values: dict[str, np.ndarray]) -> None:
        if len(time_s) == 0:
            return
        self._tables[table].append(time_s, values)
        last_s = float(time_s[-1])
        for name, column in values.items():
            last = column[-1]
            self.latest[name] = last
            if np.isfinite(last).any():
                self.heard_s[name] = last_s

    def window(
        self, name: str, t0_s: float, t1_s: float, columns: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """All samples of the window and one on either side."""
        if name not in self._home:
            return np.zeros(0), np.zeros((0, 0), np.float32)
        time_s, values = self._tables[self._home[name]].view(name)
        first = max(0, int(np.searchsorted(time_s, t0_s)) - 1)
        end = min(len(time_s), int(np.searchsorted(time_s, t1_s)) + 1)
        return time_s[first:end], values[:, first:end]

    def frames(self) -> Frames:
        """The newest frames, at most about FRAMES_KEPT."""
        if len(self._frames) > 1:  # joined once, so that a paused screen costs nothing
            names = ("time_s", "id", "bus", "direction", "flags", "length", "data")
            joined = [np.concatenate([getattr(f, n) for f in self._frames]) for n in names]
            self._frames = [Frames(*joined)]
        if not self._frames:
            return no_frames()
        f = self._frames[0]
        return Frames(
            f.time_s, f.id, f.bus, f.direction, f.flags, f.length, f.data, self._frames_seen
        )

    @property
    def last_s(self) -> float:
        """Time of the newest sample; 0 before the first."""
        last = self._tables["scalars"].last_s
        return last if np.isfinite(last) else 0.0

    @property
    def span_s(self) -> tuple[float, float]:
        """From the oldest sample that is kept to the newest."""
        first = self._tables["scalars"].first_s
        return (first if np.isfinite(first) else 0.0, self.last_s)
