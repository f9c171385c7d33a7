"""The firmware as a process: what ecu.h asks for, from the wires, every millisecond.

    EcuService(config, api, afe="/dev/ttyUSB0", can=["socketcan:can0"], ...).serve()

Its pins are the messages of the I/O module, or real lines. An ECU whose I/O module never spoke, or
has been silent for half a second, has no supply: it is off, and starts afresh when the module
speaks and its serial port is there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bms import _realtime, spec
from bms.errors import ConfigError
from bms.firmware.library import Probe
from bms.realtime.afe import EcuEnd
from bms.realtime.buses import Buses
from bms.realtime.nvm import Keeper, NvmFile
from bms.realtime.pins import Pins, Wiring, mask
from bms.realtime.service import Service
from bms.realtime.status import Control, Teller, can_words, lateness, ms_words, pins_words

STATE_NONE = 255


class EcuService(Service):
    """`bms ecu`. `api` is the address of an ecu_api_t, `config` the bytes the firmware is given;
    `nvm` a file for its memory, None: memory that is forgotten. `probes` are windows into its state
    that scripts may look through."""

    def __init__(
        self, config: bytes, api: int, *, name: str, afe: str, can: Sequence[str], teller: Teller,
        probes: Sequence[Probe] = (),
        nvm: Path | None = None, pins: Wiring | None = None, arm_s: float = 0.0,
        duration_s: float | None = None, control: Control | None = None,
    ) -> None:  # fmt: skip
        super().__init__(teller, control, duration_s)
        self.name, self._arm_s = name, arm_s
        self._probes = {probe.name: probe for probe in probes}
        self.runner = _realtime.Host(api, config, os.urandom(16))
        self.pins: Pins | None = None
        self.keeper: Keeper | None = None
        self._told: tuple[str, str, bool] = ("", "", False)
        if nvm:
            file = NvmFile(nvm)
            self.runner.parts["host"]["nvm"][:] = file.pages
            self.keeper = Keeper(file, self.runner)
        self.buses = Buses(can)
        try:
            self.runner.attach(self.buses.api, self.buses.addresses)
            self.afe = EcuEnd(self.runner, afe)
            if pins:
                fields = self.runner.parts["host"]
                fields["lines_in_mask"][0] = mask(pins.inputs)
                fields["lines_out_mask"][0] = mask(pins.outputs)
                safe = sum(1 << p.bit for p in spec.pins() if p.direction == "input" and p.safe)
                self.pins = Pins(pins, self.runner.runner_address, safe)
        except BaseException:
            self.buses.close()
            raise

    def opened(self) -> None:
        """Tell what runs and where."""
        if self.pins:
            self.pins.start(self._arm_s, self.priority)
        urls = ", ".join(self.buses.urls)
        words = [f"ecu     {self.name}", f"afe     {self.afe.path}", f"can     {urls}"]
        if self.pins:
            words.append(f"pins    {pins_words(self.pins.status(_realtime.now_us()))}")
        self.teller.tell("ready", "\n".join(words), **self.facts())

    def look(self, now_s: float) -> None:
        """Ports; changes of state are told as they happen."""
        self.afe.look(now_s)
        phase, state, fresh = told = self._state()
        if told != self._told:
            self._told = told
            words = f"        {phase}, {state or 'silent'}, inputs {'fresh' if fresh else 'SILENT'}"
            self.teller.tell("state", words, phase=phase, state=state, io_fresh=fresh)

    def _state(self) -> tuple[str, str, bool]:
        host = self.runner.parts["host"]
        number = int(host["told_state"][0])
        state = "" if number == STATE_NONE else spec.state_name(number)
        phase = _realtime.HOST_PHASES[int(host["phase"][0])]
        return phase, state, bool(self.runner.parts["io"]["is_fresh"][0])

    def facts(self) -> dict[str, Any]:
        """Everything a script may want to know; keys carry their units."""
        host, io, now_us = self.runner.parts["host"], self.runner.parts["io"], _realtime.now_us()
        phase, state, fresh = self._state()
        trip = int(host["told_trip"][0])
        return {
            "side": "ecu", "firmware": self.name, "t_s": int(host["now_us"][0]) * 1e-6,
            "phase": phase, "state": state, "trip": spec.diagnosis_name(trip) if trip else "",
            "refused_code": int(host["refused_code"][0]),
            "pins_in": int(host["input_pins"][0]), "pins_out": int(host["output_pins"][0]),
            "supply_mv": int(host["supply_mv"][0]), "starts": int(host["starts"][0]),
            "resets": int(host["resets"][0]), "power_losses": int(host["power_losses"][0]),
            "step_errors": int(host["step_errors"][0]),
            "frames_in": int(host["frames_in"][0]), "frames_out": int(host["frames_out"][0]),
            "afe": self.afe.status(now_us), "can": self.buses.status(),
            "io": {"fresh": fresh, "frames": int(io["frames"][0]), "errors": int(io["errors"][0]),
                   "losses": int(io["losses"][0])},
            "nvm": {"file": str(self.keeper.file.path), "stores": int(host["nvm_stores"][0]),
                    "failures": self.keeper.failures, "damaged": self.keeper.file.damaged}
            if self.keeper else None,
            "pins": self.pins.status(now_us) if self.pins else None,
            "priority": self.runner.priority, **lateness(self.runner.parts["pace"]),
        }  # fmt: skip

    def words(self) -> str:
        """One line for people."""
        f = self.facts()
        trip = f" (trip: {f['trip']})" if f["trip"] else ""
        line = (
            f"{f['t_s']:.1f} s  {f['phase']}: {f['state'] or 'silent'}{trip}"
            f"  coils {f['pins_out']:03b}  afe {f['afe']['state']}  can {can_words(f['can'])}"
            f"  io {'ok' if f['io']['fresh'] else 'SILENT'}  {ms_words(f)}"
        )
        return f"{line}  pins {pins_words(f['pins'])}" if f["pins"] else line

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """io, arm, probe; see docs/bench-setup.md."""
        if "probe" in request:
            return {"values": {str(name): self._probe(str(name)) for name in request["probe"]}}
        if "io" in request:
            self.runner.parts["host"]["io_is_cut"][0] = request["io"] == "cut"
        elif "arm" in request:
            if not self.pins:
                raise ConfigError("request", "arm", request["arm"], "an ECU with --pins")
            self.pins.arm(float(request["arm"]))
        else:
            return super().answer(request)
        return {}

    def _probe(self, name: str) -> list[float]:
        """What a window into the firmware's state shows now."""
        if name not in self._probes:
            raise ConfigError("request", "probe", name, f"one of {', '.join(self._probes)}")
        probe = self._probes[name]
        dtype = np.dtype(probe.dtype)
        raw = self.runner.firmware_bytes[probe.offset :][: probe.length * dtype.itemsize]
        found: list[float] = np.frombuffer(raw.tobytes(), dtype).tolist()
        return found

    def close(self) -> None:
        """Lines off, memory stored, ports closed."""
        if self.pins:
            self.pins.close()
        if self.keeper:
            self.keeper.close()
        self.afe.close()
        self.buses.close()
