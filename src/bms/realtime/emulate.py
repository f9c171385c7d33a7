"""The pack as a process: plant, chips and sensors in closed loop with whatever is on the wires.

    emulation = Emulation("bench_16s1p", scenario="drive", seed=1)
    EmulateService(emulation, afe="pty", can=[buses.DEFAULT], teller=Teller(False)).serve()

The vehicle of the scenario (its requests, its load or charger) is part of it, unless `has_vehicle`
is false: then requests come from the bus, and the load follows the power that they announce.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bms import _loop, _realtime, faults, spec
from bms.errors import ConfigError
from bms.faults import ActiveFault
from bms.protocols.request import TEST_KEY
from bms.realtime.afe import ChipsEnd, state_folder
from bms.realtime.buses import Buses
from bms.realtime.live import Shadow
from bms.realtime.pins import Pins, Wiring, mask
from bms.realtime.service import Service
from bms.realtime.status import Control, Teller, can_words, lateness, ms_words, pins_words
from bms.recorder import Event, Writer
from bms.result import metadata, put_in_words, summarise
from bms.scenarios import Phase
from bms.signals import bind
from bms.sim import KINDS, Simulation, Sink

DRAIN_S = 0.5  # the recorder's buffer is changed this often
EVENT_FIELDS = ("event_us", "event_kind", "event_code", "event_level", "event_index", "event_value")
PLACE = re.compile(r"^([a-z_]+)\.([a-z0-9_]+)(?:\[(\d+)\])?$")


class Emulation(Simulation):
    """A simulation whose firmware is elsewhere. `live` is the arena the runner steps; `world` is
    its shadow, through which phases and acts of the scenario are carried out."""

    def __init__(
        self, pack: str | Path, *, scenario: str | Path = "drive", cell: str | Path | None = None,
        seed: int = 1, settings: dict[str, str] | None = None, has_vehicle: bool = True,
        request_key: bytes = TEST_KEY,
    ) -> None:  # fmt: skip
        self.emulator = _realtime.Emulator()
        self.has_vehicle = has_vehicle
        super().__init__(scenario, pack=pack, cell=cell, seed=seed, settings=settings)
        self.live = self.world
        self.probes = []  # the firmware's are in another process
        self.shadow = Shadow(self.live, self.emulator)
        world: Any = self.shadow
        self.world = world
        self.emulator.parts["emulator"]["has_vehicle"][0] = has_vehicle
        self.live.parts["vehicle"]["request_key"][:] = tuple(request_key)
        self.live.parts["vehicle"]["asks_again"][0] = 1  # either side may be started again
        self._conditions = 0
        self._is_over = False

    def _new_world(self) -> _loop.World:
        return _loop.World(self.emulator.stand_in(), self.emulator.config)

    @property
    def time_s(self) -> float:
        """Simulated seconds since the start."""
        return int(self.live.parts["loop"]["elapsed_us"][0]) * 1e-6

    @property
    def phase_name(self) -> str:
        """Of the scenario's phase; "over" after the last, whose request then stands."""
        return "over" if self._is_over else self.plan.phases[max(self.position.phase, 0)].name

    def manage(self, writer: Writer | None) -> list[Event]:
        """Carry out what is due of the scenario; the events since the last call."""
        before = len(self.events)
        seen = int(self.emulator.parts["emulator"]["conditions"][0])
        if not self._is_over and (seen != self._conditions or self._is_due()):
            self.shadow.refresh()
            if seen != self._conditions:
                self._next_phase()
            self._conditions = seen
            self._is_over = self._phase() is None
            self.shadow.commit()
        self._collect(writer)
        return self.events[before:]

    def _is_due(self) -> bool:
        here, now_s = self.position, self.time_s
        if here.phase < 0 or self._next_act_s() <= now_s:
            return True
        return now_s >= here.phase_start_s + self.plan.phases[here.phase].duration_s

    def _enter(self, phase: Phase) -> None:
        super()._enter(phase)
        if self.has_vehicle:
            return
        self.world.parts["vehicle"]["kind"][0] = KINDS["power"]
        self.world.parts["loop"]["profile_step_us"][0] = 1
        self.world.set_profile(self.emulator.parts["emulator"]["heard_demand_w"])

    def _collect(self, writer: Sink | None) -> None:
        for entry in self.emulator.events():
            columns = {name: np.array([x]) for name, x in zip(EVENT_FIELDS, entry, strict=True)}
            self.events.append(put_in_words(columns, 0))
        for event in self.events[self.position.recorded :] if writer else []:
            assert writer is not None
            writer.event(event.t_ns, event.kind, event.name, event.index, event.value, event.text)
        if writer:
            self.position.recorded = len(self.events)

    def recorder(self, path: Path, cells_every_s: float) -> Writer:
        """A recorder of the live arena, frames and serial bytes included."""
        signals = bind(self.live.parts, self.pack)
        return Writer(
            path, signals, metadata(self), cells_every_s=cells_every_s, frames=True, uart=True
        )

    def change(self, changes: dict[str, float]) -> None:
        """Write fields of the world: "plant.cell_short_siemens[37]" -> value. ConfigError for one
        that is not there."""
        self.shadow.refresh()
        for place, value in changes.items():
            values, index = self._place(self.shadow.parts, place)
            try:
                values[index] = value
            except (TypeError, ValueError, OverflowError):
                raise ConfigError("request", place, value, f"a number for {values.dtype}") from None
        self.shadow.commit()

    def request(self, what: str) -> None:
        """As Simulation.request."""
        self.shadow.refresh()
        super().request(what)
        self.shadow.commit()

    def load(self, **how: Any) -> None:
        """As Simulation.load."""
        self.shadow.refresh()
        super().load(**how)
        self.shadow.commit()

    def charge(self, current_a: float, voltage_v: float | None = None) -> None:
        """As Simulation.charge."""
        self.shadow.refresh()
        super().charge(current_a, voltage_v)
        self.shadow.commit()

    def inject(self, fault: str, **how: Any) -> int:
        """As Simulation.inject; the runner takes it between two steps."""
        self.shadow.refresh()
        handle = super().inject(fault, **how)
        self.shadow.commit()
        return handle

    def withdraw(self, handle: int) -> None:
        """As Simulation.withdraw."""
        self.shadow.refresh()
        super().withdraw(handle)
        self.shadow.commit()

    def faults(self) -> tuple[ActiveFault, ...]:
        """As Simulation.faults."""
        return faults.active(self.live.parts["inject"])

    def _places(self) -> dict[tuple[str, str], tuple[int, int, str]]:
        return _loop.places()  # the firmware's memory is elsewhere

    def look_up(self, place: str) -> float | int:
        """The present value of a field, with what was changed before."""
        self.shadow.settle()
        values, index = self._place(self.live.parts, place)
        found: float | int = values[index].item()
        return found

    @staticmethod
    def _place(parts: dict[str, dict[str, np.ndarray]], place: str) -> tuple[np.ndarray, int]:
        found = PLACE.match(str(place))
        values = parts.get(found[1], {}).get(found[2]) if found else None
        index = int(found[3] or 0) if found else 0
        if values is None or index >= len(values):
            raise ConfigError("request", str(place), "", "part.field[index] of the world")
        return values, index


class EmulateService(Service):
    """`bms emulate`: an Emulation on its wires."""

    def __init__(
        self, emulation: Emulation, *, afe: str, can: Sequence[str], teller: Teller,
        link: Path | None = None, record: Path | None = None, cells_every_s: float = 1.0,
        pins: Wiring | None = None, arm_s: float = 0.0, duration_s: float | None = None,
        control: Control | None = None,
    ) -> None:  # fmt: skip
        super().__init__(teller, control, duration_s)
        self.emulation, self.runner, self._arm_s = emulation, emulation.emulator, arm_s
        self.writer: Writer | None = None
        self.pins: Pins | None = None
        self._drained_s, self._began_s = time.monotonic(), time.monotonic()
        self.summary: dict[str, Any] = {}
        self.buses = Buses(can)
        try:
            self.runner.attach(emulation.live, self.buses.api, self.buses.addresses)
            name = link or state_folder() / f"{emulation.pack.name}-afe"
            self.afe = ChipsEnd(self.runner, afe, name)
            if pins:
                fields = self.runner.parts["emulator"]
                fields["lines_in_mask"][0] = mask(pins.inputs)
                fields["lines_out_mask"][0] = mask(pins.outputs)
                self.pins = Pins(pins, self.runner.runner_address, 0)
            if record:
                self.writer = emulation.recorder(record, cells_every_s)
                emulation.live.set_recorder(self.writer.address)
            emulation.manage(self.writer)
        except BaseException:
            self.buses.close()
            raise

    def opened(self) -> None:
        """Tell where the other side finds us."""
        if self.pins:
            self.pins.start(self._arm_s, self.priority)
        afe = self.afe.status(_realtime.now_us())
        place = f"{afe['place']} (also {afe['link']})" if "link" in afe else self.afe.path
        places = [b["place"] or b["url"] for b in self.buses.status()]
        words = [
            f"pack    {self.emulation.pack.name}, {self.emulation.plan.title}",
            f"afe     {place}",
            f"can     {', '.join(places)}",
            f"thread  {self._thread()}",
        ]
        if self.pins:
            words.append(f"pins    {pins_words(self.pins.status(_realtime.now_us()))}")
        self.teller.tell("ready", "\n".join(words), **self.facts())

    def _thread(self) -> str:
        if self.runner.priority:
            return f"real-time priority {self.runner.priority}"
        return "ordinary priority: real-time priority is not permitted here"

    def look(self, now_s: float) -> None:
        """Ports, scenario, events, recorder."""
        self.afe.look(now_s)
        for event in self.emulation.manage(self.writer):
            words = f"{event.t_ns * 1e-9:8.2f} {event.kind:10} {event.name}  {event.text}"
            self.teller.tell(
                event.kind, words, t_s=event.t_ns * 1e-9, name=event.name, index=event.index,
                value=event.value, text=event.text,
            )  # fmt: skip
        if self.writer and now_s - self._drained_s >= DRAIN_S:
            self._drained_s = now_s
            self.writer.exchange(self._swap)

    def _swap(self, address: int) -> None:
        self.runner.offer_recorder(address)
        while not self.runner.take_recorder():
            time.sleep(5e-4)

    def facts(self) -> dict[str, Any]:
        """Everything a script may want to know; keys carry their units."""
        parts, now_us = self.emulation.live.parts, _realtime.now_us()
        loop, plant, vehicle = (parts[x] for x in ("loop", "plant", "vehicle"))
        own, io = self.runner.parts["emulator"], self.runner.parts["io"]
        return {
            "side": "emulate", "pack": self.emulation.pack.name, "t_s": self.emulation.time_s,
            "phase": self.emulation.phase_name,
            "state": spec.state_name(int(vehicle["obs_state"][0])),
            "contactors": int(plant["contactor_closed"][0]),
            "pins_in": int(loop["input_pins"][0]), "pins_out": int(loop["commanded_pins"][0]),
            "pack_voltage_v": plant["pack_voltage_v"][0],
            "pack_current_a": plant["pack_current_a"][0],
            "pack_soc_frac": plant["pack_soc_frac"][0], "trips": int(loop["trips"][0]),
            "afe": self.afe.status(now_us), "can": self.buses.status(),
            "io": {"fresh": bool(io["is_fresh"][0]), "frames": int(io["frames"][0]),
                   "errors": int(io["errors"][0]), "losses": int(io["losses"][0])},
            "sent_frames": int(own["sent_frames"][0]),
            "heard_frames": int(own["heard_frames"][0]),
            "events_lost": int(own["events_lost"][0]),
            "recorder_late": int(own["recorder_late"][0]),
            "recording": str(self.writer.path) if self.writer else None,
            "pins": self.pins.status(now_us) if self.pins else None,
            "priority": self.runner.priority, **lateness(self.runner.parts["pace"]),
        }  # fmt: skip

    def words(self) -> str:
        """One line for people."""
        f = self.facts()
        closed = "".join(c if f["contactors"] >> b & 1 else "." for b, c in enumerate("+-p"))
        line = (
            f"{f['t_s']:.1f} s  {f['phase']}: {f['state']} [{closed}]"
            f"  {f['pack_voltage_v']:.1f} V {f['pack_current_a']:+.1f} A"
            f"  afe {f['afe']['state']}  can {can_words(f['can'])}"
            f"  io {'ok' if f['io']['fresh'] else 'SILENT'}  {ms_words(f)}"
        )
        return f"{line}  pins {pins_words(f['pins'])}" if f["pins"] else line

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """set, get, request, load, charge, inject, withdraw, faults, io, arm: the docs tell."""
        if "set" in request:
            self.emulation.change(dict(request["set"]))
        elif "get" in request:
            return {"values": {x: self.emulation.look_up(x) for x in request["get"]}}
        elif "request" in request:
            self.emulation.request(str(request["request"]))
        elif "load" in request:
            self.emulation.load(**_load(request["load"]))
        elif "charge" in request:
            self.emulation.charge(_above_0("charge", request["charge"]))
        elif "inject" in request:
            return inject(self.emulation, request["inject"])
        elif "withdraw" in request:
            self.emulation.withdraw(_handle(request["withdraw"]))
        elif "faults" in request:
            return {"faults": [vars(one) for one in self.emulation.faults()]}
        elif "io" in request:
            self.runner.parts["emulator"]["io_is_cut"][0] = request["io"] == "cut"
        elif "arm" in request and self.pins:
            self.pins.arm(float(request["arm"]))
        else:
            return super().answer(request)
        return {"t_s": self.emulation.time_s}

    def close(self) -> None:
        """Lines off, recording finished, ports closed."""
        if self.pins:
            self.pins.close()
        emulation = self.emulation
        emulation.manage(self.writer)
        emulation.live.set_recorder(0)
        emulation.world = emulation.live
        self.summary = summarise(emulation, time.monotonic() - self._began_s)
        self.summary["realtime"] = lateness(self.runner.parts["pace"])
        try:
            if self.writer:
                self.writer.close(self.summary)
        finally:
            self.afe.close()
            self.buses.close()


def _above_0(key: str, value: Any) -> float:
    if not isinstance(value, int | float) or not 0.0 < value < 1e6:
        raise ConfigError("request", key, value, "amperes above 0")
    return float(value)


def _load(asked: Any) -> dict[str, Any]:
    """Arguments of Simulation.load; ConfigError for anything else."""
    if not isinstance(asked, dict) or set(asked) - {"current_a", "power_w", "obeys_limits"}:
        raise ConfigError("request", "load", asked, "current_a or power_w, and obeys_limits")
    for key, value in asked.items():
        wanted = bool if key == "obeys_limits" else (int, float)
        if not isinstance(value, wanted):
            raise ConfigError("request", f"load.{key}", value, "a number, or true and false")
    return dict(asked)


def inject(emulation: Emulation, wanted: Any) -> dict[str, Any]:
    """{"id": "SEN-03", "index": 2, "after_s": 1.0, ...}: the handle it got."""
    how = dict(wanted) if isinstance(wanted, dict) else {"id": wanted}
    unknown = set(how) - {"id", "index", "value", "after_s", "ramp_s", "for_s"}
    if unknown or not isinstance(how.get("id"), str):
        expected = "an object with id, and index, value, after_s, ramp_s, for_s"
        raise ConfigError("request", "inject", wanted, expected)
    name = how.pop("id")
    given = {key: value for key, value in how.items() if value is not None}
    for key, value in given.items():
        is_number = isinstance(value, int if key == "index" else (int, float))
        if isinstance(value, bool) or not is_number:
            raise ConfigError("request", f"inject.{key}", value, "a number")
    handle = emulation.inject(name, **given)
    return {"handle": handle, "t_s": emulation.time_s}


def _handle(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError("request", "withdraw", value, "the handle that inject gave")
    return value
