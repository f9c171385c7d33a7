"""Software in the loop: pack and firmware in this process, in virtual time.

A state is reached once; every later test begins from a copy of it, so a test costs what it
simulates and nothing else. Events are known to the millisecond, signals each 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bms_hil.diagnostic import Diagnostic, Wire
from bms_hil.rig import (
    ABOUT,
    CHARGE_C,
    LONG_SETTLE_S,
    REACHED,
    REQUEST,
    WITHIN_S,
    Injection,
    RigFile,
)  # fmt: skip
from bms_hil.traces import NAN, Recording
from bms_hil.verdicts import Log

from bms import __version__, packs, spec
from bms.errors import BmsError, ConfigError, LinkError
from bms.links import FRAME_DTYPE
from bms.recorder import Event, Signal, Writer
from bms.result import metadata
from bms.sim import Simulation, Snapshot
from bms.tap import Piece, Tap

KIND = True
SCENARIO = Path(__file__).parent / "scenarios" / "bench.toml"
SENT = 1  # direction of what the BMS sends
AT_ONCE_S = 4.0  # simulated between looks at a condition that needs no finer one


@dataclass(frozen=True)
class Ready:
    """A state that was reached: the simulation in it, and its copy."""

    simulation: Simulation
    snapshot: Snapshot


class Sil:
    """See bms_hil.rig.Rig."""

    capabilities = frozenset(
        {
            "virtual_time",
            "truth",
            "faults",
            "contactor_feedback",
            "world",
            "events_1ms",
            "any_start",
            "diagnostics",
        }
    )
    resolution_s = 0.001

    def __init__(self, file: RigFile) -> None:
        self.name, self.file, self.log = "sil", file, Log()
        self._firmware = None if file.dut == "ours" else file.dut
        self._ready: dict[tuple[str, float, float], Ready] = {}
        self._starts: dict[tuple[float, float], Simulation] = {}
        self._tap: Tap | None = None
        self._pieces: list[Piece] = []
        self._joined: dict[str, Any] = {}
        self._base_s = 0.0
        self._pack = packs.load(file.pack)
        self._simulation: Simulation | None = None
        self._heard_to = 0
        self._tester: Diagnostic | None = None

    # ---- life ----

    def begin(self, log: Log) -> None:
        self.log, self._tap, self._pieces, self._joined = log, None, [], {}
        self._simulation = None

    def close(self) -> None:
        self._ready.clear()
        self._starts.clear()

    def bring_to(
        self, state: str, *, soc_frac: float | None = None, temperature_degc: float | None = None
    ) -> None:
        """A copy of the state, which is reached the first time."""
        if state not in REACHED:
            raise ConfigError("rig.bring_to", "state", state, f"one of {', '.join(REACHED)}")
        start = self.file.start
        soc = start.soc_frac if soc_frac is None else soc_frac
        warm = start.temperature_degc if temperature_degc is None else temperature_degc
        key = (state, soc, warm)
        if key not in self._ready:
            self._ready[key] = self._reach(state, soc, warm)
        ready = self._ready[key]
        self._simulation = ready.simulation
        ready.simulation.restore(ready.snapshot)
        ready.simulation.world.set_profile(np.zeros(1))  # a copy does not carry the demand
        self._base_s = ready.simulation.time_s
        self._listen(ready.simulation, state)

    def prove(self) -> None:
        """A device that is not ours starts and says so. LinkError with what was seen instead."""
        start = self.file.start
        key = ("standby", start.soc_frac, start.temperature_degc)
        try:
            self._ready[key] = self._reach(*key)
        except ConfigError:
            raise
        except BmsError as error:
            frames = [p.frames.id[p.frames.direction == SENT] for p in self._pieces]
            seen = sorted({int(i) for ids in frames for i in ids})
            told = ", ".join(f"{i:X}" for i in seen[:8])
            told = (
                f"{error}; seen: {told}" if seen else f"silence for {WITHIN_S:g} s after its start"
            )
            raise LinkError(
                f"{self.file.dut}: {told}; to fix: it must send BmsState of bms.dbc, or "
                "a dut.toml must say what it sends"
            ) from None

    def _fresh(self, soc: float, warm: float) -> Simulation:
        """A simulation at its beginning; made once for each start."""
        made = Simulation(
            SCENARIO, pack=self.file.pack, cell=self.file.cell, seed=self.file.seed,
            firmware=self._firmware,
            settings={
                "start.soc_frac": repr(soc), "start.temperature_degc": repr(warm),
                "start.ambient_degc": repr(warm),
            },
        )  # fmt: skip
        made.run(0.1, record=False)  # the only phase is entered: from here on the test decides
        return made

    def _reach(self, state: str, soc: float, warm: float) -> Ready:
        simulation = self._simulation = self._fresh(soc, warm)
        self._listen(simulation, "")
        self.request(REQUEST[state])
        end_s, wanted = simulation.time_s + WITHIN_S, REACHED[state]
        while self._said_state() != wanted:
            if simulation.time_s >= end_s:
                raise BmsError(
                    f"the BMS did not reach {wanted} within {WITHIN_S:g} s; "
                    f"it says {self._said_state() or 'nothing'}"
                )
            self._advance(0.05)
        if state == "charge":
            simulation.charge(CHARGE_C * self.capacity_ah)
        else:
            simulation.load(current_a=0.0)
        self._advance(LONG_SETTLE_S)
        return Ready(simulation, simulation.snapshot())

    def _listen(self, simulation: Simulation, state: str) -> None:
        """Record from here on. state: which was reached."""
        self._tap = Tap(simulation, cells_every_s=0.1)
        self._tap.skip_events()
        self._pieces, self._joined, self._heard_to, self._tester = [], {}, 0, None

    def _said_state(self) -> str:
        """What the BMS says of its state."""
        return spec.state_name(int(self._running.world.parts["vehicle"]["obs_state"][0]))

    def _advance(self, seconds: float) -> None:
        """Lets simulated time pass."""
        if self._tap is None:
            raise BmsError("the rig was not brought to a state: rig.bring_to(...)")
        left_s = seconds
        while left_s > 1e-9:
            self._pieces.append(self._tap.run(min(left_s, AT_ONCE_S)))
            left_s -= AT_ONCE_S
        self._joined = {}

    # ---- model port ----

    @property
    def pack(self) -> Any:
        return self._pack

    @property
    def cell(self) -> Any:
        return self._running.cell

    @property
    def capacity_ah(self) -> float:
        """Rated capacity of the pack."""
        return float(self.cell.electric.capacity_ah * self._pack.topology.parallel)

    @property
    def _running(self) -> Simulation:
        if self._simulation is None:
            raise BmsError("the rig was not brought to a state: rig.bring_to(...)")
        return self._simulation

    @property
    def now_s(self) -> float:
        return self._running.time_s - self._base_s

    def set(self, field: str, value: float, index: int = 0) -> None:
        """Writes a field of the world."""
        part, _, name = field.partition(".")
        try:
            self._running.world.parts[part][name][index] = value
        except (KeyError, IndexError):
            raise ConfigError(
                "rig.set", field, index, "a field of the world and an index"
            ) from None

    def load(
        self, *, current_a: float | None = None, power_w: float | None = None,
        obeys_limits: bool = True,
    ) -> None:  # fmt: skip
        self._running.load(current_a=current_a, power_w=power_w, obeys_limits=obeys_limits)

    def wait(self, seconds: float) -> None:
        self._advance(seconds)

    # ---- network and diagnostic port ----

    def request(self, what: str) -> None:
        self._running.request(what)

    def clear(self) -> None:
        vehicle = self._running.world.parts["vehicle"]
        vehicle["clear_request"][0] = 1
        self.wait(0.5)
        vehicle["clear_request"][0] = 0

    @property
    def diagnostic(self) -> Diagnostic:
        """A tester on the vehicle bus."""
        if self._tester is None:
            self._tester = Diagnostic(Wire(self._put, self._heard, self.wait))
        return self._tester

    def _put(self, identifier: int, data: bytes) -> None:
        made = np.zeros(1, FRAME_DTYPE)
        made["id"], made["length"], made["flags"] = identifier, len(data), identifier > 0x7FF
        made["data"][0, : len(data)] = np.frombuffer(data, np.uint8)
        self._running.world.put_frames(0, made)

    def _heard(self) -> list[tuple[int, bytes]]:
        """What the BMS sent on the vehicle bus since the last call."""
        found, self._heard_to = self._pieces[self._heard_to :], len(self._pieces)
        return [
            (int(f.id[k]), bytes(f.data[k, : f.length[k]]))
            for f in (p.frames for p in found)
            for k in np.flatnonzero((f.direction == SENT) & (f.bus == 0))
        ]

    # ---- electrical-error port ----

    def inject(
        self, fault: str, *, index: int = 0, value: float | None = None, after_s: float = 0.0,
        ramp_s: float | None = None, for_s: float | None = None,
    ) -> Injection:  # fmt: skip
        """A fault of the catalogue."""
        from bms import faults

        known = faults.load()
        if fault not in known:
            raise ConfigError("rig.inject", "fault", fault, "an id of the catalogue: `bms faults`")
        options: dict[str, Any] = {} if ramp_s is None else {"ramp_s": ramp_s}
        handle = self._running.inject(
            fault, index=index, value=value, after_s=after_s, for_s=for_s, **options
        )
        entry = known[fault]
        return Injection(
            handle, fault, self.now_s + after_s, float(entry.budget_ms or NAN), entry.diagnoses
        )

    def withdraw(self, injection: Injection) -> None:
        self._running.withdraw(injection.handle)

    # ---- what was recorded ----

    @property
    def recording(self) -> Recording:
        names = [s.name for s in self._signals()]
        return Recording(self._read, self._events(), names, self.resolution_s, self.log)

    def _signals(self) -> list[Signal]:
        return self._tap.signals if self._tap else []

    def _events(self) -> list[Event]:
        base_ns = round(self._base_s * 1e9)
        return [
            Event(e.t_ns - base_ns, e.kind, e.name, e.index, e.value, e.text)
            for piece in self._pieces
            for e in piece.events
        ]

    def _read(self, name: str) -> tuple[str, np.ndarray, np.ndarray] | None:
        if name not in self._joined:
            signal = next((s for s in self._signals() if s.name == name), None)
            if signal is None:
                return None
            pieces = [p for p in self._pieces if p.time_s.size]
            is_vector = signal.rate == "cells"
            time_s = [p.cell_time_s if is_vector else p.time_s for p in pieces]
            values = [(p.cell_values if is_vector else p.values)[name] for p in pieces]
            if not pieces:
                return signal.unit, np.zeros(0), np.zeros(0)
            self._joined[name] = (
                signal.unit, np.concatenate(time_s) - self._base_s, np.concatenate(values)
            )  # fmt: skip
        found: tuple[str, np.ndarray, np.ndarray] = self._joined[name]
        return found

    def keep(self, path: Path) -> bool:
        """Signals and events as a recording."""
        pieces = [p for p in self._pieces if p.time_s.size]
        if not pieces:
            return False
        time_s = np.concatenate([p.time_s for p in pieces])
        found = [(s, self._read(s.name)) for s in self._signals()]
        told = [(s, *f) for s, f in found if f is not None and f[2].size]
        live, at = np.zeros(sum(s.source.size for s, *_ in told)), 0
        signals, columns = [], []
        for signal, unit, own_s, values in told:
            size = signal.source.size
            place = np.clip(np.searchsorted(own_s, time_s - self._base_s, "right") - 1, 0, None)
            columns.append(values.reshape(values.shape[0], -1)[place].astype(float))
            signals.append(
                Signal(
                    signal.name, unit, signal.kind, signal.rate, signal.text, live[at : at + size],
                    origin=signal.origin,
                )
            )  # fmt: skip
            at += size
        rows = np.ascontiguousarray(np.concatenate(columns, axis=1))
        writer = Writer(path, signals, metadata(self._running), cells_every_s=0.1)
        done, t_us = 0, 0
        while done < rows.shape[0]:
            count, t_us = writer.low_level.ticks_from(rows[done:], live, t_us)
            done += count
            if done < rows.shape[0]:
                writer.drain()
        for event in self._events():
            writer.event(*(getattr(event, f) for f in Event.__dataclass_fields__))
        writer.close({})
        return True

    # ---- about itself ----

    def identity(self) -> dict[str, str]:
        """What makes a result reproducible."""
        about = metadata(self._running) if self._simulation else {}
        device = "solid-bms firmware" if self._firmware is None else str(self._firmware)
        kept = {k: str(about[k]) for k in ABOUT if k in about}
        return {
            "device": device, "rig": "sil", "pack": self._pack.name, "seed": str(self.file.seed),
            "version": __version__, **kept,
        }  # fmt: skip

    def missed(self) -> str:
        return ""

    def grade(self) -> dict[str, float]:
        """Virtual time has no latency: steps are exact. Events are told to the millisecond."""
        return {"event_resolution_ms": 1.0, "signal_resolution_ms": 10.0, "clock_skew_ppm": 0.0}


def open_rig(file: RigFile) -> Sil:
    """See bms_hil.rig.open_rig."""
    if file.options:
        key = next(iter(file.options))
        raise ConfigError(file.file, f"options.{key}", file.options[key], "nothing: sil has none")
    if file.dut.endswith(".toml"):
        from bms_hil.sil_other import Other

        made: Sil = Other(file)
    else:
        made = Sil(file)
    if file.dut != "ours":
        made.prove()
    return made
