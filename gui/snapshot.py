"""What a panel sees: one moment of a source, the same whether it is simulated, replayed or live.

Panels read snapshots and ask for things through `View.ask`; they know no plant, bus or firmware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

STALE_S = 1.0
"""A value older than this is grey: the slowest message of a header value comes each second."""


@dataclass(frozen=True)
class Signal:
    """A signal that can be shown. kind: truth, measured, estimated or command."""

    name: str
    unit: str
    kind: str
    text: str
    count: int = 1
    choices: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shape:
    """How a pack is built; zeros where it is not known."""

    name: str = ""
    blocks: int = 0
    parallel: int = 1
    blocks_per_module: int = 0
    limits: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """One fault in the world, as it was put there."""

    name: str
    target: str
    value: float
    from_s: float
    to_s: float
    is_active: bool


@dataclass(frozen=True)
class Status:
    """How the source is doing. state: empty, running, paused, ended, lost."""

    state: str = "empty"
    message: str = ""
    speed: float = 0.0
    speed_wanted: float = 1.0
    recording: str = ""


@dataclass(frozen=True)
class Frames:
    """CAN frames, newest last; arrays of one length. direction 1: sent by the BMS; 2: by us."""

    time_s: np.ndarray
    id: np.ndarray
    bus: np.ndarray
    direction: np.ndarray
    flags: np.ndarray
    length: np.ndarray
    data: np.ndarray
    total: int = 0
    """Ever seen, those that are no longer held included."""


def no_frames() -> Frames:
    """Not one."""
    none = np.zeros(0, np.uint8)
    return Frames(np.zeros(0), none, none, none, none, none, np.zeros((0, 8), np.uint8))


class Data(Protocol):
    """Samples of a source, however many there are and wherever they lie."""

    def window(
        self, name: str, t0_s: float, t1_s: float, columns: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """(time_s (n,), values (count, n)) that show [t0_s, t1_s] in so many columns: all samples,
        or where those are far more, lows and highs in turn so that no spike is lost."""


@dataclass(frozen=True)
class Snapshot:
    """One moment.

    latest: name -> value, a float or (count,) array, as known at time_s; NaN where unknown.
    heard_s: name -> when it was last told; a name that is absent was never told. offers: what
    `View.ask` may be asked ("pause", "speed", "seek", "act", "request", "transmit", "clear").
    """

    title: str = ""
    source: str = ""
    time_s: float = 0.0
    span_s: tuple[float, float] = (0.0, 0.0)
    shape: Shape = Shape()
    signals: Mapping[str, Signal] = field(default_factory=dict)
    latest: Mapping[str, Any] = field(default_factory=dict)
    heard_s: Mapping[str, float] = field(default_factory=dict)
    events: Sequence[Any] = ()
    frames: Frames = field(default_factory=no_frames)
    faults: tuple[Fault, ...] = ()
    status: Status = Status()
    offers: frozenset[str] = frozenset()
    data: Data | None = None

    def number(self, name: str) -> float:
        """A scalar as it was last told; NaN if it is unknown."""
        value = self.latest.get(name)
        return float("nan") if value is None else float(np.ravel(value)[0])

    def vector(self, name: str) -> np.ndarray:
        """(count,) as it was last told; empty if it is unknown."""
        value = self.latest.get(name)
        return np.zeros(0, np.float32) if value is None else np.ravel(value)

    def is_stale(self, name: str, after_s: float = STALE_S) -> bool:
        """Whether a value is too old to be shown as present."""
        heard = self.heard_s.get(name)
        return heard is None or self.time_s - heard > after_s

    def word(self, name: str) -> str:
        """An enumeration in words; "unknown" if it is."""
        value = self.number(name)
        if np.isnan(value):
            return "unknown"
        signal = self.signals.get(name)
        return (signal.choices if signal else {}).get(int(value), f"{int(value)}")
