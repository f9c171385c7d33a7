"""Samples in memory: what a source has told so far, up to a bound, ready to be drawn.

A `Table` holds signals that share their times. It grows to its capacity and then forgets the
oldest. Views are slices of the arrays, never copies, and are read-only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

BYTES_MAX = 60_000_000
"""Of one table; older samples are forgotten first."""


class Table:
    """Signals of one rate. counts: name -> number of elements of a sample.

    Arrays are twice as long as what is kept, so that forgetting is a move once in a while and every
    view is one piece: time_s (2 capacity,), values name -> (count, 2 capacity) float32.
    """

    def __init__(self, counts: Mapping[str, int], capacity: int) -> None:
        width = max(1, sum(counts.values()))
        self.wanted = capacity
        self.capacity = max(16, min(capacity, BYTES_MAX // (8 * width)))
        self.counts = dict(counts)
        self._time_s = np.zeros(0)
        self._values = {name: np.zeros((count, 0), np.float32) for name, count in counts.items()}
        self._start = self._end = 0
        self.forgotten = 0

    def __len__(self) -> int:
        return self._end - self._start

    def wide_enough(self, values: Mapping[str, np.ndarray]) -> Table:
        """Itself, or a copy for samples that have more elements than was said."""
        widths = {
            name: max(count, int(np.prod(np.shape(values[name])[1:]))) if name in values else count
            for name, count in self.counts.items()
        }
        if widths == self.counts:
            return self
        wide = Table(widths, self.wanted)
        if len(self):
            at = slice(self._start, self._end)
            old = {}
            for name, store in self._values.items():
                old[name] = np.full((len(self), widths[name]), np.nan, np.float32)
                old[name][:, : store.shape[0]] = store[:, at].T
            wide.append(self._time_s[at], old)
        return wide

    def append(self, time_s: np.ndarray, values: Mapping[str, np.ndarray]) -> None:
        """Adds n samples. time_s: (n,), later than before. values: name -> (n,) or (n, count)."""
        n = len(time_s)
        if n > self.capacity:
            self.forgotten += n - self.capacity
            time_s = time_s[-self.capacity :]
            values = {name: column[-self.capacity :] for name, column in values.items()}
            n = self.capacity
        if n == 0:
            return
        self._make_room(n)
        at = slice(self._end, self._end + n)
        self._time_s[at] = time_s
        for name, store in self._values.items():
            column = values.get(name)
            store[:, at] = np.nan
            if column is not None:
                rows = np.reshape(column, (n, -1)).T if column.size else np.zeros((0, n))
                store[: len(rows), at] = rows
        self._end += n
        excess = len(self) - self.capacity
        if excess > 0:
            self._start += excess
            self.forgotten += excess

    def _make_room(self, n: int) -> None:
        if self._end + n <= self._time_s.size:
            return
        kept = slice(max(self._start, self._end + n - self.capacity), self._end)
        self.forgotten += kept.start - self._start
        size = min(2 * self.capacity, max(1024, 4 * (kept.stop - kept.start + n)))
        self._time_s = _moved(self._time_s, kept, size)
        self._values = {name: _moved(store, kept, size) for name, store in self._values.items()}
        self._start, self._end = 0, kept.stop - kept.start

    def view(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(time_s (n,), values (count, n)) of what is kept; read-only."""
        at = slice(self._start, self._end)
        time_s, values = self._time_s[at], self._values[name][:, at]
        time_s.flags.writeable = values.flags.writeable = False
        return time_s, values

    @property
    def last_s(self) -> float:
        """Time of the newest sample; NaN if there is none."""
        return float(self._time_s[self._end - 1]) if len(self) else float("nan")

    @property
    def first_s(self) -> float:
        """Time of the oldest sample; NaN if there is none."""
        return float(self._time_s[self._start]) if len(self) else float("nan")

    def at(self, name: str, time_s: float) -> np.ndarray:
        """(count,) the last sample at or before a time; NaN before the first."""
        return np.asarray(self.row(time_s, (name,))[1][name])

    def row(
        self, time_s: float, names: Collection[str] = ()
    ) -> tuple[float, dict[str, np.ndarray]]:
        """(its time, name -> (count,)) of the last sample at or before a time; NaN before the
        first. Of all signals, unless some are named."""
        times = self._time_s[self._start : self._end]
        k = self._start + int(np.searchsorted(times, time_s, "right")) - 1
        known = k >= self._start
        row = {
            name: self._values[name][:, k].copy()
            if known
            else np.full(self.counts[name], np.nan, np.float32)
            for name in names or self.counts
        }
        return (float(self._time_s[k]) if known else float("nan")), row


def _moved(old: np.ndarray, kept: slice, size: int) -> np.ndarray:
    new = np.zeros((*old.shape[:-1], size), old.dtype)
    new[..., : kept.stop - kept.start] = old[..., kept]
    return new
