"""A device under test that is not ours: what the names of the requirements mean in its messages.

title = "Acme BMS"
library = "acme.so"                      # fits ecu.h; needed where the rig has no real device
dbc = "acme.dbc"
[signal]                                 # recorded name = "Message.Signal"
meas_pack_voltage_v = "Status.PackVoltage"
[state]                                  # its own words, and what the requirements call them
signal = "Status.State"
names = { open = "standby", drive = "normal_drive" }
[diagnosis]                              # not 0 while the diagnosis is raised
interlock_open = "Status.AlarmInterlock"
[request]                                # sent every 100 ms while the vehicle asks for it
drive = { message = "Command", values = { Mode = 1 } }
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bms import config
from bms.errors import ConfigError
from bms.links import FRAME_DTYPE
from bms.protocols import Malformed, codec
from bms.recorder import Event
from bms.signals import names as signal_names
from bms.tap import Frames

SENT = 1  # direction of what the device sends
NAN = float("nan")
REQUESTS = ("standby", "drive", "charge")


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message and the values of its signals."""

    message: str
    values: dict[str, float]


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The signal that says the device's state, and names for its words or numbers."""

    signal: str
    names: dict[str, str]


class DutFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dut.toml."""

    title: str
    dbc: str
    state: State
    request: dict[str, Request]
    library: str | None = None
    signal: dict[str, str] = {}
    diagnosis: dict[str, str] = {}
    bus: int = 0


class Dut:
    """A DutFile with its database: requests as frames, frames as signals and events."""

    def __init__(self, path: Path) -> None:
        self.file = config.convert(config.load_toml(path), DutFile, path)
        self.title, self.path = self.file.title, path
        self.library = str(path.parent / self.file.library) if self.file.library else None
        self._codec = codec.load(path.parent / self.file.dbc)
        self._check()
        self._state, self._raised = "", dict[str, bool]()

    def _check(self) -> None:
        places = {f"signal.{k}": v for k, v in self.file.signal.items()}
        places |= {f"diagnosis.{k}": v for k, v in self.file.diagnosis.items()}
        places["state.signal"] = self.file.state.signal
        for key, place in places.items():
            message, _, name = place.partition(".")
            found = self._codec.messages.get(message)
            if found is None or name not in {s.name for s in found.signals}:
                raise ConfigError(self.path, key, place, f"Message.Signal of {self.file.dbc}")
        known = signal_names()
        for name in self.file.signal:
            if name not in known:
                raise ConfigError(self.path, "signal", name, "a name of docs/signals.md")
        for what in REQUESTS:
            if what not in self.file.request:
                raise ConfigError(self.path, "request", what, f"a request for each of {REQUESTS}")
            self.frame(what)

    def reset(self, state: str) -> None:
        """The device is in this state, and nothing is raised."""
        self._state, self._raised = state, {}

    def frame(self, what: str) -> np.ndarray:
        """The frame that asks for standby, drive or charge: one FRAME_DTYPE."""
        request = self.file.request[what]
        message = self._codec.messages.get(request.message)
        if message is None:
            raise ConfigError(self.path, f"request.{what}", request.message, "a message of the DBC")
        data = self._codec.encode(request.message, dict(request.values))
        made = np.zeros(1, FRAME_DTYPE)
        made["id"], made["length"] = message.frame_id, len(data)
        made["flags"] = 1 if message.is_extended_frame else 0
        made["data"][0, : len(data)] = np.frombuffer(data, np.uint8)
        return made

    def decode(self, frames: Frames) -> list[tuple[float, Mapping[str, Any]]]:
        """(seconds, {"Message.Signal": value}) of what the device sent and the database knows."""
        found = []
        own = np.flatnonzero((frames.direction == SENT) & (frames.bus == self.file.bus))
        for k in own:
            identifier, is_long = int(frames.id[k]), bool(frames.flags[k] & 1)
            data = bytes(frames.data[k, : frames.length[k]])
            values = self._codec.decode(identifier, data, extended=is_long)
            if isinstance(values, Malformed):
                continue
            key = identifier | (codec.EXTENDED if is_long else 0)
            name = self._codec.by_identifier[key].name
            found.append((float(frames.time_s[k]), {f"{name}.{s}": v for s, v in values.items()}))
        return found

    def events(self, decoded: list[tuple[float, Mapping[str, Any]]]) -> list[Event]:
        """States entered and diagnoses raised or cleared since the last call."""
        told = []
        for time_s, values in decoded:
            at_ns = round(time_s * 1e9)
            if self.file.state.signal in values:
                word = self.file.state.names.get(str(values[self.file.state.signal]), "")
                if word and word != self._state:
                    told.append(Event(at_ns, "state", word, -1, NAN, f"{self._state} to {word}"))
                    self._state = word
            for name, place in self.file.diagnosis.items():
                if place not in values:
                    continue
                is_raised = bool(values[place])
                if is_raised != self._raised.get(name, False):
                    verb = "raised" if is_raised else "cleared"
                    told.append(Event(at_ns, "diagnosis", name, -1, NAN, f"trip {verb}"))
                    self._raised[name] = is_raised
        return told

    @property
    def state(self) -> str:
        """What the device last said, in the words of the requirements."""
        return self._state


def load(path: str) -> Dut:
    """A dut.toml; ConfigError for what cannot be."""
    return Dut(Path(path))
