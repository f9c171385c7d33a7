"""A simulation looked at while it runs: the same samples the recorder takes, in pieces.

For screens and scripts that want values as they come and no file:

>>> tap = Tap(Simulation("drive", seed=1))  # doctest: +SKIP
>>> piece = tap.run(0.5)  # doctest: +SKIP
>>> piece.time_s, piece.values["meas_pack_voltage_v"]  # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bms._recorder import Recorder
from bms.recorder import Event, Signal, Writer
from bms.signals import bind
from bms.sim import Simulation

TICK_S = 0.01
EXTREMES_OF = (
    "true_cell_voltage_v",
    "true_cell_temperature_surface_degc",
    "true_module_pressure_kpa",
)
"""Vectors whose least and most are kept at every tick, however thin the vectors are."""


@dataclass(frozen=True)
class Extreme:
    """A scalar made of a vector: the least or most of all its elements."""

    name: str
    unit: str
    kind: str
    text: str
    of: str
    is_most: bool


@dataclass(frozen=True)
class Frames:
    """CAN frames in the order they were carried; arrays of one length n, but for the bytes.

    time_s: (n,). id, bus, flags: (n,) as in ecu.h. direction: (n,) 1 sent by the BMS, 0 received.
    data: (n, 8) bytes, zero beyond length (a longer frame is cut). length: (n,)
    """

    time_s: np.ndarray
    id: np.ndarray
    bus: np.ndarray
    direction: np.ndarray
    flags: np.ndarray
    length: np.ndarray
    data: np.ndarray


@dataclass(frozen=True)
class Piece:
    """What happened in one stretch of time.

    time_s: (n,) of every tick. values: scalars and extremes, name -> (n,) float32. cell_time_s:
    (m,). cell_values: vectors, name -> (m, count) float32, thinned. events: as in a recording.
    """

    time_s: np.ndarray
    values: dict[str, np.ndarray]
    cell_time_s: np.ndarray
    cell_values: dict[str, np.ndarray]
    frames: Frames
    events: tuple[Event, ...]
    is_over: bool  # the plan has ended


class Tap:
    """Runs a simulation piece by piece. cells_every_s: spacing of the vectors."""

    def __init__(
        self, simulation: Simulation, *, cells_every_s: float = 0.1, ticks: int = 500
    ) -> None:
        self.simulation = simulation
        bound = bind(simulation.world.parts, simulation.pack)
        self.signals: list[Signal] = [replace(s, raster=None) for s in bound]
        self._writer: Writer | None = None
        self.extremes = _extremes(self.signals)
        self.thin = max(1, round(cells_every_s / TICK_S))
        sources = [(s.source, s.scale, s.offset) for s in self.signals]
        # 1 500 frames a second on two buses; room for three times that
        self._recorder = Recorder(sources, ticks, (ticks * 50, ticks * 50 * 8))
        self._pieces: list[Piece] = []
        self._told = 0

    @property
    def address(self) -> int:
        """For the compiled loop."""
        return self._filled_one.address

    @property
    def _filled_one(self) -> Recorder:
        return self._writer.low_level if self._writer else self._recorder

    def record(self, writer: Writer | None) -> None:
        """From now on everything also goes to a writer, made with `signals` and frames."""
        self._writer = writer

    def run(self, seconds: float) -> Piece:
        """The next stretch of the plan, at most `seconds` of simulated time."""
        self.simulation.advance(seconds, self)
        self.drain()
        pieces, self._pieces = self._pieces, []
        events = tuple(self.simulation.events[self._told :])
        self._told += len(events)
        return _joined(pieces, events, self.simulation.is_over)

    def skip_events(self) -> None:
        """What has happened so far belongs to no piece."""
        self._told = len(self.simulation.events)

    def drain(self) -> None:
        """Takes what the loop has written so far, so that it can go on."""
        recorder = self._filled_one
        rows, frames, _ = recorder.filled()
        batch = recorder.batch
        if rows or frames:
            self._pieces.append(self._piece(batch, rows, frames))
        if self._writer:
            self._writer.drain()
        else:
            recorder.install(batch)

    def event(
        self, t_ns: int, kind: str, name: str, index: int, value: float, text: str, /
    ) -> None:
        """Events of the pieces are taken from the simulation itself."""
        if self._writer:
            self._writer.event(t_ns, kind, name, index, value, text)

    def _piece(self, batch: object, rows: int, frames: int) -> Piece:
        time_s = batch.t_ns[:rows] * 1e-9  # type: ignore[attr-defined]
        values, cells = {}, {}
        kept = np.flatnonzero(np.round(time_s / TICK_S).astype(np.int64) % self.thin == 0)
        for signal, column in zip(self.signals, batch.columns, strict=True):  # type: ignore[attr-defined]
            if signal.rate == "cells":
                cells[signal.name] = column[kept].astype(np.float32)
                for extreme in (e for e in self.extremes if e.of == signal.name):
                    most = column[:rows].max if extreme.is_most else column[:rows].min
                    values[extreme.name] = most(axis=1).astype(np.float32)
            else:
                values[signal.name] = column[:rows, 0].astype(np.float32)
        log = batch.frames  # type: ignore[attr-defined]
        return Piece(time_s, values, time_s[kept], cells, _frames(log, frames), (), False)


def _extremes(signals: list[Signal]) -> tuple[Extreme, ...]:
    found = []
    for signal in signals:
        if signal.name not in EXTREMES_OF or signal.source.size == 0:
            continue
        stem, _, unit = signal.name.rpartition("_")
        for word, is_most in (("max", True), ("min", False)):
            text = f"{'Highest' if is_most else 'Lowest'} of {signal.name}, every tick."
            name = f"{stem}_{word}_{unit}"
            found.append(Extreme(name, signal.unit, signal.kind, text, signal.name, is_most))
    return tuple(found)


def _frames(log: object, count: int) -> Frames:
    offset = log.offset[: count + 1].astype(np.int64)  # type: ignore[attr-defined]
    length = np.diff(offset).astype(np.uint8)
    reach = offset[:count, None] + np.arange(8)
    held = np.minimum(reach, max(0, log.bytes.size - 1))  # type: ignore[attr-defined]
    data = np.where(np.arange(8) < length[:, None], log.bytes[held], 0)  # type: ignore[attr-defined]
    return Frames(
        log.t_ns[:count] * 1e-9,  # type: ignore[attr-defined]
        log.id[:count].copy(),  # type: ignore[attr-defined]
        log.bus[:count].copy(),  # type: ignore[attr-defined]
        log.direction[:count].copy(),  # type: ignore[attr-defined]
        log.flags[:count].copy(),  # type: ignore[attr-defined]
        length,
        data.astype(np.uint8),
    )


def _joined(pieces: list[Piece], events: tuple[Event, ...], is_over: bool) -> Piece:
    if not pieces:
        nothing = np.zeros(0)
        none = np.zeros(0, np.uint8)
        frames = Frames(nothing, none, none, none, none, none, np.zeros((0, 8), np.uint8))
        return Piece(nothing, {}, nothing, {}, frames, events, is_over)
    frames = Frames(
        *(
            np.concatenate([getattr(p.frames, name) for p in pieces])
            for name in Frames.__dataclass_fields__
        )
    )
    first = pieces[0]
    return Piece(
        np.concatenate([p.time_s for p in pieces]),
        {name: np.concatenate([p.values[name] for p in pieces]) for name in first.values},
        np.concatenate([p.cell_time_s for p in pieces]),
        {name: np.concatenate([p.cell_values[name] for p in pieces]) for name in first.cell_values},
        frames,
        events,
        is_over,
    )
