"""Samples and frames of a source that is still telling them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from bms_gui.snapshot import Frames, no_frames
from bms_gui.tracks import Table

FRAMES_KEPT = 50_000
COLUMNS = ("time_s", "id", "bus", "direction", "flags", "length", "data")


class Ring:
    """The newest frames. Arrays are twice as long as what is kept and are made anew when they are
    full, so that what was given out never changes."""

    def __init__(self, kept: int = FRAMES_KEPT) -> None:
        self.kept, self.seen = kept, 0
        self._columns: dict[str, np.ndarray] = {}
        self._start = self._end = 0

    def add(self, frames: Any) -> None:
        """Frames, or anything of their shape, later than those before."""
        new = len(frames.id)
        self.seen += new
        skipped = max(0, new - self.kept)
        new -= skipped
        if new == 0:
            return
        if not self._columns:
            self._columns = {
                name: np.zeros((2 * self.kept, *np.shape(getattr(frames, name))[1:]), kind)
                for name, kind in zip(
                    COLUMNS, ("f8", "u4", "u1", "u1", "u1", "u1", "u1"), strict=True
                )
            }
        if self._end + new > 2 * self.kept:
            old = slice(max(self._start, self._end + new - self.kept), self._end)
            size = old.stop - old.start
            for name, column in self._columns.items():
                fresh = np.zeros_like(column)
                fresh[:size] = column[old]
                self._columns[name] = fresh
            self._start, self._end = 0, size
        for name, column in self._columns.items():
            column[self._end : self._end + new] = getattr(frames, name)[skipped:]
        self._end += new
        self._start = max(self._start, self._end - self.kept)

    def frames(self, until_s: float = float("inf")) -> Frames:
        """Those that are kept, up to a time."""
        if not self._columns:
            return no_frames()
        end = self._end
        if until_s != float("inf"):
            held = self._columns["time_s"][self._start : self._end]
            end = self._start + int(np.searchsorted(held, until_s, "right"))
        at = slice(self._start, end)
        return Frames(*(self._columns[n][at] for n in COLUMNS), self.seen - (self._end - end))


class Samples:
    """Scalars at every tick, vectors now and then, the newest frames. Is a `Data`.

    scalars, vectors: name -> number of elements. A vector that comes longer than was said is held
    as long as it comes.
    """

    def __init__(self, scalars: dict[str, int], vectors: dict[str, int], ticks: int) -> None:
        self._tables = {"scalars": Table(scalars, ticks), "vectors": Table(vectors, ticks // 50)}
        self._home = dict.fromkeys(scalars, "scalars") | dict.fromkeys(vectors, "vectors")
        self.latest: dict[str, Any] = {}
        self.heard_s: dict[str, float] = {}
        self._ring = Ring()

    def add(self, piece: Any) -> None:
        """A bms.tap.Piece, or anything of its shape."""
        self._add("scalars", piece.time_s, piece.values)
        self._add("vectors", piece.cell_time_s, piece.cell_values)
        self._ring.add(piece.frames)

    def _add(self, table: str, time_s: np.ndarray, values: dict[str, np.ndarray]) -> None:
        if len(time_s) == 0:
            return
        self._tables[table] = self._tables[table].wide_enough(values)
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

    def moment(self, time_s: float) -> tuple[Mapping[str, Any], Mapping[str, float]]:
        """As it was then."""
        latest: dict[str, Any] = {}
        heard_s: dict[str, float] = {}
        for table in self._tables.values():
            at_s, row = table.row(time_s)
            latest |= row
            known = (name for name, value in row.items() if np.isfinite(value).any())
            heard_s |= dict.fromkeys(known, at_s)
        return latest, heard_s

    def frames(self, until_s: float = float("inf")) -> Frames:
        """The newest frames, at most FRAMES_KEPT."""
        return self._ring.frames(until_s)

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
