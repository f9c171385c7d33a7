"""A laboratory bench: a real BMS on its bus, cell simulators, supply, load and lines round it.

A rig file names roles; each is played by an adapter (bms_hil.adapters):

    kind = "lab"
    title = "Bench two"
    pack = "bench_16s1p"
    dut = "./dut.toml"                  # or "ours"
    [options]
    can = "socketcan:can0"              # the device's bus, any CAN URL
    serial = "/dev/ttyUSB0"             # where dut.toml has a serial face
    [options.limits]                    # nothing beyond them is ever sent
    cell_voltage_v = [0.0, 4.5]
    [options.role.cells]
    adapter = "bloomy_abs"

Before the first verdict the rig switches everything off and on again, waits for the device to
speak, and grades itself. There is no truth here: contactors are known by their feedback. With
`simulated = true` instruments and device are stand-ins (bms_hil.standin). No real bench has been
driven by this rig yet.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bms_hil import dut
from bms_hil.bench import LINES, Bench, Beyond, Limits
from bms_hil.bus import Bus
from bms_hil.diagnostic import Diagnostic
from bms_hil.operations import OPERATIONS, Operation
from bms_hil.ours import Ours
from bms_hil.plugin import RigDied
from bms_hil.processes import missed
from bms_hil.rig import CHARGE_C, REACHED, REQUEST, SETTLE_S, WITHIN_S, Injection, RigFile
from bms_hil.traces import NAN, Recording
from bms_hil.verdicts import Log

from bms import __version__, cells, config, faults, packs, spec
from bms.errors import BmsError, ConfigError, LinkError
from bms.recorder import Event
from bms.result import commit

KIND = True
SUPPLY_V = 13.5
OFF_S, CLEAR_S, STANDBY_S = 1.0, 0.5, 1.0
ROUNDS = 10  # of the self-test
HEADROOM = 2.0  # a limit is judged when what the bench adds is at most half of it
GRADE_S = 2.0
STEP_V = 0.02  # by which the self-test moves a cell


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a rig file says of a bench."""

    limits: Limits
    role: dict[str, dict[str, Any]]
    can: str = ""
    serial: str = ""
    simulated: bool = False
    speaks_within_s: float = 8.0


class Lab:
    """See bms_hil.rig.Rig."""

    def __init__(self, file: RigFile) -> None:
        self.name, self.file, self.log = "lab", file, Log()
        self.pack = packs.load(file.pack)
        self.cell = cells.load(file.cell or self.pack.cell)
        options = config.convert(_placed(file), Options, file.file)
        self.options = options
        if not options.can and not options.serial and not options.simulated:
            raise ConfigError(file.file, "options.can", "", "a CAN URL, or a serial port")
        self.dut = Ours() if file.dut == "ours" else dut.load(file.dut)
        self._standin: Any = None
        self._late_ticks = 0  # of the stand-ins, before this test
        self._grade: dict[str, float] = {}
        self._base_s, self.resolution_s, self._speaks = 0.0, 0.0, False
        self.bus: Bus | None = None
        self._handles: dict[int, tuple[Operation, int, float]] = {}
        self._before: Any = None
        self.bench = Bench(options.role, options.limits, file.file)
        self.capabilities = self._can()
        try:
            self._catch_sigterm()
            self._wire_up()
            self._prove()
        except BaseException:
            self.close()
            raise

    def _can(self) -> frozenset[str]:
        found = {"real_clock"} | self.bench.capabilities | set(self.bench.lines)
        roles = found | set(self.bench.found)
        found |= {f"fault:{i}" for i, op in OPERATIONS.items() if set(op.needs) <= roles}
        found |= {"contactor_feedback"} if self.dut.contactors else set()
        found |= {"diagnostics"} if self.dut.file.uds is not None else set()
        return frozenset(found)

    def _catch_sigterm(self) -> None:
        def end(*_: Any) -> None:
            pytest.exit("ended by SIGTERM", returncode=143)  # the fixtures' ends switch all off

        with contextlib.suppress(ValueError):  # not the main thread: its owner's business
            self._before = signal.signal(signal.SIGTERM, end)

    def _wire_up(self) -> None:
        can, serial = self.options.can, self.options.serial
        if self.options.simulated:
            from bms_hil.standin import StandIn

            visa = next(str(r["visa"]) for r in self.options.role.values() if "visa" in r)
            face = self.dut.file.serial.face if self.dut.file.serial else ""
            self._standin = StandIn(self.file.pack, visa, seed=self.file.seed, face=face)
            can, serial = self._standin.can, serial or self._standin.serial
        self.bus = Bus(can, serial, self.dut, self.bench.look)

    # ---- life ----

    def begin(self, log: Log) -> None:
        self.log = log
        self._late_ticks = self._standin.late_ticks() if self._standin else 0
        self._handles.clear()
        self._off()

    def close(self) -> None:
        """Off, and everything ended."""
        try:
            self.bench.close()
        finally:
            if self.bus is not None:
                self.bus.close()
            if self._standin is not None:
                self._standin.close()
            if self._before is not None:
                signal.signal(signal.SIGTERM, self._before)

    def _off(self) -> None:
        self._speaks = False
        if self.bus is not None:
            self.bus.wish, self.bus.clear = "standby", False
        self.bench.off()

    def _guarded(self, what: Callable[[], Any]) -> Any:
        """Whatever fails on the bench switches it off, and the rig is no rig any more."""
        try:
            return what()
        except Beyond:
            raise
        except (BmsError, OSError) as error:
            with contextlib.suppress(BmsError):
                self._off()
            raise RigDied(str(error)) from error

    def _alive(self) -> Bus:
        assert self.bus is not None
        died = (self._standin.died if self._standin else "") or self.bus.failure
        died = died or (self.bus.unanswered if self._speaks else "")
        if died:
            with contextlib.suppress(BmsError):
                self._off()
            raise RigDied(died)
        self.bench.use()
        return self.bus

    def _power(self, soc_frac: float) -> None:
        """Cells at their voltage, lines as if nothing were wrong, then the supply."""
        if "cells" in self.bench.found:
            rest_v = float(
                np.interp(soc_frac, self.cell.electric.ocv_soc_frac, self.cell.electric.ocv_v)
            )
            self.bench.set_cells(dict.fromkeys(range(self._blocks), rest_v), check=False)
            self.bench.enable_cells()
            self.bench.set_cells(dict.fromkeys(range(self._blocks), rest_v))
        for name in self.bench.lines:
            self.bench.line(name, LINES.get(name, False))
        if "supply" in self.bench.found:
            self.bench.supply(SUPPLY_V)

    @property
    def _blocks(self) -> int:
        return int(self.pack.topology.blocks)

    def bring_to(
        self, state: str, *, soc_frac: float | None = None, temperature_degc: float | None = None
    ) -> None:
        """The device is switched off and on, cleared, and asked into the state."""
        if state not in REACHED:
            raise ConfigError("rig.bring_to", "state", state, f"one of {', '.join(REACHED)}")
        if state == "charge" and "charger" not in self.bench.found:
            raise Beyond("the bench has no charger")
        warm = self.file.start.temperature_degc if temperature_degc is None else temperature_degc
        has_chamber = "chamber" in self.bench.found
        if warm != self.file.start.temperature_degc and not has_chamber:
            raise Beyond("the bench has no chamber")
        soc = self.file.start.soc_frac if soc_frac is None else soc_frac
        self._guarded(self._off)
        time.sleep(OFF_S)
        bus = self._alive()
        bus.forget()
        self.dut.reset("")
        if has_chamber:
            self._guarded(lambda: self.bench.temperature(warm))
        self._guarded(lambda: self._power(soc))
        self._guarded(lambda: bus.wait_speaks(self.options.speaks_within_s))
        self._speaks = True  # from here on silence is a failure
        self._reach("standby", clears=True)
        time.sleep(STANDBY_S)
        if state != "standby":
            bus.wish = REQUEST[state]
            self._reach(REACHED[state])
        if state == "charge":
            self._charge(CHARGE_C * self.cell.electric.capacity_ah * self.pack.topology.parallel)
        time.sleep(SETTLE_S)
        with bus.lock:
            bus.forget()
            self._base_s = bus.now_s

    def _reach(self, wanted: str, *, clears: bool = False) -> None:
        """Until it says so; with `clears` what is latched is cleared on the way, again and
        again."""
        assert self.bus is not None
        began_s = self.bus.now_s
        end_s = began_s + WITHIN_S
        while self.dut.state != wanted:
            self._alive()
            self.bus.clear = clears and int((self.bus.now_s - began_s) / CLEAR_S) % 2 == 1
            if self.bus.now_s > end_s:
                raise BmsError(
                    f"the BMS did not reach {wanted} within {WITHIN_S:g} s; it says "
                    f"{self.dut.state or 'nothing'}; raised: {', '.join(self._raised()) or 'none'}"
                )
            time.sleep(0.02)
        self.bus.clear = False

    def _raised(self) -> list[str]:
        assert self.bus is not None
        with self.bus.lock:
            told = [e for e in self.bus.events if e.kind == "diagnosis"]
        return sorted({e.name for e in told if e.text.endswith("raised")})

    # ---- model port ----

    @property
    def now_s(self) -> float:
        assert self.bus is not None
        return self.bus.now_s - self._base_s

    def set(self, field: str, value: float, index: int = 0) -> None:
        raise Beyond(f"a bench cannot set {field}")

    def load(
        self, *, current_a: float | None = None, power_w: float | None = None,
        obeys_limits: bool = True,
    ) -> None:  # fmt: skip
        """Current only; negative from the charger, up to the voltage that trips nothing."""
        if power_w is not None:
            raise Beyond("the bench's load has no constant power")
        self._guarded(lambda: self.bench.load(max(0.0, current_a or 0.0)))
        self._charge(max(0.0, -(current_a or 0.0)))

    def _charge(self, current_a: float) -> None:
        full_v = self.cell.limits.voltage_max_v[0] * self._blocks
        self._guarded(lambda: self.bench.charge(current_a, full_v if current_a > 0.0 else 0.0))

    def wait(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0.0:
            self._alive()
            time.sleep(min(left_s, 0.2))
        self._alive()

    # ---- network and diagnostic port ----

    def request(self, what: str) -> None:
        if what not in REQUEST.values():
            raise ConfigError("rig.request", "", what, f"one of {', '.join(REQUEST.values())}")
        self._alive().wish = what

    def clear(self) -> None:
        bus = self._alive()
        bus.clear = True
        self.wait(0.5)
        bus.clear = False

    @property
    def diagnostic(self) -> Diagnostic:
        return self._alive().diagnose()

    # ---- electrical-error port ----

    def inject(
        self, fault: str, *, index: int = 0, value: float | None = None, after_s: float = 0.0,
        ramp_s: float | None = None, for_s: float | None = None,
    ) -> Injection:  # fmt: skip
        """A fault of OPERATIONS. It begins before its command is sent, so a reaction is never
        told shorter than it was."""
        entry, operation = faults.load().get(fault), OPERATIONS.get(fault)
        if entry is None:
            raise ConfigError("rig.inject", "fault", fault, "an id of the catalogue: `bms faults`")
        if operation is None or f"fault:{fault}" not in self.capabilities or ramp_s or for_s:
            raise Beyond(f"the bench cannot bring about {fault}: {entry.title}")
        self.wait(after_s)
        size = entry.value if value is None else value
        at_s, handle = self.now_s, len(self._handles) + 1
        self._guarded(lambda: operation.begin(self.bench, index, size))
        self._handles[handle] = (operation, index, size)
        return Injection(handle, fault, at_s, float(entry.budget_ms or NAN), entry.diagnoses)

    def withdraw(self, injection: Injection) -> None:
        operation, index, size = self._handles.pop(injection.handle)
        self._guarded(lambda: operation.end(self.bench, index, size))

    # ---- what was recorded ----

    @property
    def recording(self) -> Recording:
        """What the bus told since the state was reached."""
        bus = self._alive()
        with bus.lock:
            told = sorted(bus.events, key=lambda e: e.t_ns)
        base_ns = round(self._base_s * 1e9)
        events = [Event(e.t_ns - base_ns, e.kind, e.name, e.index, e.value, e.text) for e in told]
        return Recording(self._read, events, list(self.dut.signals), self.resolution_s, self.log)

    def _read(self, name: str) -> tuple[str, np.ndarray, np.ndarray] | None:
        place = self.dut.signals.get(name)
        if place is None or self.bus is None:
            return None
        with self.bus.lock:
            pairs = list(self.bus.values.get(place.key, []))
        time_s = np.array([t for t, _ in pairs]) - self._base_s
        values = np.array([float(place.value(v)) for _, v in pairs])
        return spec.signal(name).unit, time_s, values

    def keep(self, path: Path) -> Path | bool:
        """The bus as a candump log."""
        assert self.bus is not None
        with self.bus.lock:
            frames = list(self.bus.frames)
        if not frames:
            return False
        where = path.with_suffix(".log")
        lines = (f"({t - self._base_s:.6f}) can0 {i:03X}#{d.hex().upper()}\n" for t, i, d in frames)
        where.write_text("".join(lines), "ascii")
        return where

    # ---- about itself ----

    def identity(self) -> dict[str, str]:
        """Device, instruments, seed."""
        roles = {r: i.identity() for r, i in self.bench.found.items()}
        made = " (stand-ins, no hardware)" if self.options.simulated else ""
        return {
            "device": self.dut.title + made, "rig": f"lab: {self.file.title}",
            "pack": self.pack.name, "commit": commit(),
            "seed": str(self.file.seed), "version": __version__, **roles,
        }  # fmt: skip

    def missed(self) -> str:
        """As Rig.missed: stand-ins that did not keep real time."""
        return missed(self._standin.late_ticks() - self._late_ticks) if self._standin else ""

    def grade(self) -> dict[str, float]:
        return self._grade

    def _prove(self) -> None:
        """Everything on, the device speaks; then what the bench can do, before any verdict."""
        assert self.bus is not None
        self._power(self.file.start.soc_frac)
        self.bus.wait_speaks(self.options.speaks_within_s)
        latency_ms, error_v = self._stimulate()
        gap_ms, jitter_ms = self._listen()
        error_s = (latency_ms + gap_ms + jitter_ms) * 1e-3 + self.dut.polled_s
        self.resolution_s = HEADROOM * error_s
        self._grade = {
            "latency_ms": round(latency_ms, 2), "jitter_ms": round(jitter_ms, 2),
            "message_gap_ms": round(gap_ms, 2), "stimulus_error_v": round(error_v, 5),
            "event_resolution_ms": round(self.resolution_s * 1e3, 2),
        }  # fmt: skip
        self._off()

    def _stimulate(self) -> tuple[float, float]:
        """From a command to its read-back, worst of ten in ms; farthest read-back, in V."""
        if "cells" not in self.bench.found:
            return 0.0, 0.0
        simulator, worst_ms, worst_v = self.bench.found["cells"], 0.0, 0.0
        rest_v = self.bench.cell(0)
        for k in range(ROUNDS):
            wanted_v = rest_v + STEP_V * (k % 2)
            began_s = time.monotonic()
            self.bench.set_cells({0: wanted_v}, check=False)
            while abs(simulator.voltage(0) - wanted_v) > self.options.limits.cell_error_v:
                if time.monotonic() - began_s > 1.0:
                    raise BmsError(
                        f"cell 0: set to {wanted_v:g} V, read back {simulator.voltage(0):g} V: the "
                        "bench cannot grade itself; look at wiring and limits"
                    )
            worst_ms = max(worst_ms, (time.monotonic() - began_s) * 1e3)
            worst_v = max(worst_v, abs(simulator.voltage(0) - wanted_v))
        return worst_ms, worst_v

    def _listen(self) -> tuple[float, float]:
        """Median gap of what tells the state, and how much longer the longest was, in ms."""
        assert self.bus is not None
        self.bus.forget()
        time.sleep(GRADE_S)
        with self.bus.lock:
            times = [t for t, _ in self.bus.values.get(self.dut.says.key, [])]
        if len(times) < 3:
            raise LinkError(f"the device says {self.dut.says.key} too rarely: {len(times)} times "
                            f"in {GRADE_S:g} s")  # fmt: skip
        gaps = np.diff(times) * 1e3
        return float(np.median(gaps)), float(np.max(gaps) - np.median(gaps))


def _placed(file: RigFile) -> dict[str, Any]:
    """Options with simulated backends found beside the rig file."""
    found = dict(file.options)
    roles = found.get("role")
    if not isinstance(roles, dict):
        return found
    placed = {}
    for role, given in roles.items():
        visa = str(given.get("visa", "")) if isinstance(given, dict) else ""
        if visa.endswith("@sim") and not visa.startswith("/"):
            given = given | {"visa": str(Path(file.file).parent / visa)}
        placed[role] = given
    return found | {"role": placed}


def open_rig(file: RigFile) -> Lab:
    """See bms_hil.rig.open_rig."""
    return Lab(file)
