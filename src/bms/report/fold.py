"""Long signals folded into what a page can show, in one pass over a recording.

A page has about 1200 pixel columns. A signal with more samples is kept as the least and the most of
each column, so that a spike of a single sample stays visible in a day; one with fewer is kept as it
is. States and flags are kept as their changes, which loses nothing. What plots compute from several
signals (an error, a power) is computed on the samples, before they are folded. The memory needed
depends on the page, not on the length of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bms.recorder.export.source import Source, samples

if TYPE_CHECKING:
    from bms.recorder import Recording

COLUMNS = 1200
RAW_MAX = 4 * COLUMNS
CHANGES_MAX = 200_000  # a flag that flickers is folded from there on

Values = np.ndarray


@dataclass(frozen=True)
class Line:
    """Samples over time in seconds, shape (n,).

    Of a folded line y holds low and high in turn; `low`, `high` and `some` have one value a column.
    `holds`: each value holds until the next (changes of a state).
    """

    t: Values
    y: Values
    some_t: Values
    some_y: Values
    is_folded: bool = False
    holds: bool = False

    @classmethod
    def raw(cls, t: Values, y: Values, holds: bool = False) -> Line:
        """A line of the samples themselves."""
        return cls(t, y, t, y, False, holds)

    @property
    def low(self) -> Line:
        """The lower edge."""
        return self._edge(0)

    @property
    def high(self) -> Line:
        """The upper edge."""
        return self._edge(1)

    def _edge(self, which: int) -> Line:
        if not self.is_folded:
            return self
        return Line.raw(self.t[which::2], self.y[which::2])

    def over(self, second: float) -> Line:
        """The same with another unit of time."""
        return Line(
            self.t / second, self.y, self.some_t / second, self.some_y, self.is_folded, self.holds
        )


@dataclass(frozen=True)
class Wish:
    """A line somebody wants: signals it is made of, and how. Without `how` it is the signal.

    how: from arrays of equal length, one for each signal, to one array (n,); a vector needs one
    that reduces it. It is applied where all signals have a sample. changes: keep every change, not
    extremes.
    """

    signals: tuple[str, ...]
    how: Callable[..., Values] | None = None
    changes: bool = False


@dataclass
class _Fold:
    """One line in the making."""

    end_s: float
    changes: bool
    t: list[Values] = field(default_factory=list)
    y: list[Values] = field(default_factory=list)
    count: int = 0
    last: float = np.nan
    bins: tuple[Values, Values, Values, Values] | None = None

    def add(self, t: Values, y: Values) -> None:
        if self.changes and y.size:
            moved = np.concatenate(([self.count == 0 or y[0] != self.last], y[1:] != y[:-1]))
            self.last = y[-1]
            t, y = t[moved], y[moved]
        if self.bins is None:
            self.t.append(t)
            self.y.append(y)
        self.count += y.shape[0]
        if self.bins is not None:
            self._into_bins(t, y)
        elif self.count > (CHANGES_MAX if self.changes else RAW_MAX):
            filled = (np.inf, -np.inf, np.nan, np.nan)
            low, high, some_t, some_y = (np.full(COLUMNS, value) for value in filled)
            self.bins = low, high, some_t, some_y
            for kept in zip(self.t, self.y, strict=True):
                self._into_bins(*kept)
            self.t, self.y = [], []

    def _into_bins(self, t: Values, y: Values) -> None:
        assert self.bins is not None
        if not t.size:
            return
        low, high, some_t, some_y = self.bins
        column = np.clip((t / self.end_s * COLUMNS).astype(np.int64), 0, COLUMNS - 1)
        starts = np.flatnonzero(np.concatenate(([True], column[1:] != column[:-1])))
        at = column[starts]
        y = y.astype(np.float64)
        missing = np.isnan(y)
        lows = np.minimum.reduceat(np.where(missing, np.inf, y), starts)
        highs = np.maximum.reduceat(np.where(missing, -np.inf, y), starts)
        low[at], high[at] = np.minimum(low[at], lows), np.maximum(high[at], highs)
        some_t[at], some_y[at] = t[starts], y[starts]

    def line(self) -> Line | None:
        """None without a finite sample."""
        if self.bins is None:
            nothing = [np.zeros(0)]
            t, y = np.concatenate(self.t or nothing), np.concatenate(self.y or nothing)
            if self.changes and t.size and t[-1] < self.end_s:  # it holds to the end
                t, y = np.append(t, self.end_s), np.append(y, y[-1])
            return Line.raw(t, y, self.changes) if y.size and np.isfinite(y).any() else None
        low, high, some_t, some_y = self.bins
        kept = np.isfinite(some_t)
        low, high, some_t, some_y = low[kept], high[kept], some_t[kept], some_y[kept]
        gone = low > high
        low, high = np.where(gone, np.nan, low), np.where(gone, np.nan, high)
        if not np.isfinite(low).any():
            return None
        edges = (np.flatnonzero(kept) + 0.5) * self.end_s / COLUMNS
        y = np.empty(2 * low.size)
        y[0::2], y[1::2] = low, high
        return Line(np.repeat(edges, 2), y, some_t, some_y, is_folded=True)


def fold(recording: Recording, wishes: dict[str, Wish], until_s: float) -> dict[str, Line | None]:
    """A line for each wish, None where the recording lacks a signal or has no sample of it."""
    possible = {
        name: wish
        for name, wish in wishes.items()
        if all(signal in recording for signal in wish.signals)
    }
    folds = {name: _Fold(max(until_s, 1e-9), wish.changes) for name, wish in possible.items()}
    for batch in Source.of(recording).rows(_signals(possible.values())) if possible else ():
        t_ns = batch.column("t_ns").to_numpy()
        have = {
            name: samples(batch.column(name), t_ns, recording.signals[name])
            for name in batch.schema.names
            if name in recording.signals
        }
        for name, wish in possible.items():
            t, y = _made(wish, have)
            folds[name].add(t * 1e-9, y)
    return {name: folds[name].line() if name in folds else None for name in wishes}


def _signals(wishes: Iterable[Wish]) -> list[str]:
    return list(dict.fromkeys(name for wish in wishes for name in wish.signals))


def _made(wish: Wish, have: dict[str, tuple[Values, Values]]) -> tuple[Values, Values]:
    """Times and values of a wish in one batch."""
    t, first = have[wish.signals[0]]
    if wish.how is None:
        return t, first
    arrays = [first]
    for name in wish.signals[1:]:
        other_t, other = have[name]
        if other_t.size != t.size:  # sampled apart: only where both have a sample
            both, mine, theirs = np.intersect1d(t, other_t, return_indices=True)
            t, arrays, other = both, [a[mine] for a in arrays], other[theirs]
        arrays.append(other)
    return t, wish.how(*arrays)


def lowest(y: Values) -> Values:
    """Least of each row."""
    return y if y.ndim == 1 else np.asarray(np.fmin.reduce(y, axis=1))


def highest(y: Values) -> Values:
    """Most of each row."""
    return y if y.ndim == 1 else np.asarray(np.fmax.reduce(y, axis=1))


def spread(y: Values) -> Values:
    """Most minus least of each row."""
    return np.asarray(highest(y) - lowest(y))
