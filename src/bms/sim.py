"""The closed loop in virtual time. Read this first.

    load -> plant -> chips and sensors (bytes) -> firmware -> contactors and balancing -> recorder

`Simulation` loads a scenario, a pack and a cell, fills the arena (see ext/loop/loop.h) by field
names, and then lets the compiled loop run many milliseconds at a time. Python is entered only at
events: a phase of the scenario ends, something is done to the world (an act), the recorder's buffer
is full, or there are events to collect. Truth (`true_`), what the BMS measured (`meas_`) and what
it estimated (`est_`) meet only in the recording.

>>> run = Simulation("drive", seed=1).run(30)  # doctest: +SKIP
>>> run.summary["trips"], run["est_soc_frac"][-1]  # doctest: +SKIP
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bms import _firmware, _loop, cells, faults, packs, replay, scenarios, spec
from bms.errors import ConfigError, RecorderError
from bms.faults import ActiveFault
from bms.firmware import config as firmware_config
from bms.firmware import library
from bms.model import Cell, Pack
from bms.plant import build as plant_build
from bms.plant import chips as chips_build
from bms.protocols.request import TEST_KEY
from bms.recorder import Event, Writer
from bms.result import Run, metadata, put_in_words, summarise
from bms.rng import stream_key
from bms.scenarios import Phase, Plan
from bms.signals import bind

Progress = Callable[[float, str], None]
MS_AT_ONCE = 10_000  # simulated milliseconds between looks at the host: progress, Ctrl-C
REQUESTS = {"standby": 0, "drive": 1, "charge": 2}
KINDS = {"rest": 0, "power": 1, "current": 2, "charge": 3}
UNTIL = {
    "soc_above": (_loop.UNTIL_SOC_ABOVE, "until_soc_above_frac"),
    "soc_below": (_loop.UNTIL_SOC_BELOW, "until_soc_below_frac"),
    "current_below_a": (_loop.UNTIL_CURRENT_BELOW, "until_current_below_a"),
    "state": (_loop.UNTIL_STATE, "until_state"),
    "temperature_above_degc": (_loop.UNTIL_TEMPERATURE_ABOVE, "until_temperature_above_degc"),
}


@dataclass
class Position:
    """Where a run is in its plan."""

    phase: int = -1
    phase_start_s: float = 0.0
    act: int = 0
    recorded: int = 0  # events already given to the recorder


@dataclass(frozen=True)
class Snapshot:
    """All mutable state of a simulation."""

    arena: bytes
    position: Position
    events: tuple[Event, ...]


class Sink(Protocol):
    """What takes samples while a simulation runs: a Writer, or a Tap."""

    @property
    def address(self) -> int:
        """Of the recorder_t the loop fills."""

    def drain(self) -> None:
        """Takes what was filled, so that the loop can go on."""

    def event(
        self, t_ns: int, kind: str, name: str, index: int, value: float, text: str, /
    ) -> None:
        """Something happened."""


class Watch(Protocol):
    """What looks on after every millisecond: addresses of a loop_watch_t and of its state."""

    def handles(self) -> tuple[int, int]:
        """(function, state); both live as long as this does."""


class Simulation:
    """One pack, one firmware, one scenario, one seed.

    scenario: name in the library or path of a TOML file. pack, cell: names or paths that replace
    the scenario's. cycle: CSV of speed against time for scenarios that drive. settings: `--set`
    values, dotted key -> text. firmware: path of a shared library that fits ecu.h; None is ours.
    Raises ConfigError for anything that cannot be.

    `world.parts[part][field]` are arrays over the live arena; `snapshot()` and `restore()` copy all
    of it."""

    def __init__(
        self,
        scenario: str | Path = "drive",
        *,
        pack: str | Path | Pack | None = None,
        cell: str | Path | Cell | None = None,
        cycle: str | Path | None = None,
        seed: int = 1,
        settings: Mapping[str, str] | None = None,
        firmware: str | Path | None = None,
    ) -> None:
        chosen = scenarios.load(scenario)
        self.pack = pack if isinstance(pack, Pack) else packs.load(pack or chosen.pack)
        self.cell = (
            cell if isinstance(cell, Cell) else cells.load(cell or chosen.cell or self.pack.cell)
        )
        packs.check(self.pack, self.cell)
        self.seed, self.scenario = seed, chosen.name
        self.settings = dict(settings or {})
        self.cycle = str(cycle) if cycle else None
        self.plan: Plan = scenarios.compile(
            chosen, self.cell, self.pack, cycle=cycle, settings=self.settings, seed=seed
        )
        known = chips_build.identities(self.pack)
        self.config = firmware_config.build(self.cell, self.pack, identities=known)
        self.firmware = library.load(firmware) if firmware else None
        self.world = self._new_world()
        self._fill()
        self.refused = self.world.start()
        if self.refused:
            raise ConfigError(
                self.pack.file,
                "",
                f"ecu_init code {self.refused}",
                "a configuration the firmware accepts",
            )
        self.probes = self.firmware.probes() if self.firmware else _firmware.probes()
        self.events: list[Event] = []
        self.position = Position()

    def _new_world(self) -> _loop.World:
        """The arena, with the firmware that is to live in it."""
        api = self.firmware.address if self.firmware else _firmware.api_address()
        return _loop.World(api, self.config)

    def _fill(self) -> None:
        """Write every parameter and initial state into the arena, by name."""
        parts, plan, pack = self.world.parts, self.plan, self.pack
        plant_build.fill(
            parts["plant"], self.cell, pack,
            seed=self.seed, soc_frac=plan.start_soc_frac,
            temperature_degc=plan.start_temperature_degc,
            ambient_degc=plan.ambient_degc, critical=plan.critical,
        )  # fmt: skip
        parts["plant"]["ageing_acceleration"][0] = plan.ageing_acceleration
        chips_build.fill(
            parts["chips"], parts["ivt"], parts["imd"], self.cell, pack, seed=self.seed
        )
        loop, vehicle = parts["loop"], parts["vehicle"]
        loop["seed"][0] = stream_key(self.seed, "ecu.entropy")
        loop["start_us"][0] = 1_000_000
        loop["supply_mv"][0], loop["interlock"][0], loop["ignition"][0] = 13_500, 1, 1
        loop["comparator_a"][0] = pack.sensors.comparator_a
        loop["boot_ms"][0] = (
            20  # start-up of a small microcontroller with a self-test of its memory
        )
        for bus in ("vehicle_bus", "sensor_bus"):
            parts[bus]["bitrate_bps"][0] = 500_000
            parts[bus]["corrupt_id"][0] = 0xFFFFFFFF  # any, should frames ever be corrupted
        loop["nvm"][:] = 0xFF
        # assumption: coils of 12 V hold down to half of it, a control unit down to 5 V
        parts["seam"]["coil_hold_mv"][0], parts["seam"]["brown_out_mv"][0] = 6_000, 5_000
        vehicle["charger_slew_a_per_s"][0] = 200.0
        vehicle["silent_us"][0] = 500_000
        vehicle["request_key"][:] = tuple(TEST_KEY)

    def watch(self, watch: Watch | None) -> None:
        """Let a watch (bms.invariants.Watch) look at the world after every millisecond; None ends
        it."""
        self._watch = watch  # kept alive
        self.world.set_watch(*(watch.handles() if watch else (0, 0)))

    # ---- running ----

    def run(
        self,
        seconds: float | None = None,
        *,
        progress: Progress | None = None,
        record: str | Path | bool = True,
        cells_every_s: float = 1.0,
        frames: bool = False,
        inputs: bool = False,
    ) -> Run:
        """Run the scenario to its end, or for `seconds` of it at most, and return what happened.

        record: a path, True for a temporary file that lives as long as the result, or False.
        cells_every_s: spacing of the per-cell signals. frames: also record CAN frames and serial
        bytes. inputs: also what the firmware is given and answers, for `bms replay`. An interrupted
        run leaves a readable recording; so does a disk that fails, and the run goes on (the
        result's `trouble` says it)."""
        started = time.perf_counter()
        folder = tempfile.TemporaryDirectory(prefix="bms-") if record is True else None
        path = Path(folder.name) / "run.arrow" if folder else Path(str(record)) if record else None
        writer = self._writer(path, cells_every_s, frames, inputs) if path else None
        summary: dict[str, Any] = {}
        trouble = ""
        try:
            self.world.set_recorder(writer.address if writer else 0)
            self._advance(seconds, progress, writer)
        finally:
            self.world.set_recorder(0)
            wall = time.perf_counter() - started
            summary = summarise(self, wall)
            try:
                if writer:
                    writer.close(summary)
            except RecorderError as error:  # the run is done all the same
                trouble = str(error)
        return Run(self, summary, tuple(self.events), path, folder, trouble)

    def _writer(self, path: Path, cells_every_s: float, frames: bool, inputs: bool) -> Writer:
        about = metadata(self) | ({"replay": replay.origin(self)} if inputs else {})
        writer = Writer(
            path,
            bind(self.world.parts, self.pack),
            about,
            cells_every_s=cells_every_s,
            frames=frames,
            uart=frames,
            inputs=inputs,
        )
        if inputs:
            replay.begin(self, writer.low_level)
        return writer

    def _advance(
        self, seconds: float | None, progress: Progress | None, writer: Sink | None
    ) -> None:
        end_s = self.plan.duration_s if seconds is None else self.time_s + seconds
        while (phase := self._phase()) is not None and self.time_s < end_s - 1e-9:
            stop_s = min(end_s, self.position.phase_start_s + phase.duration_s, self._next_act_s())
            milliseconds = min(MS_AT_ONCE, max(1, round((stop_s - self.time_s) * 1e3)))
            _, why = self.world.run(milliseconds)
            if why == _loop.RECORDER_FULL and writer:
                writer.drain()
            self._collect(writer)
            if why == _loop.CONDITION:
                self._next_phase()
            if progress:
                progress(min(1.0, self.time_s / max(end_s, 1e-9)), phase.name)

    def advance(self, seconds: float, sink: Sink) -> None:
        """Run on for `seconds` at most, with a sink that takes the samples; no result is made."""
        self.world.set_recorder(sink.address)
        try:
            self._advance(seconds, None, sink)
        finally:
            self.world.set_recorder(0)

    @property
    def is_over(self) -> bool:
        """Whether the plan has been run to its end."""
        return self.position.phase_start_s < 0.0

    @property
    def time_s(self) -> float:
        """Simulated seconds since the start."""
        return int(self.world.parts["loop"]["elapsed_us"][0]) * 1e-6

    # ---- phases and acts ----

    def _phase(self) -> Phase | None:
        """The phase that runs now, entered if need be; acts that are due are done first. None at
        the end."""
        here = self.position
        while (
            here.act < len(self.plan.acts) and self.plan.acts[here.act].at_s <= self.time_s + 1e-9
        ):
            self._act()
        if here.phase >= 0:
            present = self.plan.phases[here.phase]
            if self.time_s < here.phase_start_s + present.duration_s - 1e-9:
                return present
        return self._next_phase()

    def _next_phase(self) -> Phase | None:
        here = self.position
        here.phase += 1
        here.phase_start_s = self.time_s
        if here.phase >= len(self.plan.phases):
            here.phase = len(self.plan.phases) - 1
            here.phase_start_s = -1e18  # past its end
            return None
        phase = self.plan.phases[here.phase]
        self._event("phase", phase.name, text=f"{phase.request}, {phase.kind}")
        self._enter(phase)
        return phase

    def _enter(self, phase: Phase) -> None:
        loop, vehicle = self.world.parts["loop"], self.world.parts["vehicle"]
        if phase.ambient_degc is not None:
            self.world.parts["plant"]["ambient_degc"][0] = phase.ambient_degc
        vehicle["request"][0], vehicle["kind"][0] = REQUESTS[phase.request], KINDS[phase.kind]
        vehicle["obeys_limits"][0] = phase.obeys_limits
        vehicle["charge_current_a"][0] = phase.charge_current_a
        vehicle["charge_voltage_v"][0] = phase.charge_voltage_v
        vehicle["step_count"][0] = len(phase.charge_steps)
        for k, (soc_frac, current_a) in enumerate(phase.charge_steps):
            vehicle["step_soc_frac"][k], vehicle["step_current_a"][k] = soc_frac, current_a
        loop["profile_index"][0] = 0
        loop["profile_from_us"][0] = loop["elapsed_us"][0]
        loop["profile_step_us"][0] = round(phase.step_s * 1e6)
        self.world.set_profile(phase.values)
        self._arm(phase.until)

    def request(self, what: str) -> None:
        """From now on the vehicle asks for "standby", "drive" or "charge"; ConfigError for anything
        else. The next phase of a plan replaces it, as it does `load`."""
        if what not in REQUESTS:
            raise ConfigError("request", "request", what, ", ".join(REQUESTS))
        self.world.parts["vehicle"]["request"][0] = REQUESTS[what]

    def load(
        self,
        *,
        current_a: float | None = None,
        power_w: float | None = None,
        obeys_limits: bool = True,
    ) -> None:
        """From now on the vehicle wants this current or power, positive discharges; 0 A for
        neither. obeys_limits: whether it stays inside what the BMS advertises."""
        loop, vehicle = self.world.parts["loop"], self.world.parts["vehicle"]
        is_power = power_w is not None
        vehicle["kind"][0] = KINDS["power" if is_power else "current"]
        vehicle["obeys_limits"][0] = obeys_limits
        loop["profile_index"][0], loop["profile_step_us"][0] = 0, 1_000_000
        self.world.set_profile(np.array([power_w if is_power else current_a or 0.0], np.float64))

    def charge(self, current_a: float, voltage_v: float | None = None) -> None:
        """From now on a charger: constant current, then constant voltage. current_a: above 0.
        voltage_v: of the pack; None is the operate limit of its cells."""
        vehicle = self.world.parts["vehicle"]
        ceiling = self.cell.limits.voltage_max_v[0] * self.pack.topology.blocks
        vehicle["kind"][0], vehicle["obeys_limits"][0] = KINDS["charge"], 1
        vehicle["charge_current_a"][0] = current_a
        vehicle["charge_voltage_v"][0] = ceiling if voltage_v is None else voltage_v
        vehicle["step_count"][0] = 0

    def _arm(self, until: Mapping[str, Any]) -> None:
        loop = self.world.parts["loop"]
        armed = 0
        for key, value in until.items():
            bit, field = UNTIL[key]
            armed |= bit
            loop[field][0] = spec.state_number(value) if key == "state" else value
        loop["until"][0], loop["until_current_seen"][0] = armed, 0

    def _next_act_s(self) -> float:
        acts = self.plan.acts
        return acts[self.position.act].at_s if self.position.act < len(acts) else float("inf")

    def _act(self) -> None:
        act = self.plan.acts[self.position.act]
        self.position.act += 1
        part, _, field = act.field.partition(".")
        try:
            values = self.world.parts[part][field]
            values[act.index] = act.value
        except (KeyError, IndexError):
            raise ConfigError(
                self.scenario,
                "act.field",
                f"{act.field}[{act.index}]",
                "a field of the world and an index inside it",
            ) from None
        self._event("act", act.field, index=act.index, value=act.value, text=act.text)

    # ---- faults ----

    def inject(
        self, fault: str, *, index: int = 0, value: float | None = None,
        after_s: float = 0.0, ramp_s: float | None = None, for_s: float | None = None,
    ) -> int:  # fmt: skip
        """Put a fault of the catalogue into the world (see bms.faults); returns its handle.

        index: which cell, sensor, module ... None for value, ramp_s, for_s: as the catalogue says.
        Raises ConfigError for what does not exist or is out of range, BmsError when 64 moves are
        under way."""
        return faults.inject(
            self.world.parts["inject"], self._places(), faults.fault(fault), self.pack, self.cell,
            int(self.time_s * 1e6 + 0.5), index=index, value=value,
            after_s=after_s, ramp_s=ramp_s, for_s=for_s,
        )  # fmt: skip

    def withdraw(self, handle: int) -> None:
        """End an injection; what it changed comes back in the next millisecond."""
        faults.withdraw(self.world.parts["inject"], handle)

    def faults(self) -> tuple[ActiveFault, ...]:
        """Injections that wait, act, or are over and not yet forgotten."""
        return faults.active(self.world.parts["inject"])

    def _places(self) -> dict[tuple[str, str], tuple[int, int, str]]:
        """Where every field lies in the arena, the firmware's memory as one of them."""
        memory = (_loop.firmware_offset(), len(self.world.firmware_bytes), "u1")
        return _loop.places() | {("firmware", "memory"): memory}

    # ---- events ----

    def _event(
        self, kind: str, name: str, *, index: int = -1, value: float = float("nan"), text: str = ""
    ) -> None:
        at_ns = int(self.world.parts["loop"]["elapsed_us"][0]) * 1000
        self.events.append(Event(at_ns, kind, name, index, value, text))

    def _collect(self, writer: Sink | None) -> None:
        """Take the events out of the arena, put them into words, and hand all new ones to the
        recorder."""
        loop = self.world.parts["loop"]
        for k in range(int(loop["event_count"][0])):
            self.events.append(put_in_words(loop, k))
        loop["event_count"][0] = 0
        if writer:
            for event in self.events[self.position.recorded :]:
                writer.event(
                    event.t_ns, event.kind, event.name, event.index, event.value, event.text
                )
            self.position.recorded = len(self.events)

    # ---- snapshots ----

    def snapshot(self) -> Snapshot:
        """All mutable state. Only a simulation of the same build, pack and cell can take it
        back."""
        return Snapshot(self.world.snapshot(), replace(self.position), tuple(self.events))

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from a snapshot as if nothing had happened since."""
        self.world.restore(snapshot.arena)
        self.position, self.events = replace(snapshot.position), list(snapshot.events)
        if self.position.phase >= 0:
            self.world.set_profile(self.plan.phases[self.position.phase].values)
