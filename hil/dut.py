"""A device under test that is not ours: what the names of the requirements mean in its words.

title = "Acme BMS"
library = "acme.so"                      # fits ecu.h; needed where the rig has no real device
dbc = "acme.dbc"
[signal]                                 # recorded name = where it is read, in the name's unit
meas_pack_voltage_v = "Status.PackVoltage"                            # Message.Signal of the DBC
meas_cell_voltage_max_v = { did = 0x0106, bytes = 2, scale = 0.001 }  # of its UDS server
meas_pack_current_a = { serial = "Basic.current_ca", scale = 0.01 }   # of its serial face
[state]                                  # its own words, and what the requirements call them
signal = "Status.State"
names = { open = "standby", drive = "normal_drive" }
[diagnosis]                              # not 0 while the diagnosis is raised
interlock_open = "Status.AlarmInterlock"
crash = { dtc = 0x1A1C00 }               # or a trouble code that is stored as failed now
[contactor]                              # its feedback: not 0 while closed
main_plus = "Status.MainPlus"
[request]                                # sent every 100 ms while the vehicle asks for it
drive = { message = "Command", values = { Mode = 1 } }
[uds]                                    # where its UDS server answers, and how often it is asked
request_id = 0x7E0
answer_id = 0x7E8
[serial]                                 # its serial protocol: a face of `bms face`
face = "jbd"
ask = [{ type = "Request", register = 3 }]

The three ways may be mixed. What is polled is known as finely as it is polled.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bms import config, spec
from bms.errors import ConfigError
from bms.links import FRAME_DTYPE
from bms.protocols import Malformed, codec
from bms.recorder import Event
from bms.signals import names as signal_names
from bms.spec import uds
from bms.tap import Frames

SENT = 1  # direction of what the device sends
NAN = float("nan")
NOT_AVAILABLE = "not_available"
REQUESTS = ("standby", "drive", "charge")
CONTACTORS = ("main_plus", "main_minus", "precharge")
Values = Mapping[str, Any]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value is read: one of dbc, did, dtc, serial. value = raw * scale + offset; of a data
    identifier `bytes` bytes from `at` on (0: all), big-endian; bit: only that bit."""

    dbc: str = ""
    did: int = -1
    dtc: int = -1
    serial: str = ""
    at: int = 0
    bytes: int = 0
    signed: bool = False
    bit: int = -1
    scale: float = 1.0
    offset: float = 0.0

    @property
    def key(self) -> str:
        """Its name among what was read."""
        if self.dbc:
            return self.dbc
        if self.serial:
            return f"serial {self.serial}"
        return f"dtc {self.dtc:06x}" if self.dtc >= 0 else f"did {self.did:04x}"

    def value(self, raw: Any) -> Any:
        """A number, or the word it was; NaN for unknown."""
        if isinstance(raw, bytes):
            part = raw[self.at : self.at + self.bytes] if self.bytes else raw[self.at :]
            raw = int.from_bytes(part, "big", signed=self.signed)
        if raw is None or raw == NOT_AVAILABLE:
            return NAN
        if isinstance(raw, str):
            return raw
        if self.bit >= 0:
            return int(raw) >> self.bit & 1
        return raw if self.scale == 1.0 and not self.offset else raw * self.scale + self.offset


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message and the values of its signals."""

    message: str
    values: dict[str, float]


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What says the device's state, and names for its words or numbers."""

    signal: str | Source
    names: dict[str, str]


class Uds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Its UDS server."""

    request_id: int = uds.REQUEST_ID
    answer_id: int = uds.ANSWER_ID
    every_s: float = 0.2


class Serial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Its serial face: a module of bms.protocols, the requests to send, and how often."""

    face: str
    ask: list[dict[str, Any]]
    baud: int = 0
    every_s: float = 0.2


class DutFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dut.toml."""

    title: str
    state: State
    dbc: str = ""
    library: str | None = None
    signal: dict[str, str | Source] = {}
    diagnosis: dict[str, str | Source] = {}
    contactor: dict[str, str | Source] = {}
    request: dict[str, Request] = {}
    uds: Uds | None = None
    serial: Serial | None = None
    bus: int = 0


def source(given: str | Source) -> Source:
    """A text is Message.Signal of the DBC."""
    return Source(dbc=given) if isinstance(given, str) else given


class Dut:
    """A DutFile with its database: requests as frames, frames and answers as values and events."""

    def __init__(self, path: Path) -> None:
        self.file = config.convert(config.load_toml(path), DutFile, path)
        self.title, self.path = self.file.title, path
        library = self.file.library
        self.library = str(path.parent / library) if library not in (None, "ours") else library
        place = spec.DBC if self.file.dbc == "ours" else path.parent / self.file.dbc
        self._codec = codec.load(place) if self.file.dbc else None
        self.signals = {k: source(v) for k, v in self.file.signal.items()}
        self.diagnoses = {k: source(v) for k, v in self.file.diagnosis.items()}
        self.contactors = {k: source(v) for k, v in self.file.contactor.items()}
        self.says = source(self.file.state.signal)
        self._check()
        self._state, self._raised = "", dict[str, bool]()

    # ---- is it possible? ----

    def sources(self) -> dict[str, Source]:
        """Every place by its key in the file."""
        named = (("signal", self.signals), ("diagnosis", self.diagnoses),
                 ("contactor", self.contactors))  # fmt: skip
        found = {f"{table}.{k}": v for table, rows in named for k, v in rows.items()}
        return found | {"state.signal": self.says}

    def _check(self) -> None:
        for key, place in self.sources().items():
            self._check_source(key, place)
        known = signal_names()
        for name in self.signals:
            if name not in known:
                raise ConfigError(self.path, "signal", name, "a name of docs/signals.md")
        for name in self.contactors:
            if name not in CONTACTORS:
                raise ConfigError(self.path, "contactor", name, f"one of {', '.join(CONTACTORS)}")
        for what in REQUESTS if self.file.request else ():
            if what not in self.file.request:
                raise ConfigError(self.path, "request", what, f"a request for each of {REQUESTS}")
            self.frame(what)

    def _check_source(self, key: str, place: Source) -> None:
        ways = [bool(place.dbc), place.did >= 0, place.dtc >= 0, bool(place.serial)]
        if sum(ways) != 1:
            raise ConfigError(self.path, key, place.key, "one of dbc, did, dtc, serial")
        if place.dbc:
            message, _, name = place.dbc.partition(".")
            found = self._codec.messages.get(message) if self._codec else None
            if found is None or name not in {s.name for s in found.signals}:
                where = self.file.dbc or "a DBC, which `dbc` names"
                raise ConfigError(self.path, key, place.dbc, f"Message.Signal of {where}")
        elif place.serial:
            module = self.protocol()
            message, _, name = place.serial.partition(".")
            if name not in getattr(getattr(module, message, None), "__struct_fields__", ()):
                raise ConfigError(self.path, key, place.serial, f"Message.field of {module}")
        elif self.file.uds is None:
            raise ConfigError(self.path, key, place.key, "a table [uds] that says where to ask")

    def protocol(self) -> Any:
        """The module of its serial face. ConfigError when there is none."""
        wanted = self.file.serial
        if wanted is None:
            raise ConfigError(self.path, "serial", None, "a table [serial] with a face")
        try:
            module = import_module(f"bms.protocols.{wanted.face}")
        except ImportError:
            module = None
        if module is None or getattr(module, "MEDIUM", "") != "serial":
            raise ConfigError(self.path, "serial.face", wanted.face, "a serial face: `bms face`")
        return module

    # ---- to and from the wires ----

    period_s = 0.1
    """Spacing of the requests."""

    def hear(self, identifier: int, data: bytes) -> None:
        """Every frame of the bus, for those whose requests depend on it."""

    def frames(self, what: str, now_s: float, clear: bool) -> list[tuple[int, bytes, bool]]:
        """What the vehicle sends now: identifier, data, whether extended."""
        made = self.frame(what)
        return [(int(f["id"]), bytes(f["data"][: f["length"]]), bool(f["flags"] & 1)) for f in made]

    def reset(self, state: str) -> None:
        """The device is in this state, and nothing is raised."""
        self._state, self._raised = state, {}

    def frame(self, what: str) -> np.ndarray:
        """The frame that asks for standby, drive or charge: one FRAME_DTYPE, or none."""
        request = self.file.request.get(what)
        if request is None:
            return np.zeros(0, FRAME_DTYPE)
        message = self._codec.messages.get(request.message) if self._codec else None
        if message is None or self._codec is None:
            raise ConfigError(self.path, f"request.{what}", request.message, "a message of the DBC")
        data = self._codec.encode(request.message, dict(request.values))
        made = np.zeros(1, FRAME_DTYPE)
        made["id"], made["length"] = message.frame_id, len(data)
        made["flags"] = 1 if message.is_extended_frame else 0
        made["data"][0, : len(data)] = np.frombuffer(data, np.uint8)
        return made

    def decode(self, frames: Frames) -> list[tuple[float, Values]]:
        """(seconds, {"Message.Signal": value}) of what the device sent and the database knows."""
        own = np.flatnonzero((frames.direction == SENT) & (frames.bus == self.file.bus))
        found = []
        for k in own:
            data = bytes(frames.data[k, : frames.length[k]])
            values = self.decode_one(int(frames.id[k]), data, bool(frames.flags[k] & 1))
            if values:
                found.append((float(frames.time_s[k]), values))
        return found

    def decode_one(self, identifier: int, data: bytes, is_long: bool = False) -> Values:
        """{"Message.Signal": value} of one frame; empty for what the database does not know."""
        values = self._codec.decode(identifier, data, extended=is_long) if self._codec else None
        if values is None or isinstance(values, Malformed):
            return {}
        key = identifier | (codec.EXTENDED if is_long else 0)
        assert self._codec is not None
        name = self._codec.by_identifier[key].name
        return {f"{name}.{s}": v for s, v in values.items()}

    def events(self, decoded: list[tuple[float, Values]]) -> list[Event]:
        """States entered, contactors moved, diagnoses raised or cleared since the last call."""
        told = []
        for time_s, values in decoded:
            at_ns = round(time_s * 1e9)
            if self.says.key in values:
                raw = self.says.value(values[self.says.key])
                word = self.file.state.names.get(str(raw), "")
                if word and word != self._state:
                    told.append(Event(at_ns, "state", word, -1, NAN, f"{self._state} to {word}"))
                    self._state = word
            for name, place in self.diagnoses.items():
                if self._changed(name, place, values):
                    verb = "raised" if self._raised[name] else "cleared"
                    told.append(Event(at_ns, "diagnosis", name, -1, NAN, f"trip {verb}"))
            for name, place in self.contactors.items():
                if self._changed(f"contactor {name}", place, values):
                    verb = "closed" if self._raised[f"contactor {name}"] else "opened"
                    text = f"{name.replace('_', ' ')} {verb}"
                    told.append(Event(at_ns, "contactor", text, -1, NAN, "by its feedback"))
        return told

    def _changed(self, name: str, place: Source, values: Values) -> bool:
        if place.key not in values:
            return False
        value = place.value(values[place.key])
        is_on = value not in ("no", "low", "off") if isinstance(value, str) else bool(value > 0)
        before, self._raised[name] = self._raised.get(name), is_on
        return is_on != (before or False)

    @property
    def state(self) -> str:
        """What the device last said, in the words of the requirements."""
        return self._state

    @property
    def polled_s(self) -> float:
        """How finely what happens is known, as far as it is polled; 0 when nothing is."""
        spans = [0.0]
        for key, place in self.sources().items():
            if key.startswith("signal.") or place.dbc:
                continue
            table = self.file.serial if place.serial else self.file.uds
            spans.append(table.every_s if table else 0.0)
        return max(spans)


def load(path: str) -> Dut:
    """A dut.toml; ConfigError for what cannot be."""
    return Dut(Path(path))
