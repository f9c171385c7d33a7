"""From the recorder's buffers to Arrow columns, without copying what need not be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from bms._recorder import Batch, Log, stored_dtype
from bms.errors import RecorderError
from bms.recorder import container
from bms.recorder.container import (
    ECU,
    EVENTS,
    FRAMES,
    KINDS,
    TICK_NS,
    UART,
    Event,
    Raster,
    Signal,
)

if TYPE_CHECKING:
    from bms._recorder import Source

ROUND_NS = 2_000_000_000  # vectors are kept at full rate so long before and after an event
RESERVED = ("t_ns", "events", "frames", "uart", "ecu", "note")


class Shape:
    """The columns of a recording, and what one batch must know of the batches before it."""

    def __init__(
        self,
        signals: Sequence[Signal],
        cells_every_s: float,
        frames: bool,
        uart: bool,
        inputs: bool,
    ) -> None:
        names = [s.name for s in signals]
        for signal in signals:
            if names.count(signal.name) > 1 or signal.name in RESERVED:
                raise RecorderError(f"signal {signal.name}: the name is taken")
            if signal.kind not in KINDS:
                raise RecorderError(f"signal {signal.name}: kind {signal.kind}, expected {KINDS}")
            if not signal.is_vector and signal.rate_hz <= 0:
                raise RecorderError(f"signal {signal.name}: rate {signal.rate}, expected a rate")
        self.signals, self.frames, self.uart, self.inputs = tuple(signals), frames, uart, inputs
        self.cells_every_s = max(cells_every_s, TICK_NS * 1e-9)
        self.sources = [_source(s) for s in signals]
        self.row_bytes = 8 + sum(s[0].size * stored_dtype(*s).itemsize for s in self.sources)
        self.types = [
            pa.from_numpy_dtype(np.dtype(s.raster.width) if s.raster else stored_dtype(*source))
            for s, source in zip(signals, self.sources, strict=True)
        ]
        self.every_ns = [
            round(1e9 * (self.cells_every_s if s.is_vector else 1.0 / s.rate_hz)) for s in signals
        ]
        self.columns = pa.schema(self._fields())
        self.before_ns = -1  # time of the last row written
        self.event_ns: list[int] = []  # of events whose two seconds may reach into rows to come
        self._constant: dict[tuple[Any, int], pa.Array] = {}

    def _fields(self) -> list[pa.Field]:
        fields = [pa.field("t_ns", pa.int64(), nullable=False)]
        for signal, kind in zip(self.signals, self.types, strict=True):
            about = {"unit": signal.unit, "kind": signal.kind}
            if signal.raster:
                step, offset, _ = signal.raster
                about |= {"scale": repr(step), "offset": repr(offset)}
                about |= {"missing": str(signal.raster.missing)}
            kind = pa.list_(kind) if signal.is_vector else kind
            fields.append(pa.field(signal.name, kind, metadata=about))
        fields.append(pa.field("events", EVENTS))
        fields += [pa.field("frames", FRAMES)] * self.frames + [pa.field("uart", UART)] * self.uart
        fields += [pa.field("ecu", ECU)] * self.inputs
        return [*fields, pa.field("note", pa.string())]

    def schema(self, metadata: dict[str, Any]) -> pa.Schema:
        """The schema as the file holds it: metadata joins the signals under the key "bms"."""
        description = {
            "format": container.FORMAT,
            "tick_ns": TICK_NS,
            "signals": [
                {
                    "name": s.name, "unit": s.unit, "kind": s.kind, "rate": s.rate, "text": s.text,
                    "count": int(s.source.size), "vector": s.is_vector, "origin": s.origin,
                    "scale": s.raster.step if s.raster else 1.0,
                    "offset": s.raster.offset if s.raster else 0.0,
                }
                for s in self.signals
            ],
            "cells_every_s": self.cells_every_s,
            **container.plain(metadata),
        }  # fmt: skip
        return self.columns.with_metadata(
            {"bms": json.dumps(description), container.CHECK_KEY: container.CHECK_EMPTY.decode()}
        )

    def nulls(self, kind: pa.DataType, rows: int) -> pa.Array:
        """A column without a value, made once."""
        key = (kind, rows)
        if key not in self._constant:
            self._constant[key] = pa.nulls(rows, kind)
        return self._constant[key]

    def empty_row(self, events: list[Event], note: str) -> pa.RecordBatch:
        """The only row of a recording without a tick."""
        columns = {field.name: pa.nulls(1, field.type) for field in self.columns}
        columns |= {"t_ns": pa.array([0], pa.int64()), "note": pa.array([note], pa.string())}
        columns["events"] = _event_column(events, np.zeros(1, np.int64))
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=self.columns)

    def sampled(self, t_ns: np.ndarray, every_ns: int) -> np.ndarray | None:
        """Rows in which a new period of `every_ns` has begun; None means all of them."""
        if every_ns <= TICK_NS:
            return None
        period = np.concatenate(([self.before_ns], t_ns)) // every_ns
        mask: np.ndarray = np.diff(period) != 0
        if self.before_ns < 0:
            mask[0] = True
        return mask

    def near_events(self, t_ns: np.ndarray) -> np.ndarray:
        """Rows within two seconds of an event."""
        mask = np.zeros(t_ns.size, bool)
        for at_ns in self.event_ns:
            first, last = np.searchsorted(t_ns, (at_ns - ROUND_NS, at_ns + ROUND_NS + 1))
            mask[first:last] = True
        return mask


@dataclass(frozen=True)
class Piece:
    """What was recorded between two exchanges of the buffer."""

    batch: Batch
    rows: int
    frames: int
    uart: int
    steps: int
    events: list[Event]

    @property
    def last_ns(self) -> int:
        return int(self.batch.t_ns[self.rows - 1])


def rows_of(
    shape: Shape, piece: Piece, events: list[Event], note: str | None
) -> tuple[pa.RecordBatch, list[Event]]:
    """A piece as Arrow columns, and those of `events` that happened after it.

    `note` marks the last piece: it carries the note and all events. Unsampled values in the buffers
    are overwritten by zeros, which take no room once compressed.
    """
    t_ns = piece.batch.t_ns[: piece.rows]
    last_ns = piece.last_ns
    now = events if note is not None else [e for e in events if e.t_ns <= last_ns]
    later = [e for e in events if e.t_ns > last_ns] if note is None else []
    shape.event_ns += [e.t_ns for e in now]
    near = _union(shape.near_events(t_ns), [e.t_ns for e in later], t_ns)
    batch = _batch(shape, piece, now, note, _signal_columns(shape, piece, t_ns, near))
    shape.before_ns = last_ns
    shape.event_ns = [at for at in shape.event_ns if at > last_ns - ROUND_NS]
    return batch, later


def dense_rows(shape: Shape, piece: Piece, events: list[Event]) -> pa.RecordBatch:
    """The same with every signal in every row, which leaves everything as it is: for the tail."""
    columns = []
    for signal, kind, buffer in zip(shape.signals, shape.types, piece.batch.columns, strict=True):
        buffer = buffer[: piece.rows]
        if signal.is_vector:
            columns.append(_vector(buffer, kind, None, signal.raster))
        else:
            columns.append(pa.Array.from_buffers(kind, piece.rows, [None, pa.py_buffer(buffer)]))
    return _batch(shape, piece, [e for e in events if e.t_ns <= piece.last_ns], None, columns)


def _batch(
    shape: Shape, piece: Piece, events: list[Event], note: str | None, signals: list[pa.Array]
) -> pa.RecordBatch:
    rows, t_ns = piece.rows, piece.batch.t_ns[: piece.rows]
    columns = [pa.array(t_ns), *signals]
    columns.append(_event_column(events, t_ns) if events else shape.nulls(EVENTS, rows))
    if piece.batch.frames is not None:
        columns.append(_log_column(piece.batch.frames, rows, piece.frames, FRAMES))
    if piece.batch.uart is not None:
        columns.append(_log_column(piece.batch.uart, rows, piece.uart, UART))
    if piece.batch.steps is not None:
        columns.append(_step_column(piece))
    if note is None:
        columns.append(shape.nulls(pa.string(), rows))
    else:
        columns.append(pa.array([None] * (rows - 1) + [note], pa.string()))
    return pa.RecordBatch.from_arrays(columns, schema=shape.columns)


def _step_column(piece: Piece) -> pa.Array:
    """Bytes of the firmware's steps; what came after the last tick belongs to the last row."""
    ends = np.concatenate((np.zeros(1, np.int32), piece.batch.steps_end[: piece.rows]))
    ends[-1] = piece.steps
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(piece.batch.steps)]
    return pa.Array.from_buffers(ECU, piece.rows, buffers)


def _source(signal: Signal) -> Source:
    """What the compiled recorder is told of a signal."""
    if signal.raster is None or signal.is_vector:  # vectors: when it is known which rows stay
        return signal.source, signal.scale, signal.offset
    step, offset, width = signal.raster
    return signal.source, signal.scale / step, (signal.offset - offset) / step, width


def _union(mask: np.ndarray, at_ns: list[int], t_ns: np.ndarray) -> np.ndarray:
    for at in at_ns:
        mask[np.searchsorted(t_ns, at - ROUND_NS) :] = True
    return mask


def _signal_columns(
    shape: Shape, piece: Piece, t_ns: np.ndarray, near: np.ndarray
) -> list[pa.Array]:
    rows = piece.rows
    masks: dict[int, Any] = {}
    for every_ns in set(shape.every_ns):
        mask = shape.sampled(t_ns, every_ns)
        if mask is not None:
            mask |= near
            masks[every_ns] = (
                mask,
                ~mask,
                pa.py_buffer(np.packbits(mask, bitorder="little")),
                int(mask.sum()),
            )
    columns = []
    for k, signal in enumerate(shape.signals):
        kind, buffer = shape.types[k], piece.batch.columns[k][:rows]
        found = masks.get(shape.every_ns[k])
        if signal.is_vector:
            columns.append(_vector(buffer, kind, found, signal.raster))
        elif found is None:
            columns.append(pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(buffer)]))
        else:
            _, gone, valid, count = found
            np.copyto(buffer, 0, where=gone[:, None])
            columns.append(
                pa.Array.from_buffers(kind, rows, [valid, pa.py_buffer(buffer)], rows - count)
            )
    return columns


def _vector(buffer: np.ndarray, kind: pa.DataType, found: Any, raster: Raster | None) -> pa.Array:
    """A list column whose child holds only the sampled rows, put on their raster only now."""
    rows, width = buffer.shape
    ends = np.zeros(rows + 1, np.int32)
    if found is None:
        ends[:] = np.arange(rows + 1, dtype=np.int32) * width
        values, valid, empty = buffer, None, 0
    else:
        mask, _, valid, count = found
        np.cumsum(mask, out=ends[1:])
        ends *= width
        values, empty = buffer[mask], rows - count
    values = np.ascontiguousarray(values) if raster is None else _on_raster(values, raster)
    child = pa.Array.from_buffers(kind, values.size, [None, pa.py_buffer(values)])
    return pa.Array.from_buffers(
        pa.list_(kind), rows, [valid, pa.py_buffer(ends)], empty, 0, children=[child]
    )


def _on_raster(values: np.ndarray, raster: Raster) -> np.ndarray:
    """Numbers of the steps next to values; those beyond the raster at its end."""
    most = np.iinfo(raster.width).max
    with np.errstate(invalid="ignore"):
        numbers = (values.astype(float) - raster.offset) / raster.step
        numbers = np.clip(np.rint(numbers), -most, most)
        return np.where(np.isnan(numbers), raster.missing, numbers).astype(raster.width)


def _event_column(events: list[Event], t_ns: np.ndarray) -> pa.Array:
    """Each event in the first row that is not before it."""
    rows = np.minimum(np.searchsorted(t_ns, [e.t_ns for e in events]), t_ns.size - 1)
    order = np.argsort(rows, kind="stable")
    ends = np.searchsorted(rows[order], np.arange(t_ns.size + 1), side="left").astype(np.int32)
    sorted_events = [events[k] for k in order]
    fields = list(EVENTS.value_type)
    child = pa.StructArray.from_arrays(
        [pa.array([getattr(e, f.name) for e in sorted_events], f.type) for f in fields],
        fields=fields,
    )
    return pa.Array.from_buffers(
        EVENTS, t_ns.size, [None, pa.py_buffer(ends)], 0, 0, children=[child]
    )


def _log_column(log: Log, rows: int, count: int, kind: pa.DataType) -> pa.Array:
    """Frames or serial pieces; what came after the last tick belongs to the last row."""
    ends = np.concatenate((np.zeros(1, np.int32), log.end[:rows]))
    ends[-1] = count
    arrays = {"line": log.bus, "t_ns": log.t_ns, "bus": log.bus, "direction": log.direction}
    arrays |= {"id": log.id, "flags": log.flags}
    fields = list(kind.value_type)
    children = [
        pa.Array.from_buffers(f.type, count, [None, pa.py_buffer(arrays[f.name])])
        for f in fields
        if f.name != "data"
    ]
    children.append(
        pa.Array.from_buffers(
            pa.binary(), count, [None, pa.py_buffer(log.offset), pa.py_buffer(log.bytes)]
        )
    )
    struct = pa.StructArray.from_arrays(children, fields=fields)
    return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(ends)], 0, 0, children=[struct])
