"""What a pack says on the bus, as the signals a recording has: for buses and logs of them.

Rows of signals.toml say in which message and signal a value crosses the wire. Frames whose
end-to-end protection is broken or repeated are not believed; a value that was not told for
`SILENT_S` becomes unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bms_gui.snapshot import Frames, Shape, Signal
from bms_gui.words import choices_of

from bms import spec
from bms.protocols import dbc, e2e
from bms.protocols.codec import Codec
from bms.recorder import Event
from bms.result import CONTACTORS, TIERS

TICK_S = 0.01
VECTORS_EVERY_S = 0.2
SILENT_S = 3.0
STRANGERS_MAX = 64
EXTENDED, REMOTE, FD, ERROR = 1, 2, 4, 16
FLAGS = (
    "Derated", "Warning", "ChargeAllowed", "DischargeAllowed", "BalancingActive", "ClearNeeded", "",
    "TripVoltage", "TripCurrent", "TripTemperature", "TripPressure", "TripInsulation",
    "TripMeasurement", "TripContactor", "TripExternal", "TripSystem",
)  # fmt: skip
CLOSED = ("ContactorMainPlus", "ContactorMainMinus", "ContactorPrecharge")


@dataclass(frozen=True)
class Piece:
    """As bms.tap.Piece, of what was heard."""

    time_s: np.ndarray
    values: dict[str, np.ndarray]
    cell_time_s: np.ndarray
    cell_values: dict[str, np.ndarray]
    frames: Any
    events: tuple[Event, ...]


@dataclass
class Told:
    """The newest value of a scalar and when it came."""

    value: float = float("nan")
    time_s: float = -1e18


@dataclass
class Hearing:
    """State between pieces. codec: of a database; None is our own. tick_s: spacing of rows."""

    codec: Codec = field(default_factory=dbc.codec)
    tick_s: float = TICK_S
    blocks: int = 0
    modules: int = 0
    parallel: int = 1
    known: int = 0
    believed: int = 0
    strangers: dict[int, int] = field(default_factory=dict)
    """Identifier -> frames of messages that are not in the database."""
    misfits: dict[str, int] = field(default_factory=dict)
    """Message -> frames of another length, or whose check did not hold."""

    @property
    def book(self) -> Codec | None:
        """The database, if it is not our own."""
        return None if self.codec is dbc.codec() else self.codec

    def __post_init__(self) -> None:
        rows = [row for row in spec.signals() if row.message]
        homes = [(row, *row.message.split(".")) for row in rows]
        has = {name: set(message.signal_names) for name, message in self.codec.compiled.items()}
        self.rows = [
            (row, message, signal)
            for row, message, signal in homes
            if signal in has.get(message, set())
        ]
        self.scalars = {row.name: Told() for row, _, _ in self.rows if not row.count}
        self.counts = {row.name: row.count for row, _, _ in self.rows if row.count}
        self.vectors = {name: np.zeros(0, np.float32) for name in self.counts}
        self.heard_s: dict[str, float] = {}
        self._receivers: dict[int, e2e.Receiver] = {}
        self._next_s = self._next_vectors_s = float("-inf")

    @property
    def is_foreign(self) -> bool:
        """Whether the database knows nothing a pack of ours says."""
        return not self.rows

    @property
    def shape(self) -> Shape:
        """As far as it was told."""
        per_module = self.blocks // self.modules if self.modules else 0
        return Shape("", self.blocks, self.parallel, per_module)

    def signals(self) -> dict[str, Signal]:
        """All that can be heard."""
        return {
            row.name: Signal(
                row.name, row.unit, row.kind, row.text,
                self.vectors[row.name].size if row.count else 1, choices_of(row.name),
            )
            for row, _, _ in self.rows
        }  # fmt: skip

    def hear(self, frames: Frames, until_s: float | None = None) -> Piece:
        """Takes frames, by time, and gives the rows they fill, up to a time."""
        events: list[Event] = []
        told: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        vectors: list[tuple[float, str, int, np.ndarray]] = []
        usable = (frames.flags & (REMOTE | ERROR)) == 0
        for identifier in np.unique(frames.id[usable]):
            at = np.flatnonzero(usable & (frames.id == identifier))
            self._message(int(identifier), frames, at, told, vectors, events)
        end_s = float(frames.time_s[-1]) if len(frames.time_s) else self._next_s
        if until_s is not None:
            end_s = max(end_s, until_s)
        time_s = self._ticks(frames, end_s)
        values = {name: self._filled(name, time_s, told.get(name)) for name in self.scalars}
        cell_time_s, cell_values = self._cells(vectors, end_s)
        events.sort(key=lambda event: event.t_ns)
        return Piece(time_s, values, cell_time_s, cell_values, frames, tuple(events))

    def _ticks(self, frames: Frames, end_s: float) -> np.ndarray:
        if self._next_s == float("-inf"):
            if not len(frames.time_s):
                return np.zeros(0)
            self._next_s = float(np.ceil(frames.time_s[0] / self.tick_s) * self.tick_s)
            self._next_vectors_s = self._next_s
        count = int(np.floor((end_s - self._next_s) / self.tick_s + 1e-6)) + 1
        if count <= 0:
            return np.zeros(0)
        time_s = self._next_s + self.tick_s * np.arange(count)
        self._next_s += self.tick_s * count
        if count > 100_000:  # a hole in a log: its edges are enough
            time_s = np.concatenate((time_s[:1000], time_s[-1000:]))
        return time_s

    def _filled(
        self, name: str, time_s: np.ndarray, told: tuple[np.ndarray, np.ndarray] | None
    ) -> np.ndarray:
        """(n,) the last value told before each row, unknown after silence."""
        last = self.scalars[name]
        times, values = np.array([last.time_s]), np.array([last.value])
        if told is not None:
            times, values = np.concatenate((times, told[0])), np.concatenate((values, told[1]))
            self.scalars[name] = Told(float(values[-1]), float(times[-1]))
            self.heard_s[name] = float(times[-1])
        k = np.searchsorted(times, time_s, "right") - 1
        held = np.where((k >= 0) & (time_s - times[k] <= SILENT_S), values[k], np.nan)
        return held.astype(np.float32)

    # ---- one message ----

    def _message(
        self, identifier: int, frames: Frames, at: np.ndarray,
        told: dict[str, Any], vectors: list[Any], events: list[Event],
    ) -> None:  # fmt: skip
        extended = bool(frames.flags[at[0]] & EXTENDED)
        message = self.codec.by_identifier.get(identifier | (0x80000000 if extended else 0))
        if message is None or message.name not in self.codec.compiled:
            if len(self.strangers) < STRANGERS_MAX or identifier in self.strangers:
                self.strangers[identifier] = self.strangers.get(identifier, 0) + len(at)
            return
        name, before = message.name, len(at)
        self.known += before
        at = at[frames.length[at] == min(8, message.length)]
        data_id = self.codec.data_ids.get(name, -1)
        if data_id >= 0:
            receiver = self._receivers.setdefault(identifier, e2e.Receiver(data_id, max_delta=14))
            at = np.array(
                [
                    k for k in at
                    if receiver.check(frames.data[k, : frames.length[k]].tobytes()).is_usable
                ], int,
            )  # fmt: skip
        if len(at) < before:
            self.misfits[name] = self.misfits.get(name, 0) + before - len(at)
        if not len(at):
            return
        self.believed += len(at)
        data = np.zeros((len(at), 64), np.uint8)
        data[:, : frames.data.shape[1]] = frames.data[at]
        columns, time_s = self.codec.columns(name, data), frames.time_s[at]
        self._identity(name, columns)
        for row, home, signal in self.rows:
            if home != name:
                continue
            if row.count:
                self._vector(row.name, signal, columns, time_s, vectors)
            else:
                values = self._values(row, signal, columns, time_s, events)
                known = np.isfinite(values)
                told[row.name] = (time_s[known], values[known]) if known.any() else None
                if told[row.name] is None:
                    del told[row.name]
        if name == "BmsEvent":
            events.extend(_diagnoses(columns, time_s))

    def _identity(self, name: str, columns: Mapping[str, np.ndarray]) -> None:
        for signal, field_name, home in (
            ("BlockCount", "blocks", "BmsIdentity"),
            ("ModuleCount", "modules", "BmsRatings"),
            ("ParallelCount", "parallel", "BmsRatings"),
        ):
            if name == home and signal in columns and np.isfinite(columns[signal][-1]):
                setattr(self, field_name, int(columns[signal][-1]))

    def _values(
        self, row: Any, signal: str, columns: Mapping[str, np.ndarray], time_s: np.ndarray,
        events: list[Event],
    ) -> np.ndarray:  # fmt: skip
        if row.name == "cmd_flags":
            return _bits(columns, FLAGS) + 64.0 * (_bits(columns, FLAGS) >= 128.0)
        if row.name == "meas_contactors":
            values = _bits(columns, CLOSED)
            events.extend(_switched(self.scalars[row.name].value, values, time_s))
            return values
        values = columns[signal] * (0.01 if row.unit == "1" and row.name.endswith("_frac") else 1.0)
        if row.name == "cmd_state":
            events.extend(_states(self.scalars[row.name].value, values, time_s))
        return np.asarray(values)

    # ---- vectors ----

    def _vector(
        self, name: str, signal: str, columns: Mapping[str, np.ndarray], time_s: np.ndarray,
        vectors: list[Any],
    ) -> None:  # fmt: skip
        stem = signal.rstrip("0")
        members = [columns[f"{stem}{k}"] for k in range(16) if f"{stem}{k}" in columns]
        for k, group in enumerate(columns["Group"]):
            if not np.isfinite(group):
                continue
            if stem == "Switches":
                word = int(columns[signal][k]) if np.isfinite(columns[signal][k]) else 0
                part = np.array([word >> b & 1 for b in range(56)], np.float32)
            else:
                part = np.array([member[k] for member in members], np.float32)
                if name.endswith("_frac"):
                    part *= 0.01
            vectors.append((float(time_s[k]), name, int(group) * part.size, part))

    def _limit(self, name: str) -> int:
        """How many elements there can be, as far as it is known."""
        counts = {"blocks": self.blocks, "modules": self.modules}
        return counts.get(self.counts[name], 0) or 4096

    def _cells(
        self, vectors: list[tuple[float, str, int, np.ndarray]], end_s: float
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Rows of all vectors, as they stood at each raster time."""
        vectors.sort(key=lambda told: told[0])
        times, rows = [], []
        k = 0
        while self._next_vectors_s <= end_s and len(times) < 10_000:
            while k < len(vectors) and vectors[k][0] <= self._next_vectors_s:
                self._put(*vectors[k])
                k += 1
            times.append(self._next_vectors_s)
            rows.append({name: self._known(name) for name in self.vectors})
            gap_s = vectors[k][0] - self._next_vectors_s if k < len(vectors) else 0.0
            skip = max(1, int(gap_s / VECTORS_EVERY_S)) if gap_s > SILENT_S + 1.0 else 1
            self._next_vectors_s += VECTORS_EVERY_S * skip
        for late in vectors[k:]:
            self._put(*late)
        if not rows:
            return np.zeros(0), {}
        widths = {name: self.vectors[name].size for name in self.vectors}
        joined = {
            name: np.stack([_padded(row[name], width) for row in rows])
            for name, width in widths.items()
        }
        return np.array(times), joined

    def _put(self, time_s: float, name: str, first: int, part: np.ndarray) -> None:
        part = part[: max(0, self._limit(name) - first)]
        if part.size == 0:
            return
        held = self.vectors[name]
        if held.size < first + part.size:
            held = self.vectors[name] = _padded(held, first + part.size)
        held[first : first + part.size] = part
        self.heard_s[name] = time_s

    def _known(self, name: str) -> np.ndarray:
        silent = self._next_vectors_s - self.heard_s.get(name, -1e18) > SILENT_S
        held = self.vectors[name]
        return np.full_like(held, np.nan) if silent else held.copy()


def _padded(values: np.ndarray, width: int) -> np.ndarray:
    wide = np.full(width, np.nan, np.float32)
    wide[: values.size] = values
    return wide


def _bits(columns: Mapping[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """Flags as one number."""
    total = 0.0
    for b, name in enumerate(names):
        if name in columns:
            total = total + np.nan_to_num(columns[name]) * 2.0**b
    return np.asarray(total, float)


def _changes(before: float, values: np.ndarray) -> list[tuple[int, int, int]]:
    """(where, from, to) of every change; from -1 where it was not known."""
    found, last = [], -1 if np.isnan(before) else int(before)
    for k in np.flatnonzero(np.isfinite(values)):
        now = int(values[k])
        if now != last:
            found.append((int(k), last, now))
        last = now
    return found


def _states(before: float, values: np.ndarray, time_s: np.ndarray) -> list[Event]:
    names = choices_of("cmd_state")
    return [
        Event(
            round(time_s[k] * 1e9), "state", names.get(now, str(now)), -1, float(now),
            f"{names.get(last, 'unknown')} to {names.get(now, str(now))}",
        )
        for k, last, now in _changes(before, values)
    ]  # fmt: skip


def _switched(before: float, values: np.ndarray, time_s: np.ndarray) -> list[Event]:
    found = []
    for k, last, now in _changes(before, values):
        moved = [
            f"{name} {'closed' if now >> b & 1 else 'opened'}"
            for b, name in enumerate(CONTACTORS)
            if last >= 0 and (now ^ last) >> b & 1
        ]
        if moved:
            found.append(
                Event(round(time_s[k] * 1e9), "contactor", ", ".join(moved), -1, float("nan"), "")
            )
    return found


def _diagnoses(columns: Mapping[str, np.ndarray], time_s: np.ndarray) -> list[Event]:
    found = []
    for k, number in enumerate(columns["DiagnosisId"]):
        if not np.isfinite(number):
            continue
        tier = int(np.nan_to_num(columns["Tier"][k]))
        verb = "raised" if columns["Raised"][k] == 1.0 else "cleared"
        index = columns["Index"][k]
        found.append(
            Event(
                round(time_s[k] * 1e9), "diagnosis", spec.diagnosis_name(int(number)),
                int(index) if np.isfinite(index) else -1, float(columns["Value"][k]),
                f"{TIERS[min(tier, 3)]} {verb}",
            )
        )  # fmt: skip
    return found
