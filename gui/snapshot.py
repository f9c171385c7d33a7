"""What a panel sees: one moment of a source, the same whether it is simulated, replayed or live.

Panels read snapshots and ask for things through `View.ask`; they know no plant, bus or firmware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

COMMANDS: Mapping[str, str] = {
    "pause": "be paused",  # ()
    "speed": "run at another speed",  # (times real time)
    "step": "go on in steps",  # (seconds)
    "seek": "be looked at elsewhere",  # (time_s)
    "loop": "be played in a loop",  # (on)
    "restart": "begin again",  # ()
    "record": "be recorded",  # (path), "" ends it
    "request": "be asked for another mode",  # ("standby", "drive" or "charge")
    "inject": "have faults put into it",  # (id, index, value, after_s, ramp_s, for_s); None: as is
    "withdraw": "have faults taken back",  # (handle)
    "clear": "be asked to clear diagnoses",  # (as service)
    "transmit": "be sent frames",  # (bms_gui.transmit.Job, ...) in one tuple
    "registers": "show registers of its chips",  # (wanted)
    "write_register": "have registers written",  # (chip, address, value)
}
"""What `View.ask` may be asked, in the words of a refusal; arguments in brackets."""

BECAUSE = {
    "recording": "what is recorded has happened",
    "live": "it is looked at over the bus, nothing more",
    "simulation": "a simulation has no way to do it",
    "": "there is no source; open one first",
}


def refusal(source: str, word: str) -> str:
    """A sentence for somebody who asked for what a source cannot do."""
    what = {"": "Nothing", "live": "A live bus"}.get(source, f"A {source}")
    can = "can" if not source else "cannot"
    because = next((text for key, text in BECAUSE.items() if key and key in source), BECAUSE[""])
    return f"{what} {can} {COMMANDS.get(word, word)}: {because}."


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
    predicted_ms: Mapping[str, float] = field(default_factory=dict)
    """Reaction time of each diagnosis as the configuration has it; empty where that is unknown."""


@dataclass(frozen=True)
class Injected:
    """One fault of the catalogue that was put into the world.

    state: "armed" (waits for its time), "active" or "over". on_s, off_s: when it begins and ends;
    infinity where nobody said. value: NaN for the catalogue's own.
    """

    handle: int
    id: str
    index: int
    value: float
    state: str
    on_s: float
    off_s: float
    ramp_s: float = 0.0
    """How long it takes to be there in full."""


@dataclass(frozen=True)
class Registers:
    """Registers of the monitor chips. values: (chips, 512) uint8. known: False while they are
    asked for and have not come."""

    values: np.ndarray
    time_s: float
    known: bool = True


@dataclass(frozen=True)
class Status:
    """How the source is doing. state: empty, running, paused, waiting,
    ended, lost. message: what somebody
    who looks should know now. recording: path of what is being recorded, or "". speed: times real
    time, as reached and as wanted (inf: as fast as it goes)."""

    state: str = "empty"
    message: str = ""
    speed: float = 0.0
    speed_wanted: float = 1.0
    recording: str = ""
    detail: str = ""
    """Health of a link in few words: frames a second, what was lost."""


@dataclass(frozen=True)
class Frames:
    """CAN frames of both buses, newest last; arrays of one length, data (n, 8) bytes.

    bus 0: vehicle, 1: sensors. direction 0: received by the BMS; 1: sent by it; 2: sent by us.
    flags as in a recording (1 extended, 2 remote, 4 FD, 16 error).
    """

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
        or where those are far more, lows and highs in turn so that no spike is lost. A vector
        that is shown so has one row: the least and most of all its elements."""

    def moment(self, time_s: float) -> tuple[Mapping[str, Any], Mapping[str, float]]:
        """(latest, heard_s), as in a snapshot, of a moment that is held."""

    def frames(self, until_s: float = float("inf")) -> Frames:
        """The newest frames up to a time."""


@dataclass(frozen=True)
class Snapshot:
    """One moment.

    latest: name -> value, a float or (count,) array, as known at time_s; NaN where unknown.
    heard_s: name -> when it was last told; a name that is absent was never told. span_s: what is
    held. events: all that are known, of a recording also those after time_s. is_past: time_s is
    not the newest there is. offers: words of COMMANDS that the source can meet.
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
    injected: tuple[Injected, ...] = ()
    registers: Registers | None = None
    is_past: bool = False
    status: Status = Status()
    offers: frozenset[str] = frozenset()
    data: Data | None = None
    book: Any = None
    """Message database of a bus that is not ours (bms.protocols.codec.Codec); None: our own."""

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
        if not np.isfinite(value):
            return "unknown"
        signal = self.signals.get(name)
        return (signal.choices if signal else {}).get(int(value), f"{int(value)}")
