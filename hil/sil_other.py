"""Virtual time with a device that is not ours: it speaks its own messages (dut.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
from bms_hil import dut, polls
from bms_hil.diagnostic import Diagnostic, Wire
from bms_hil.rig import REACHED, RigFile
from bms_hil.sil import Sil

from bms.errors import BmsError, ConfigError, LinkError
from bms.recorder import Event
from bms.sim import Simulation

REQUEST_S = 0.1  # spacing of the requests
SILENT_S = 3.0  # a device that has said nothing for so long does not answer


class Other(Sil):
    """See bms_hil.rig.Rig."""

    def __init__(self, file: RigFile) -> None:
        super().__init__(file)
        self.dut = dut.load(file.dut)
        if self.dut.library is None:
            raise ConfigError(file.dut, "library", None, "a shared library: sil has no device")
        if self.dut.file.serial is not None:
            raise ConfigError(file.dut, "serial", self.dut.file.serial.face, "none: ecu.h has no "
                              "serial line to a host; a rig `lab` has")  # fmt: skip
        self._firmware = None if self.dut.library == "ours" else self.dut.library
        self._asked, self._told = "standby", list[Event]()
        self._values: dict[str, list[tuple[float, Any]]] = {}
        self._poll_s, self._heard_any = 0.0, False
        if self.dut.file.uds is None:
            self.capabilities = Sil.capabilities - {"diagnostics"}
        self.resolution_s = max(self.resolution_s, self.dut.polled_s)

    def prove(self) -> None:
        """The device starts and says so. LinkError with what was seen instead."""
        start = self.file.start
        key = ("standby", start.soc_frac, start.temperature_degc)
        try:
            self._ready[key] = self._reach(*key)
        except BmsError as error:
            frames = [p.frames for p in self._pieces]
            own = [f.id[(f.direction == dut.SENT) & (f.bus == self.dut.file.bus)] for f in frames]
            seen = sorted({int(i) for ids in own for i in ids})
            told = ", ".join(f"{i:X}" for i in seen[:8]) or "silence"
            raise LinkError(
                f"{self.dut.title} did not say {self.dut.says.key} as standby: {error}; seen: "
                f"{told}; to fix: state.signal and state.names of {self.file.dut} must be what "
                "the device sends"
            ) from None

    @property
    def diagnostic(self) -> Diagnostic:
        """A tester at its UDS server, when it has one."""
        place = self.dut.file.uds
        if place is None:
            raise ConfigError(self.file.dut, "uds", None, "a table [uds]: the device's UDS server")
        if self._tester is None:
            wire = Wire(self._put, self._heard, self._step)
            is_ours = self.dut.library == "ours"
            self._tester = Diagnostic(wire, place.request_id, place.answer_id, is_ours=is_ours)
        return self._tester

    def _listen(self, simulation: Simulation, state: str) -> None:
        super()._listen(simulation, state)
        self.dut.reset(REACHED.get(state, ""))
        self._told, self._values = [], {}
        self._poll_s = simulation.time_s

    def _said_state(self) -> str:
        return self.dut.state

    def request(self, what: str) -> None:
        super().request(what)  # the vehicle's own wish; refuses what there is not
        self._asked = what

    def bring_to(self, state: str, **start: Any) -> None:
        super().bring_to(state, **start)
        self._asked = {"standby": "standby", "normal": "drive", "charge": "charge"}[state]

    def load(self, *, current_a: float | None = None, power_w: float | None = None,
             obeys_limits: bool = True) -> None:  # fmt: skip
        """The vehicle cannot read the device's limits: nothing is held back."""
        super().load(current_a=current_a, power_w=power_w, obeys_limits=False)

    def clear(self) -> None:
        if self.dut.library != "ours":
            raise ConfigError(self.file.dut, "", "clear", "a device with a request to clear")
        super().clear()

    def _advance(self, seconds: float) -> None:
        end_s = self._running.time_s + seconds
        while end_s - self._running.time_s > 1e-9:
            self._running.world.put_frames(self.dut.file.bus, self.dut.frame(self._asked))
            self._step(min(end_s - self._running.time_s, REQUEST_S))
            if self.dut.file.uds is not None and self._running.time_s >= self._poll_s:
                self._poll(self.dut.file.uds.every_s)

    def _step(self, seconds: float) -> None:
        """Time passes, and what the device said meanwhile is kept."""
        before = len(self._pieces)
        super()._advance(seconds)
        for piece in self._pieces[before:]:
            self._keep(self.dut.decode(piece.frames))

    def _poll(self, every_s: float) -> None:
        """One round of questions. A device that still starts is not asked again at once."""
        now_s = self._running.time_s
        self._poll_s = now_s + every_s
        try:
            self._keep([(now_s, polls.ask_uds(self.diagnostic, self.dut))])
        except LinkError:
            if now_s > SILENT_S and not self._heard_any:
                raise
        else:
            self._heard_any = True

    def _keep(self, decoded: list[tuple[float, dut.Values]]) -> None:
        self._told += self.dut.events(decoded)
        for time_s, values in decoded:
            for key, value in values.items():
                self._values.setdefault(key, []).append((time_s, value))

    def _events(self) -> list[Event]:
        """Of the world as it is told, of the device from its own messages."""
        world = [e for e in super()._events() if e.kind not in ("state", "diagnosis")]
        base_ns = round(self._base_s * 1e9)
        told = [
            Event(e.t_ns - base_ns, e.kind, e.name, e.index, e.value, e.text)
            for e in self._told
            if e.kind != "contactor"  # the world's are true
        ]
        return sorted(world + told, key=lambda e: e.t_ns)

    def _read(self, name: str) -> tuple[str, np.ndarray, np.ndarray] | None:
        found = super()._read(name)
        if found is None or name.startswith("true_"):
            return found
        place = self.dut.signals.get(name)
        if place is None:
            return None
        pairs = self._values.get(place.key, [])
        time_s = np.array([t for t, _ in pairs]) - self._base_s
        return found[0], time_s, np.array([float(place.value(v)) for _, v in pairs])

    def identity(self) -> dict[str, str]:
        return super().identity() | {"device": self.dut.title}
