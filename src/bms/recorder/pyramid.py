"""The overview of a recording: least and most of every signal, by decades of rows.

Level 0 has a bin for 100 rows (1 s), each level above one for ten of the level below. A page is
1000 bins of one level: first and last time of each, then for each signal its 1000 pairs of least
and most, then a CRC-32 for the times and for each signal. To draw a day, a reader takes a
level with about as many bins as there are pixels and reads of each page the part of one signal.
A vector has one pair for all its elements. Bins without a sample hold not-a-number.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from bms._recorder import fold
from bms.recorder.container import Raster
from bms.recorder.directory import Overview, Page

TICKS = tuple(100 * 10**k for k in range(5))
BINS = 1000  # of a page
SPOOL_BYTES = 16 << 20  # of pages kept in memory before they go to a nameless file


@dataclass(frozen=True)
class Column:
    """How to read one column: `raster` None for values as they are; width: values a sample."""

    name: str
    width: int = 1
    is_vector: bool = False
    raster: Raster | None = None

    @cached_property
    def about(self) -> tuple[float, float, int | None]:
        """(scale, offset, number that is no value)."""
        raster = self.raster
        return (raster.step, raster.offset, raster.missing) if raster else (1.0, 0.0, None)


class Level:
    """The page of a level that is being filled. `used`: bins that hold something."""

    def __init__(self, signals: int) -> None:
        self.times = np.zeros((BINS, 2), np.int64)
        self.pages: list[Page] = []
        self.used = 0
        self._signals = signals

    @cached_property
    def bins(self) -> np.ndarray:
        """float32 of shape (signals, BINS, 2), made when first needed."""
        return np.full((self._signals, BINS, 2), np.nan, np.float32)

    def clear(self) -> None:
        self.bins.fill(np.nan)
        self.used = 0


class Pyramid:
    """Takes batches in order, gives an Overview at the end. folder: where a large spool may be."""

    def __init__(self, columns: list[Column], folder: Path | None) -> None:
        self.columns = columns
        self.rows = 0  # taken so far
        self._levels = [Level(len(columns)) for _ in TICKS]
        self._spool: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115, closed by its end
            SPOOL_BYTES, dir=str(folder) if folder else None
        )
        self._end = 0
        self._schema: pa.Schema | None = None
        self._column_places: list[int] = []

    def add(self, batch: pa.RecordBatch) -> None:
        """Fold a batch in. OSError when the spool's disk is full."""
        at, page_rows = 0, BINS * TICKS[0]
        while at < batch.num_rows:
            count = min(batch.num_rows - at, page_rows - self.rows % page_rows)
            self._add(batch.slice(at, count))
            at += count
            self.rows += count
            if self.rows % page_rows == 0:
                self._close_page(0)

    def _add(self, batch: pa.RecordBatch) -> None:
        level, first = self._levels[0], self.rows % (BINS * TICKS[0])
        t_ns = batch.column("t_ns").to_numpy()
        bins = (first + np.arange(t_ns.size)) // TICKS[0]
        fresh = np.flatnonzero(np.diff(bins, prepend=level.used - 1) > 0)
        level.times[bins[fresh], 0] = t_ns[fresh]
        level.times[bins[0], 1] = t_ns[0]
        last = np.flatnonzero(np.diff(bins, append=bins[-1] + 1))
        level.times[bins[last], 1] = t_ns[last]
        level.used = int(bins[-1]) + 1
        places = self._places(batch.schema)
        for column, place, bins in zip(self.columns, places, level.bins, strict=True):
            fold_in(batch.column(place), column, first, bins)

    def _places(self, schema: pa.Schema) -> list[int]:
        """Of the columns in a batch; batches have the same schema object over and over."""
        if self._schema is not schema:
            self._schema = schema
            self._column_places = [schema.get_field_index(c.name) for c in self.columns]
        return self._column_places

    def _close_page(self, k: int) -> None:
        """Put the page of level k into the spool and its bins into the level above."""
        level = self._levels[k]
        if level.used == 0:
            return
        level.pages.append(Page(self._end, level.used))
        times = level.times[: level.used].tobytes()
        parts = [bins[: level.used].tobytes() for bins in level.bins]
        checks = np.array([zlib.crc32(part) for part in (times, *parts)], "<u4").tobytes()
        for part in (times, *parts, checks):
            self._spool.write(part)
            self._end += len(part)
        if k + 1 < len(self._levels):
            self._raise_up(level, k + 1)
        level.clear()

    def _raise_up(self, level: Level, k: int) -> None:
        above, groups = self._levels[k], -(-level.used // 10)
        if above.used + groups > BINS:
            self._close_page(k)
        whole = level.bins[:, : 10 * groups].reshape(len(self.columns), groups, 10, 2)
        place = slice(above.used, above.used + groups)
        above.bins[:, place, 0] = np.fmin.reduce(whole[..., 0], axis=2)
        above.bins[:, place, 1] = np.fmax.reduce(whole[..., 1], axis=2)
        starts = np.arange(0, level.used, 10)
        above.times[place, 0] = level.times[starts, 0]
        above.times[place, 1] = level.times[np.minimum(starts + 9, level.used - 1), 1]
        above.used += groups

    def finish(self) -> Overview:
        """Nothing may be added after this."""
        for k in range(len(self._levels)):
            self._close_page(k)
        filled = [k for k, level in enumerate(self._levels) if level.pages]
        return Overview(
            self._spool,
            tuple(TICKS[k] for k in filled),
            tuple(tuple(self._levels[k].pages) for k in filled),
            tuple(column.name for column in self.columns),
        )


def fold_in(array: pa.Array, column: Column, first: int, bins: np.ndarray) -> None:
    """Join an Arrow column, whose first row is row `first` of the bins, into bins of TICKS[0]."""
    rows, count = None, len(array)
    if array.null_count:
        rows = np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False)).astype(np.int64)
        count = rows.size
    kept = array.flatten() if column.is_vector else array.drop_null() if array.null_count else array
    values = kept.to_numpy(zero_copy_only=False)
    if values.size != count * column.width:
        return  # lengths that make no sense are told by whoever reads the values
    fold(values, rows, column.width, first, TICKS[0], bins, *column.about)


def read_page(
    read: Callable[[int, int], bytes], start: int, bins: int, signals: int, k: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """(times, pairs) of signal k of a page; None when they are damaged. `read(count, at)`."""
    per_signal = 8 * bins
    times = read(16 * bins, start)
    pairs = read(per_signal, start + 16 * bins + k * per_signal)
    at = start + 16 * bins + signals * per_signal
    checks = read(4, at) + read(4, at + 4 * (k + 1))
    found = np.array([zlib.crc32(times), zlib.crc32(pairs)], "<u4").tobytes()
    if len(times) != 16 * bins or len(pairs) != per_signal or checks != found:
        return None
    return np.frombuffer(times, "<i8").reshape(-1, 2), np.frombuffer(pairs, "<f4").reshape(-1, 2)


def columns_of(signals: Any) -> list[Column]:
    """Columns of recorded signals (SignalInfo of a reader)."""
    return [Column(s.name, s.count, s.vector, s.raster) for s in signals]
