"""Pack and firmware as two processes on real wires and a real clock.

`bms emulate` is the pack with a pseudo-terminal and a CAN server on 127.0.0.1, `bms ecu` the
firmware. Every test starts both anew. Events are told with the time of the simulation, so what
limits a verdict is how late the pack's tick can be: the rig measures that before the first test.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bms_hil.diagnostic import Diagnostic, on_link
from bms_hil.plugin import RigDied
from bms_hil.processes import Process, free_port, missed
from bms_hil.rig import ABOUT, CHARGE_C, REACHED, REQUEST, SETTLE_S, WITHIN_S, Injection, RigFile
from bms_hil.traces import NAN, Recording
from bms_hil.verdicts import Log

from bms import __version__, cells, faults, links, packs
from bms.errors import BmsError, ConfigError, RecorderError
from bms.recorder import Event
from bms.recorder import Recording as File

KIND = True
SCENARIO = Path(__file__).parent / "scenarios" / "bench.toml"
EVENTS = ("state", "diagnosis", "contactor", "fuse", "reset", "fault", "act")
ROUNDS = 20  # requests of the self-test
ROUND_S = 0.1  # between them
ARRIVES_S = 1.0  # within so long a request has arrived
STIMULUS = "plant.ambient_degc[0]"
TAIL_S = 0.35  # after so long the recording's tail has what was recorded


class Realtime:
    """See bms_hil.rig.Rig."""

    capabilities = frozenset(
        {"truth", "faults", "contactor_feedback", "world", "real_clock", "diagnostics"}
    )

    def __init__(self, file: RigFile) -> None:
        self.name, self.file, self.log = "realtime", file, Log()
        self.pack = packs.load(file.pack)
        self.cell = cells.load(file.cell or self.pack.cell)
        self._folder = Path(tempfile.mkdtemp(prefix="bms-hil-"))
        self._processes: list[Process] = []
        self._base_s = 0.0
        self._runs = 0
        self._file: File | None = None
        self._about: dict[str, str] = {}  # of the recordings
        self._link: links.Link | None = None
        self._grade: dict[str, float] = {}
        self._late_ticks = 0  # of the processes of this test that have ended
        self.resolution_s = 0.0
        self._prove()

    # ---- life ----

    def begin(self, log: Log) -> None:
        self.log = log
        self._stop()
        self._late_ticks = 0

    def close(self) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _stop(self) -> None:
        if self._link:
            self._link.close()
            self._link = None
        for process in self._processes:
            process.end()
        for process in self._processes:
            process.close()
            self._late_ticks += process.late_ticks()
        self._processes = []
        if self._file:
            self._file.close()
            self._file = None

    def bring_to(
        self, state: str, *, soc_frac: float | None = None, temperature_degc: float | None = None
    ) -> None:
        """Both processes anew, and into the state. RigDied when one of them ended."""
        if state not in REACHED:
            raise ConfigError("rig.bring_to", "state", state, f"one of {', '.join(REACHED)}")
        self._stop()
        try:
            self._start(soc_frac, temperature_degc)
            self.request(REQUEST[state])
            self._emulate.wait(
                f"state {REACHED[state]}",
                lambda: self._said_state() == REACHED[state],
                WITHIN_S,
            )
        except BmsError as error:
            if not all(process.is_alive for process in self._processes):
                raise RigDied(str(error)) from error
            raise BmsError(f"{error}; {self._words()}") from error
        if state == "charge":
            self._ask(charge=CHARGE_C * self._capacity_ah)
        else:
            self.load(current_a=0.0)
        time.sleep(SETTLE_S)
        self._base_s = self._now()

    def missed(self) -> str:
        """As Rig.missed: a process of the rig was later than LATE_S."""
        return missed(self._late_ticks + sum(p.late_ticks() for p in self._processes))

    def _words(self) -> str:
        """What both processes say of their wires."""
        told = [f"bms {p.name} says {p.facts.get('state')}, afe {p.facts.get('afe')}, "
                f"can {p.facts.get('can')}" for p in self._processes]  # fmt: skip
        return "; ".join(told)

    def _start(self, soc_frac: float | None, temperature_degc: float | None) -> None:
        start, port = self.file.start, free_port()
        soc = start.soc_frac if soc_frac is None else soc_frac
        warm = start.temperature_degc if temperature_degc is None else temperature_degc
        self._runs += 1
        self._path = self._folder / f"run{self._runs}.arrow"
        link = self._folder / f"afe{self._runs}"
        settings = {
            "start.soc_frac": soc, "start.temperature_degc": warm, "start.ambient_degc": warm,
        }  # fmt: skip
        sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        cell = ["--cell", self.file.cell] if self.file.cell else []
        emulate = Process(
            "emulate", self.file.pack, "--link", link, "--scenario", SCENARIO, *sets, *cell,
            "--seed", self.file.seed, "--can", f"socketcand-server:127.0.0.1:{port}/can0",
            "--record", self._path, "--record-cells-hz", 10,
        )  # fmt: skip
        self._processes.append(emulate)
        emulate.wait("ready", lambda: "pack" in emulate.facts)
        device = [] if self.file.dut == "ours" else ["--firmware", self.file.dut]
        self._bus = f"socketcand:127.0.0.1:{port}/can0"
        ecu = Process(
            "ecu", "--afe", link, "--can", self._bus, "--pack", self.file.pack, *cell, *device
        )  # fmt: skip
        self._processes.append(ecu)

    @property
    def _emulate(self) -> Process:
        if not self._processes:
            raise BmsError("the rig was not brought to a state: rig.bring_to(...)")
        return self._processes[0]

    def _said_state(self) -> str:
        said = [e["name"] for e in self._emulate.events if e["event"] == "state"]
        return said[-1] if said else "init"

    def _ask(self, **request: Any) -> dict[str, Any]:
        """A request to the pack; a dead process ends the run."""
        for process in self._processes:
            if not process.is_alive:
                raise RigDied(f"bms {process.name} has ended")
        try:
            return self._emulate.ask(**request)
        except BmsError as error:
            if not self._emulate.is_alive:
                raise RigDied(str(error)) from error
            raise

    def _now(self) -> float:
        return float(self._ask(set={})["t_s"])

    # ---- model port ----

    @property
    def _capacity_ah(self) -> float:
        return float(self.cell.electric.capacity_ah * self.pack.topology.parallel)

    @property
    def now_s(self) -> float:
        return self._now() - self._base_s

    def set(self, field: str, value: float, index: int = 0) -> None:
        self._ask(set={f"{field}[{index}]": value})

    def load(
        self, *, current_a: float | None = None, power_w: float | None = None,
        obeys_limits: bool = True,
    ) -> None:  # fmt: skip
        asked = {"current_a": current_a or 0.0} if power_w is None else {"power_w": power_w}
        self._ask(load=asked | {"obeys_limits": obeys_limits})

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)
        self._now()  # a process that died is noticed here

    # ---- network and diagnostic port ----

    def request(self, what: str) -> None:
        self._ask(request=what)

    def clear(self) -> None:
        self._ask(set={"vehicle.clear_request": 1})
        self.wait(0.5)
        self._ask(set={"vehicle.clear_request": 0})

    @property
    def diagnostic(self) -> Diagnostic:
        """A tester with a connection of its own to the bus."""
        self._now()  # a process that died is noticed here
        if self._link is None:
            self._link = links.open(self._bus)
            self._link.wait_up(WITHIN_S)
            self._tester = Diagnostic(on_link(self._link))
        return self._tester

    # ---- electrical-error port ----

    def inject(
        self, fault: str, *, index: int = 0, value: float | None = None, after_s: float = 0.0,
        ramp_s: float | None = None, for_s: float | None = None,
    ) -> Injection:  # fmt: skip
        """As Rig.inject; the fault begins when the pack has taken it."""
        entry = faults.load().get(fault)
        if entry is None:
            raise ConfigError("rig.inject", "fault", fault, "an id of the catalogue: `bms faults`")
        how = {"value": value, "ramp_s": ramp_s, "for_s": for_s, "after_s": after_s}
        asked = {k: v for k, v in how.items() if v is not None}
        reply = self._ask(inject={"id": fault, "index": index, **asked})
        at_s = float(reply["t_s"]) - self._base_s + after_s
        return Injection(
            int(reply["handle"]), fault, at_s, float(entry.budget_ms or NAN), entry.diagnoses
        )

    def withdraw(self, injection: Injection) -> None:
        self._ask(withdraw=injection.handle)

    # ---- what was recorded ----

    @property
    def recording(self) -> Recording:
        """As far as the file goes now."""
        time.sleep(TAIL_S)
        self._open()
        assert self._file is not None
        names = list(self._file.signals)
        return Recording(
            self._read, self._events(), names, self.resolution_s + self._late_s, self.log
        )

    @property
    def _late_s(self) -> float:
        """The most that either process was late in this test: a reaction may look slower by it."""
        return max(float(p.facts.get("late_max_us", 0.0)) for p in self._processes) * 1e-6

    def _open(self) -> None:
        """The file that is being written, as far as it goes now; its tail may move meanwhile."""
        if self._file:
            self._file.close()
        for attempt in range(10):
            try:
                self._file = File.open(self._path)
                self._file.load("true_pack_voltage_v")
                made = self._file.meta
                self._about = {k: str(made[k]) for k in ABOUT if k in made}
                return
            except RecorderError:
                if attempt == 9:
                    raise
                time.sleep(0.05)

    def _read(self, name: str) -> tuple[str, np.ndarray, np.ndarray] | None:
        assert self._file is not None
        if name not in self._file:
            return None
        values, time_s = self._file[name], self._file.time_s(name) - self._base_s
        kept = time_s >= -1e-9
        return self._file.signals[name].unit, time_s[kept], values[kept]

    def _events(self) -> list[Event]:
        told = [e for e in self._emulate.events if e["event"] in EVENTS and "t_s" in e]
        return [
            Event(
                round((e["t_s"] - self._base_s) * 1e9), e["event"], e["name"], e["index"],
                NAN if e["value"] is None else e["value"], e["text"],
            )
            for e in told
            if e["t_s"] >= self._base_s
        ]  # fmt: skip

    def keep(self, path: Path) -> bool:
        if not self._processes:
            return False
        self._stop()
        shutil.copy(self._path, path)
        return True

    # ---- about itself ----

    def identity(self) -> dict[str, str]:
        device = "solid-bms firmware" if self.file.dut == "ours" else self.file.dut
        return {
            "device": device, "rig": "realtime", "pack": self.pack.name,
            "seed": str(self.file.seed), "version": __version__, **self._about,
        }  # fmt: skip

    def grade(self) -> dict[str, float]:
        return self._grade

    def _clock(self) -> tuple[float, float]:
        """Seconds of this computer and of the pack at one moment: the fastest of some answers."""
        found = []
        for _ in range(5):
            asked_s = time.monotonic()
            pack_s = self._now()
            took_s = time.monotonic() - asked_s
            found.append((took_s, asked_s + took_s / 2.0, pack_s))
        return min(found)[1:]

    def _prove(self) -> None:
        """What the rig can measure, before the first verdict."""
        self._start(None, None)
        latency_ms, error = [], 0.0
        began_s, first_s = self._clock()
        for k in range(ROUNDS):
            wanted, asked_s = 20.0 + 0.5 * k, time.monotonic()
            self._ask(set={STIMULUS: wanted})
            found = NAN
            while found != wanted and time.monotonic() < asked_s + ARRIVES_S:
                found = float(self._ask(get=[STIMULUS])["values"][STIMULUS])
            latency_ms.append((time.monotonic() - asked_s) * 1e3)
            error = max(error, abs(found - wanted))
            time.sleep(ROUND_S)
        ended_s, last_s = self._clock()
        skew = ((last_s - first_s) / (ended_s - began_s) - 1.0) * 1e6
        late_us = []
        for process in self._processes:
            process.wait("a status", lambda p=process: "late_p999_us" in p.facts)
            late_us.append(float(process.facts["late_p999_us"]))
        jitter_ms = max(late_us) * 1e-3
        self._stop()
        self.resolution_s = (float(np.median(latency_ms)) + jitter_ms) * 1e-3
        self._grade = {
            "latency_ms": round(float(np.median(latency_ms)), 3), "jitter_ms": round(jitter_ms, 3),
            "clock_skew_ppm": round(skew), "stimulus_error": error,
            "event_resolution_ms": round(self.resolution_s * 1e3, 3),
        }  # fmt: skip
        if error > 0.0:
            raise BmsError(f"rig realtime: a value that was set came back {error:g} away")


def open_rig(file: RigFile) -> Realtime:
    """See bms_hil.rig.open_rig."""
    if file.options:
        key = next(iter(file.options))
        raise ConfigError(file.file, f"options.{key}", file.options[key], "nothing")
    return Realtime(file)
