"""Least and most of a signal over time, for a picture of any span without reading all of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bms.recorder.container import TICK_NS
from bms.recorder.pyramid import TICKS, Column, Pyramid, read_page

if TYPE_CHECKING:
    from bms.recorder.reader import Recording

ROWS_MAX = 20_000  # spans of no more ticks are read as they are
FINER = 8  # bins of the overview for each bin asked for, at most
BINS_MAX = 100_000


class Overview(NamedTuple):
    """Bins of equal length over a span. time_s: their beginnings, shape (n,). low, high: least and
    most inside, float32 of shape (n,), not-a-number where there is no sample; of a vector over all
    its elements. Where values were joined before, a bin may also hold its neighbours' extremes."""

    time_s: np.ndarray
    low: np.ndarray
    high: np.ndarray


Pairs = tuple[np.ndarray, np.ndarray]  # times (m, 2) and least and most (m, 2)


def overview(rec: Recording, name: str, t0_s: float, t1_s: float, n: int) -> Overview:
    """At most `n` bins from t0_s to t1_s."""
    first_ns, last_ns = round(t0_s * 1e9), round(t1_s * 1e9)
    count = max(1, min(n, BINS_MAX))
    if last_ns - first_ns <= ROWS_MAX * TICK_NS:
        pairs = _rows(rec, name, t0_s, t1_s)
    else:
        pairs = _bins(rec, name, first_ns, last_ns, count)
        count = max(1, min(count, len(pairs[0])))
    width = max(1, -(-(last_ns - first_ns + 1) // count))
    low, high = np.full(count, np.inf, np.float32), np.full(count, -np.inf, np.float32)
    times, values = pairs
    known = ~np.isnan(values[:, 0])
    times, values = times[known], values[known]
    begin = np.clip((times[:, 0] - first_ns) // width, 0, count - 1)
    end = np.clip((times[:, 1] - first_ns) // width, 0, count - 1)
    for step in range(int((end - begin).max(initial=0)) + 1):
        inside = begin + step <= end
        np.minimum.at(low, begin[inside] + step, values[inside, 0])
        np.maximum.at(high, begin[inside] + step, values[inside, 1])
    empty = low > high
    low[empty] = high[empty] = np.nan
    return Overview((first_ns + width * np.arange(count)) * 1e-9, low, high)


def _rows(rec: Recording, name: str, t0_s: float, t1_s: float) -> Pairs:
    """Every sample of a short span as a bin of its own."""
    time_s, values = rec.read([name], t0_s, t1_s)[name]
    t_ns = np.rint(time_s * 1e9).astype(np.int64)
    if values.ndim == 2:
        empty = np.isnan(values).all(axis=1) if values.dtype.kind == "f" else None
        low, high = np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1)
        if empty is not None:
            low, high = np.where(empty, np.nan, low), np.where(empty, np.nan, high)
    else:
        low = high = values
    pairs = np.stack((low, high), axis=1).astype(np.float32)
    below, above = pairs[:, 0] > low, pairs[:, 1] < high  # integers that float32 cannot hold
    pairs[below, 0] = np.nextafter(pairs[below, 0], np.float32(-np.inf))
    pairs[above, 1] = np.nextafter(pairs[above, 1], np.float32(np.inf))
    return np.stack((t_ns, t_ns), axis=1), pairs


def _bins(rec: Recording, name: str, first_ns: int, last_ns: int, count: int) -> Pairs:
    """Bins that touch the span, of the finest level with not many more than `count` of them."""
    levels, order, read = _source(rec, name)
    wanted = (last_ns - first_ns) / TICK_NS / (count * FINER)
    chosen = next((v for v in levels if v["ticks"] >= wanted), levels[-1] if levels else None)
    parts = list(_pages(chosen, len(order), order.index(name), read)) if chosen else []
    if not parts:
        return np.zeros((0, 2), np.int64), np.zeros((0, 2), np.float32)
    times, pairs = (np.concatenate(part) for part in zip(*parts, strict=True))
    inside = (times[:, 1] >= first_ns) & (times[:, 0] <= last_ns)
    return times[inside], pairs[inside]


def _pages(
    level: dict[str, Any], signals: int, k: int, read: Callable[[int, int], bytes]
) -> Iterator[Pairs]:
    for start, bins in level["pages"]:
        found = read_page(read, start, bins, signals, k)
        if found is not None:
            yield found


def _source(
    rec: Recording, name: str
) -> tuple[list[dict[str, Any]], list[str], Callable[[int, int], bytes]]:
    """(levels, signals in the order of a page, how to read): of the file, or made for this."""
    found = rec.layout.directory
    if found is not None and name in found.signals:
        return found.levels, found.signals, lambda count, at: os.pread(rec.descriptor, count, at)
    made = rec.made_overviews.get(name)
    if made is None:
        info = rec.signals[name]
        pyramid = Pyramid([Column(name, info.count, info.vector)], None)
        for batch in rec.batches(["t_ns", name]):
            pyramid.add(batch)
        made = rec.made_overviews[name] = pyramid.finish()
    levels = [
        {"ticks": ticks, "pages": [list(p) for p in pages]}
        for ticks, pages in zip(made.ticks, made.pages, strict=True)
    ]

    def read(count: int, at: int) -> bytes:
        made.spool.seek(at)
        return made.spool.read(count)

    return levels, [name], read


assert TICKS[0] * FINER < ROWS_MAX  # a span too long for rows has bins enough for a picture
