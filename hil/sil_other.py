"""Virtual time with a device that is not ours: it speaks its own messages (dut.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
from bms_hil import dut
from bms_hil.rig import REACHED, RigFile
from bms_hil.sil import Sil

from bms.errors import ConfigError
from bms.recorder import Event
from bms.sim import Simulation

REQUEST_S = 0.1  # spacing of the requests


class Other(Sil):
    """See bms_hil.rig.Rig."""

    capabilities = Sil.capabilities - {"diagnostics"}

    def __init__(self, file: RigFile) -> None:
        super().__init__(file)
        self.dut = dut.load(file.dut)
        if self.dut.library is None:
            raise ConfigError(file.dut, "library", None, "a shared library: sil has no device")
        self._firmware = self.dut.library
        self._asked, self._told = "standby", list[Event]()
        self._values: dict[str, list[tuple[float, Any]]] = {}

    def _listen(self, simulation: Simulation, state: str) -> None:
        super()._listen(simulation, state)
        self.dut.reset(REACHED.get(state, ""))
        self._told, self._values = [], {}

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
        raise ConfigError(self.file.dut, "", "clear", "a device with a request to clear")

    def _advance(self, seconds: float) -> None:
        left_s = seconds
        while left_s > 1e-9:
            self._running.world.put_frames(self.dut.file.bus, self.dut.frame(self._asked))
            before = len(self._pieces)
            super()._advance(min(left_s, REQUEST_S))
            left_s -= REQUEST_S
            for piece in self._pieces[before:]:
                decoded = self.dut.decode(piece.frames)
                self._told += self.dut.events(decoded)
                for time_s, values in decoded:
                    for place, value in values.items():
                        self._values.setdefault(place, []).append((time_s, value))

    def _events(self) -> list[Event]:
        """Of the world as it is told, of the device from its own messages."""
        world = [e for e in super()._events() if e.kind not in ("state", "diagnosis")]
        base_ns = round(self._base_s * 1e9)
        told = [
            Event(e.t_ns - base_ns, e.kind, e.name, e.index, e.value, e.text) for e in self._told
        ]
        return sorted(world + told, key=lambda e: e.t_ns)

    def _read(self, name: str) -> tuple[str, np.ndarray, np.ndarray] | None:
        found = super()._read(name)
        if found is None or name.startswith("true_"):
            return found
        place = self.dut.file.signal.get(name)
        if place is None:
            return None
        pairs = self._values.get(place, [])
        time_s = np.array([t for t, _ in pairs]) - self._base_s
        return found[0], time_s, np.array([float(v) for _, v in pairs])

    def identity(self) -> dict[str, str]:
        return super().identity() | {"device": self.dut.title}
